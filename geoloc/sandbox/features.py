"""Features of worlds by frozen trunks, computed once, so that heads are trained in minutes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from ..encoders.formats.lite import NORMALIZATION
from ..encoders.formats.lite0 import PhotoLite0, PlaceLite0
from ..encoders.formats.networks import sliding_mean
from ..training.augment import NONE, Augmentation, windows
from ..training.crossview import PlaceData
from .scene import LANDUSE
from .training_data import GSD, MARGIN_PX, PHOTO_PX, TrainingWorld

SPARES = 3000
PHOTO_AUGMENT = Augmentation(rotate=3, area=(0.5, 1.0), shift=12, tint=0.05, haze=0.15)
"""Range of a crop's side: a crop is the view of a longer lens, turned a little."""
_ROW, _COLUMN = 2, 3  # axes of images
_PHOTO_VIEWS: tuple[tuple[Augmentation, tuple[int, ...]], ...] = (
    (NONE, ()),
    (NONE, (_COLUMN,)),
    (PHOTO_AUGMENT, ()),
    (NONE, (_ROW, _COLUMN)),
)
"""Views of a photo: how it is augmented, and along which axes it is then flipped."""
_SIDES = ((0, 0, False), (1, 1, False))
"""Views of a world: flight, quarter turns, whether mirrored; the first is that of inference."""
_AT_CAMERA = 0.35  # share of the place itself in a photo's label; the rest is the photo's content
_BATCH = 64


def world_features(
    world: TrainingWorld, number: int, photo_net: PhotoLite0, place_net: PlaceLite0
) -> PlaceData:
    """Features of one world's photos, of their places, and of `SPARES` other places."""
    rng = np.random.default_rng(number)
    side = world.mosaics.shape[-1]
    spots = np.floor(world.places[:, ::-1] / GSD).astype(np.int64) + MARGIN_PX
    others = rng.integers(MARGIN_PX, side - MARGIN_PX, size=(SPARES, 2))
    everywhere = np.concatenate([spots, others])
    seen = np.stack([_look(world.mosaics, place_net, everywhere, *view) for view in _SIDES], 1)
    count = len(spots)
    return PlaceData(
        photos=photo_features(world.photos, photo_net, number),
        places=seen[:count],
        labels=_labels(world),
        place_labels=world.around,
        spots=_of_world(number, spots),
        spares=seen[count:],
        spare_spots=_of_world(number, others),
    )


def photo_features(photos: NDArray[np.uint8], net: PhotoLite0, seed: int) -> NDArray[np.float16]:
    """``(photo, view, feature)``: each photo unchanged, mirrored, cropped (mirrored or not), and
    upside down; all views are then shrunk to the network's input."""
    generator = torch.Generator().manual_seed(seed)
    images, features = torch.from_numpy(photos), []
    for spec, axes in _PHOTO_VIEWS:
        shown = windows(images, images.shape[-1], spec, generator).flip(axes)
        parts = [net.features(_normalise(_shrunk(part))) for part in torch.split(shown, _BATCH)]
        features.append(torch.cat(parts).numpy().astype(np.float16))
    return np.stack(features, axis=1)


def _look(
    mosaics: NDArray[np.uint8], net: PlaceLite0, spots: NDArray[np.int64], flight: int,
    turns: int, mirrored: bool,
) -> NDArray[np.float16]:  # fmt: skip
    """Features ``(spot, feature)`` by the dense function, as in inference."""
    image = mosaics[flight][:, :, ::-1] if mirrored else mosaics[flight]
    image = np.ascontiguousarray(np.rot90(image, turns, (1, 2)))
    x = _normalise(torch.from_numpy(image)[None].float() / 255)
    seen = sliding_mean(net.trunk(x), net.POOL // net.STRIDE)[0]
    rows, cols = (_turned(spots, image.shape[-1], turns, mirrored) - net.STRIDE) / net.STRIDE
    nodes = [np.rint(at).astype(int).clip(0, seen.shape[-1] - 1) for at in (rows, cols)]
    return np.asarray(seen[:, nodes[0], nodes[1]].T.numpy().astype(np.float16))


def _turned(spots: NDArray[np.int64], side: int, turns: int, mirrored: bool) -> NDArray[np.float64]:
    """Rows and columns (px) of the same places in the mirrored, then turned, image."""
    rows, cols = spots.T + 0.5
    if mirrored:
        cols = side - cols
    for _ in range(turns):
        rows, cols = side - cols, rows
    return np.stack([rows, cols])


def _shrunk(x: Tensor) -> Tensor:
    size = (PHOTO_PX, PHOTO_PX)
    return functional.interpolate(x, size, mode="bilinear", antialias=True)


def _normalise(x: Tensor) -> Tensor:
    mean, std = (torch.tensor(values)[:, None, None] for values in NORMALIZATION)
    return ((x - mean) / std).contiguous(memory_format=torch.channels_last)


def _labels(world: TrainingWorld) -> NDArray[np.float32]:
    """Labels ``(photo, class)`` of a photo's content and, to a share, of its place; sums of 1."""
    at = np.eye(len(LANDUSE), dtype=np.float32)[world.at]
    seen = world.visible.sum(axis=1, keepdims=True)
    share = np.where(seen > 0, _AT_CAMERA, 1.0)
    labels = share * at + (1 - share) * world.visible / np.maximum(seen, 1e-6)
    return np.asarray(labels.astype(np.float32))


def _of_world(world: int, spots: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.column_stack([np.full(len(spots), world), spots])


def join(parts: Sequence[PlaceData]) -> PlaceData:
    """The data of several worlds, concatenated."""
    names = PlaceData.__dataclass_fields__
    return PlaceData(**{name: np.concatenate([getattr(p, name) for p in parts]) for name in names})


def load_features(path: Path) -> PlaceData:
    """Features saved earlier."""
    with np.load(path) as stored:
        return PlaceData(**{name: stored[name] for name in stored.files})
