"""The two networks of the land-use model: photos and places of the real world, in one space.

Both average the features of two EfficientNet-Lite trunks over several views of the same image (of a
place also those of half the way through the first trunk, which gain nothing with photos), and turn
them into a vector of length 1 by a small head. The trunks keep their ImageNet weights,
which come from packages of their own, so a model directory only contains the heads. A trunk takes
RGB normalised by `lite.NORMALIZATION`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import cache
from typing import Any, cast

import onnxruntime
import torch
from torch import Tensor, nn
from torch.nn import functional

from .lite import CHANNELS, Edge, EfficientNetLite, pretrained
from .to_onnx import onnx_session

TRUNKS = ("efficientnet_lite0", "efficientnet_lite2")
INPUT_PX = 192
"""Side of what a trunk sees of a photo; of a place, of the window that stands for it."""

PHOTO_FEATURES = CHANNELS * len(TRUNKS)
"""Features of the ends of the trunks."""

HALF = 112
"""Channels half the way through the first trunk; their means and the means of their squares follow
the features of the ends."""

PLACE_FEATURES = PHOTO_FEATURES + 2 * HALF
MEMBERS = 4
EMBEDDED = 256
"""Values of a vector that are no kind of place."""

KINDS_SHARE = 0.8
"""Of the square of a vector's length, that of its kinds of place."""

_PROJECTED, _HIDDEN = 256, 512
PHOTO_VIEWS = PLACE_VIEWS = 4
_CELL = 32  # px between positions of a trunk
_CROP = 0.75  # side of a photo's corners, of its own


