"""The two networks of the land-use model: photos and places of the real world, in one space.

Both average the features of two EfficientNet-Lite trunks over several views of the same image,
and turn them into a vector of length 1 by a small head. The trunks keep their ImageNet weights,
which come from packages of their own, so a model directory only contains the heads. A trunk takes
RGB normalised by `lite.NORMALIZATION`.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import onnxruntime
import torch
from torch import Tensor, nn
from torch.nn import functional

from .lite import CHANNELS, pretrained
from .to_onnx import onnx_bytes

TRUNKS = ("efficientnet_lite0", "efficientnet_lite2")
INPUT_PX = 192
"""Side of what a trunk sees of a photo; of a place, the side of its surroundings."""

FEATURES = CHANNELS * len(TRUNKS)
MEMBERS = 4
_PROJECTED, _HIDDEN = 256, 512
PHOTO_VIEWS = PLACE_VIEWS = 4
_CROP = 0.75  # side of a photo's corners, of its own


class Head(nn.Module):
    """Features ``(n, FEATURES)`` to unit vectors ``(n, dim)``: a projection, then small networks.

    Each member, trained for itself, gives a part of the vector.
    """

    def __init__(self, dim: int, members: int = MEMBERS) -> None:
        super().__init__()
        self.project = nn.Linear(FEATURES, _PROJECTED)
        self.members = nn.ModuleList(_member(dim // members) for _ in range(members))

    def forward(self, features: Tensor) -> Tensor:
        projected = self.project(features.float())
        parts = [functional.normalize(member(projected), dim=-1) for member in self.members]
        result: Tensor = torch.cat(parts, -1) / len(parts) ** 0.5
        return result


def _member(dim: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Dropout(0.2), nn.Linear(_PROJECTED, _HIDDEN), nn.ReLU(), nn.Dropout(0.5),
        nn.Linear(_HIDDEN, dim),
    )  # fmt: skip


class Trunks(nn.Module):
    """Both trunks beside each other: ``(n, 3, H, W)`` -> ``(n, FEATURES, H/32, W/32)``."""

    def __init__(self) -> None:
        super().__init__()
        self.each = nn.ModuleList(pretrained(name).requires_grad_(False) for name in TRUNKS)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([trunk(x) for trunk in self.each], 1)

    def seen(self, x: Tensor) -> Tensor:
        """Features ``(n, FEATURES)`` of views `INPUT_PX` wide, averaged over the image.

        On a CPU by ONNX Runtime, which is three times as fast as torch with these trunks (their
        depthwise convolutions), once some seconds were spent on preparing it.
        """
        if x.device.type != "cpu":
            result: Tensor = self(x).float().mean((2, 3))
            return result
        (maps,) = cpu_session().run(None, {"rgb": x.float().contiguous().numpy()})
        return torch.from_numpy(maps).mean((2, 3))


@cache
def cpu_session() -> onnxruntime.InferenceSession:
    """`Trunks` for ONNX Runtime: ``rgb`` normalised float32 to ``vector``, as `Trunks.forward`."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    # waiting threads must not take the cores of others
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    exported = onnx_bytes(Trunks(), INPUT_PX)
    return onnxruntime.InferenceSession(exported, options)


class PhotoLanduse(nn.Module):
    """A photo, seen whole, as it is and mirrored, and by two of its corners: ``(n, 3, P, P)``."""

    FROZEN = "trunks."

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.trunks = Trunks()
        self.head = Head(dim)

    def features(self, x: Tensor) -> Tensor:
        """``(n, FEATURES)``, averaged over the views."""
        return torch.stack([self.trunks.seen(view) for view in photo_views(x)]).mean(0)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.head(self.features(x))
        return result


class PlaceLanduse(nn.Module):
    """A place from above, averaged over four rotations.

    The head was trained on patches by themselves, which have zero padding where a tile has real
    surroundings: densely this is another function (on a town its vectors differed by 1.5 times the
    spread between places), and so the model serves patches only.
    """

    FROZEN = "trunks."

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.trunks = Trunks()
        self.head = Head(dim)

    def features(self, x: Tensor) -> Tensor:
        """``(n, FEATURES)``, averaged over the rotations."""
        return torch.stack([self.trunks.seen(view) for view in place_views(x)]).mean(0)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.head(self.features(x))
        return result


def photo_views(x: Tensor) -> Iterator[Tensor]:
    """The views of a batch of photos, each `INPUT_PX` wide: two of the whole, two corners."""
    side = x.shape[-1]
    part = round(side * _CROP)
    yield _scaled(x)
    yield _scaled(x.flip(-1))
    yield _scaled(x[..., :part, :part])
    yield _scaled(x[..., side - part :, side - part :])


def place_views(x: Tensor) -> Iterator[Tensor]:
    """A batch of places, turned by right angles: a north arrow means nothing to a scene."""
    return (torch.rot90(x, turns, (2, 3)) for turns in range(PLACE_VIEWS))


def _scaled(x: Tensor) -> Tensor:
    if x.shape[-1] == INPUT_PX:
        return x
    return functional.interpolate(
        x, (INPUT_PX, INPUT_PX), mode="bilinear", antialias=True, align_corners=False
    )
