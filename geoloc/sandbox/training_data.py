"""Training data of the sandbox model: photos and imagery of whole worlds, cached on disk."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import OutputError
from ..files.whole import whole_file
from .camera import Camera
from .overhead import ACQUISITIONS, render_overhead
from .painted import PaintedWorld
from .scene import LANDUSE
from .shots import (
    find_spots,
    hold,
    landuse_here,
    moment,
    place,
    shows_place,
    stands_free,
    to_lonlat,
)
from .view import Surroundings, render

GSD = 2.5
"""m per px of the overhead network's imagery."""
PHOTO_PX = 128
"""Side of the square to which the ground network's photos are stretched."""
KEPT_PX = 192
"""Side of the squares that are kept, from which parts are cut for training."""
_NATIVE = 0.5  # m per px at which the world is rendered before it is averaged down
_PIXELS = 256 * 192  # of a rendered photo
_GROUP, _SPREAD = 4, 40.0
"""Photos that share one relief, and how far (m, each way) they lie from its middle."""
MARGIN_PX = 96  # around a mosaic: half of a turned chip of 128 px
_MISSING = (127, 127, 127)  # what the overhead encoder puts where imagery is missing
_RINGS = ((25.0, 0.5), (60.0, 0.3), (120.0, 0.2))
"""Radius (m) of discs around a camera, and their weights in its surroundings."""


@dataclass(frozen=True)
class Sample:
    """A small photo for training: see `View` for ``visible``; ``landuse``: at the camera."""

    pixels: NDArray[np.uint8]
    x: float
    y: float
    visible: NDArray[np.float32]
    landuse: int


@dataclass(frozen=True)
class TrainingWorld:
    """One world: photos, their content, and its imagery.

    photos: uint8 ``(photo, 3, KEPT_PX, KEPT_PX)``. visible, around: float32
    ``(photo, class)``, shares of each land use in the picture, and around the camera. at: int
    ``(photo,)``, land use at the camera. places: float64 ``(photo, 2)``, metres right of and
    below the world's top left corner. mosaics: uint8 ``(flight, 3, y, x)`` at `GSD`.
    """

    photos: NDArray[np.uint8]
    visible: NDArray[np.float32]
    around: NDArray[np.float32]
    at: NDArray[np.int64]
    places: NDArray[np.float64]
    mosaics: NDArray[np.uint8]


def render_training_world(seed: int, km: float, photos: int) -> TrainingWorld:
    """Render a world's imagery and ``photos`` photos of it."""
    world = PaintedWorld(seed, km)
    left, _, _, top = world.bounds
    samples = list(itertools.islice(_samples(world, seed), photos))
    landuse = world.rasterize(world.grid(2.0)).landuse
    places = np.array([(s.x - left, top - s.y) for s in samples])
    find_spots.cache_clear()  # it would keep the whole painted world
    return TrainingWorld(
        photos=np.stack([_stretch(s.pixels) for s in samples]),
        visible=np.stack([s.visible for s in samples]).astype(np.float32),
        around=np.stack([_around(landuse, *place) for place in places]),
        at=np.array([s.landuse for s in samples], np.int64),
        places=places,
        mosaics=np.stack([_mosaic(world, number) for number in range(len(ACQUISITIONS))]),
    )


def _samples(world: PaintedWorld, seed: int) -> Iterator[Sample]:
    """An endless series of photos like those of `write_photos`, but smaller.

    Few share a place: many different places train better than many photos of one.
    """
    rng = np.random.default_rng([seed, 53])
    spots, around = find_spots(world), Surroundings(world)
    left, bottom, right, top = world.bounds
    while True:
        middle = spots.draw(rng)
        relief = around.relief(middle[0], middle[1], _SPREAD, detail=False)
        lon, lat = to_lonlat(world.crs).transform(middle[0], middle[1])
        away = np.abs(spots.points[:, :2] - middle[:2]).max(axis=1)
        near = np.flatnonzero(away < _SPREAD)
        for _ in range(_GROUP):
            x, y = place(spots.points[rng.choice(near)], rng)
            camera = _small(hold(x, y, rng))
            inside = left < x < right and bottom < y < top
            if inside and stands_free(relief, camera) and shows_place(relief, camera):
                light, noise = moment(lon, lat, rng).light, int(rng.integers(1 << 30))
                view = render(relief, camera, light, seed=noise)
                yield Sample(view.pixels, x, y, view.visible, landuse_here(relief, x, y))


def _small(camera: Camera) -> Camera:
    """The same view in fewer px."""
    shrink = math.sqrt(_PIXELS / (camera.width * camera.height))
    width, height = (round(side * shrink) for side in (camera.width, camera.height))
    return replace(camera, width=width, height=height)


def _stretch(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    image = Image.fromarray(pixels).resize((KEPT_PX, KEPT_PX), Image.Resampling.BILINEAR)
    return np.asarray(image).transpose(2, 0, 1)


def _around(landuse: NDArray[np.uint8], x: float, y: float) -> NDArray[np.float32]:
    """Shares of each land use in discs around a point, metres from the corner of ``landuse``."""
    row, col = int(y / 2), int(x / 2)
    reach = int(_RINGS[-1][0] / 2)
    rows = slice(max(row - reach, 0), row + reach + 1)
    cols = slice(max(col - reach, 0), col + reach + 1)
    part = landuse[rows, cols]
    i, j = np.ogrid[: part.shape[0], : part.shape[1]]
    apart = 2 * np.hypot(i + rows.start - row, j + cols.start - col)
    shares = np.zeros(len(LANDUSE))
    for radius, weight in _RINGS:
        inside = np.bincount(part[apart <= radius], minlength=len(LANDUSE))
        shares += weight * inside / inside.sum()
    return shares.astype(np.float32)


def _mosaic(world: PaintedWorld, flight: int) -> NDArray[np.uint8]:
    """Imagery of one flight ``(3, y, x)`` at `GSD`, with a margin where there is none."""
    native = render_overhead(world, world.grid(_NATIVE), ACQUISITIONS[flight])
    side = round(native.shape[0] * _NATIVE / GSD)
    small = np.asarray(Image.fromarray(native).resize((side, side), Image.Resampling.BOX))
    shape = (3, side + 2 * MARGIN_PX, side + 2 * MARGIN_PX)
    out = np.broadcast_to(np.array(_MISSING, np.uint8)[:, None, None], shape).copy()
    inner = slice(MARGIN_PX, MARGIN_PX + side)
    out[:, inner, inner] = small.transpose(2, 0, 1)
    return out


def load_training_world(seed: int, km: float, photos: int, folder: Path) -> TrainingWorld:
    """The world of a seed, rendered once and cached in ``folder``."""
    path = folder / f"world-{seed}-{km:g}km-{photos}.npz"
    if not path.exists():
        save_arrays(render_training_world(seed, km, photos), path)
    with np.load(path) as stored:
        return TrainingWorld(**{name: stored[name] for name in stored.files})


def save_arrays(value: object, path: Path) -> None:
    """Write a dataclass of arrays so that an interrupted run finds it whole or not at all."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as part:
            np.savez(part, **vars(value))
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror})") from error