class Head(nn.Module):
    """Features ``(n, feature)`` to unit vectors ``(n, dim)``: a discriminant and small networks.

    The first ``dim - EMBEDDED`` values say how likely each kind of place is, half as the linear
    discriminant sees it and half as all members do together, and the others where the image lies
    in a space that is common to photos and places, of which each member gives a part.
    ``shift`` ``(feature,)``: mean of shaped features. ``weights`` ``(class, feature)`` and
    ``bias`` ``(class,)``: the discriminant. ``known`` ``(member, class, value)``: unit vectors of
    the classes in that space. ``meant`` ``(class, kind)``: 1 for the kinds of place that a class
    stands for. ``sharpness``: of cosines, before the softmax; ``power``: of the probabilities.
    """

    shift: Tensor
    known: Tensor
    meant: Tensor
    weights: Tensor
    bias: Tensor

    def __init__(self, features: int, dim: int, sharpness: float, power: float) -> None:
        super().__init__()
        self.register_buffer("shift", torch.zeros(features))
        self.project = nn.Linear(features, _PROJECTED, bias=False)
        self.members = nn.ModuleList(_member(EMBEDDED // MEMBERS) for _ in range(MEMBERS))
        self.sharpness, self.power = sharpness, power
        self.kinds = dim - EMBEDDED
        self.set_classes(torch.zeros(MEMBERS, 1, EMBEDDED // MEMBERS), torch.zeros(1, self.kinds))

    def set_classes(self, known: Tensor, meant: Tensor) -> None:
        """The classes, of any number. Raises ValueError if there is another number of kinds."""
        count = known.shape[1]
        if known.shape != (MEMBERS, count, EMBEDDED // MEMBERS) or meant.shape != (
            count,
            self.kinds,
        ):
            raise ValueError(f"classes {known.shape} of kinds {meant.shape} do not fit the head")
        self.register_buffer("known", known)
        self.register_buffer("meant", meant)
        self.set_discriminant(torch.zeros(count, len(self.shift)), torch.zeros(count))

    def set_discriminant(self, weights: Tensor, bias: Tensor) -> None:
        """Of the classes, in their order: logits of shaped features less ``shift``."""
        self.register_buffer("weights", weights)
        self.register_buffer("bias", bias)

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *others: Any) -> None:
        """Takes as many classes as there are in the file."""
        known, meant = (state.get(prefix + name) for name in ("known", "meant"))
        if isinstance(known, Tensor) and isinstance(meant, Tensor):
            with contextlib.suppress(ValueError):  # is reported as shapes that do not fit
                self.set_classes(torch.zeros(known.shape), torch.zeros(meant.shape))
        super()._load_from_state_dict(state, prefix, *others)

    def forward(self, features: Tensor) -> Tensor:
        with torch.autocast(features.device.type, enabled=False):  # logits are differences
            x = self.centred(features.float())
            each = torch.stack([member(self.project(x)) for member in self.members])
            unit = functional.normalize(each, dim=-1)
            likely = (self.sharpness * unit @ self.known.mT).softmax(-1).mean(0)
            likely = (likely + (x @ self.weights.T + self.bias).softmax(-1)) / 2
            return joined((likely @ self.meant) ** self.power, torch.cat(list(unit), -1))

    def centred(self, features: Tensor) -> Tensor:
        """`shaped` features ``(n, feature)`` around zero."""
        return shaped(features) - self.shift


def shaped(features: Tensor) -> Tensor:
    """Averages over an image ``(…, feature)`` as they are compared: roots of those of the ends,
    which few large values would rule otherwise, and of the others means and standard deviations."""
    last, others = features.tensor_split((PHOTO_FEATURES,), -1)
    means, squares = others.chunk(2, -1)
    spread = (squares - means.square()).clamp(min=0).sqrt()
    return torch.cat([last.clamp(min=0).sqrt(), means, spread], -1)


def joined(kinds: Tensor, embedding: Tensor) -> Tensor:
    """Unit vectors ``(n, dim)`` of both parts ``(n, value)``, each of its share of the square."""
    parts = (KINDS_SHARE, kinds), (1 - KINDS_SHARE, embedding)
    return torch.cat([share**0.5 * functional.normalize(part, dim=-1) for share, part in parts], -1)


def photo_head(dim: int) -> Head:
    """Of photos: a photo may show several kinds, and is asked for each by its probability."""
    return Head(PHOTO_FEATURES, dim, sharpness=16, power=1)


def place_head(dim: int) -> Head:
    """Of places: kinds that are less likely count more than by their probability."""
    return Head(PLACE_FEATURES, dim, sharpness=7, power=0.5)


def _member(dim: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Dropout(0.2), nn.Linear(_PROJECTED, _HIDDEN), nn.ReLU(), nn.Dropout(0.5),
        nn.Linear(_HIDDEN, dim),
    )  # fmt: skip


class Trunks(nn.Module):
    """Both trunks beside each other: ``(n, 3, H, W)`` -> ``(n, feature, H/32, W/32)``.

    H and W are multiples of 32. ``edge``: what they suppose beyond the edge. ``halfway``: with the
    features of half the way, where positions are half as far apart: the values and their squares
    are averaged by fours.
    """

    def __init__(self, edge: Edge, halfway: bool) -> None:
        super().__init__()
        self.edge: Edge = edge
        self.halfway = halfway
        self.each = nn.ModuleList(pretrained(name, edge).requires_grad_(False) for name in TRUNKS)

    def forward(self, x: Tensor) -> Tensor:
        (half, first), *others = (cast(EfficientNetLite, trunk).both(x) for trunk in self.each)
        last = [first, *(end for _, end in others)]
        if not self.halfway:
            return torch.cat(last, 1)
        inner = [functional.avg_pool2d(each, 2) for each in (half, half.square())]
        return torch.cat([*last, *inner], 1)

    def maps(self, x: Tensor) -> Tensor:
        """The same in float32, without gradients.

        On a CPU by ONNX Runtime, which is three times as fast as torch with these trunks (their
        depthwise convolutions), once some seconds were spent on preparing it.
        """
        if x.device.type != "cpu":
            result: Tensor = self(x).float()
            return result
        session = cpu_session(self.edge, halfway=self.halfway)
        (maps,) = session.run(None, {"rgb": x.float().contiguous().numpy()})
        return torch.from_numpy(maps)


@cache
def cpu_session(edge: Edge, halfway: bool) -> onnxruntime.InferenceSession:
    """`Trunks` for ONNX Runtime: ``rgb`` normalised float32 to ``vector``, as `Trunks.forward`."""
    return onnx_session(Trunks(edge, halfway), INPUT_PX, any_size=True)


class PhotoLanduse(nn.Module):
    """A photo, seen whole, as it is and mirrored, and by two of its corners: ``(n, 3, P, P)``."""

    FROZEN = "trunks."

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.trunks = Trunks("constant", halfway=False)
        self.head = photo_head(dim)

    def features(self, x: Tensor) -> Tensor:
        """``(n, PHOTO_FEATURES)``, averaged over the views."""
        return torch.stack([self.trunks.maps(view).mean((2, 3)) for view in photo_views(x)]).mean(0)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.head(self.features(x))
        return result


class PlaceLanduse(nn.Module):
    """A place from above with its surroundings, averaged over four rotations.

    Each position of the trunks stands for `_CELL` px, and is given twice in both directions, so
    that positions are `STRIDE` px apart: the mean over a window half a cell aside then is that of
    both its neighbours. An image alone, `POOL` px wide, is taken to go on as in a mirror.
    """

    STRIDE = 16
    POOL = INPUT_PX
    HALO = 160
    """px; trunks see further, but what lies beyond changes less than a shift by 2 px does."""
    TILE_PX: int | None = 1408
    """Their early features take 280 bytes per px of a tile."""
    FROZEN = "trunks."

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.trunks = Trunks("reflect", halfway=True)
        self.head = place_head(dim)

    def trunk(self, x: Tensor) -> Tensor:
        """``(n, 3, H, W)`` -> features ``(n, PLACE_FEATURES, H/16, W/16)``."""
        height, width = x.shape[-2:]
        whole = functional.pad(x, (0, -width % _CELL, 0, -height % _CELL), mode="reflect")
        with torch.autocast(x.device.type, enabled=False):
            seen = self.maps(whole)
        times = _CELL // self.STRIDE
        fine = seen.repeat_interleave(times, 2).repeat_interleave(times, 3)
        return fine[..., : height // self.STRIDE, : width // self.STRIDE]

    def maps(self, x: Tensor) -> Tensor:
        """``(n, PLACE_FEATURES, H/32, W/32)``, averaged over the rotations."""
        turned = (
            torch.rot90(self.trunks.maps(view), -turns, (2, 3))
            for turns, view in enumerate(place_views(x))
        )
        return sum(turned) / PLACE_VIEWS  # type: ignore[return-value]

    def vector(self, pooled: Tensor) -> Tensor:
        """Pooled features ``(n, PLACE_FEATURES)`` -> vectors ``(n, dim)``."""
        result: Tensor = self.head(pooled)
        return result

    def forward(self, x: Tensor) -> Tensor:
        return self.vector(self.trunk(x).mean((2, 3)))


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
