"""Two small networks of the sandbox's model: one classifies the scene of a photo, one of a place.

They stand on the first stages of EfficientNet-Lite0. Their trunk keeps its ImageNet weights, which
come from a package of their own, so a model directory only contains their heads.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from .lite import EfficientNetLite, pretrained

EARLY_CHANNELS = 112
_HIDDEN = 384


def early_lite0() -> EfficientNetLite:
    """The first five stages, frozen: `early` gives ``(n, 112, H/16, W/16)``."""
    trunk = pretrained("efficientnet_lite0").requires_grad_(False)
    trunk.cut()
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
    TILE_PX: int | None = None
    FEATURES = 4 * EARLY_CHANNELS
    FROZEN: str | None = "early."
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
        result: Tensor = self.head(self.middle(x))
        return result

    def middle(self, x: Tensor) -> Tensor:
        """``(n, 3, H, W)`` -> what the head takes ``(n, FEATURES)``, of the middle."""
        rows, cols = (
            side // 2 for side in (x.shape[-2] // self.STRIDE, x.shape[-1] // self.STRIDE)
        )
        return self.trunk(x)[..., rows - 1 : rows + 1, cols - 1 : cols + 1].mean((2, 3))


class TunedLite0(PlaceLite0):
    """`PlaceLite0` whose trunk is trained too: its weights are in the model's directory."""

    FROZEN = None

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.early.requires_grad_(True)


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
