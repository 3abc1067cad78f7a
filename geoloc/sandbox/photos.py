"""Ground photos of a world: files with their truth, and small samples for training."""

from __future__ import annotations

import csv
import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import GeolocError, OutputError
from ..files.whole import whole_file
from .camera import Camera
from .relief import Relief
from .scene import LANDUSE
from .shots import (
    BESIDE,
    Moment,
    Town,
    find_spots,
    hold,
    landuse_here,
    moment,
    place,
    shows_place,
    stands_free,
    to_lonlat,
)
from .sky import Light
from .view import Surroundings, View, render

TRUTH_COLUMNS = ("file", "lon", "lat", "heading", "fov", "date", "x", "y", "landuse")
_PHONES = (("Samsung", "SM-A536B"), ("Xiaomi", "Redmi Note 11"), ("Apple", "iPhone 12"),
           ("motorola", "moto g54 5G"), ("Google", "Pixel 7"))  # fmt: skip
_TRIES = 60
_GROUP = 32  # samples that share one relief
_SPREAD = 110.0  # m they lie from its middle, each way


@dataclass(frozen=True)
class Photo:
    """A photo of the world and its truth; x, y in m of the world's CRS."""

    camera: Camera
    when: datetime
    lon: float
    lat: float
    view: View
    landuse: int


@dataclass(frozen=True)
class Sample:
    """A small photo for training: see `View` for ``visible``; ``landuse``: at the camera."""

    pixels: NDArray[np.uint8]
    x: float
    y: float
    heading: float
    fov: float
    visible: NDArray[np.float32]
    landuse: int


def take_photo(
    world: Town, index: int, seed: int, around: Surroundings, size: tuple[int, int] | None = None
) -> Photo:
    """Photo ``index`` of a world: the same however many are taken.

    ``size``: px of the long and the short side instead of a phone's.
    Raises GeolocError where no free place is found.
    """
    rng = np.random.default_rng([world.seed, seed, 17, index])
    spots = find_spots(world)
    for _ in range(_TRIES):
        spot = spots.draw(rng)
        x, y = place(spot, rng)
        camera = hold(x, y, rng, size)
        if not _inside(world, x, y):
            continue
        near = around.nearby(x, y)
        if stands_free(near, camera) and shows_place(near, camera):
            return _develop(around.relief(x, y), camera, world, rng)
    raise GeolocError(f"no free place for photo {index} of the world with seed {world.seed}: "
                      "try another seed")  # fmt: skip


def _inside(world: Town, x: float, y: float, margin: float = 20.0) -> bool:
    left, bottom, right, top = world.bounds
    return left + margin < x < right - margin and bottom + margin < y < top - margin


def _develop(relief: Relief, camera: Camera, world: Town, rng: np.random.Generator) -> Photo:
    lon, lat = to_lonlat(world.crs).transform(camera.x, camera.y)
    now: Moment = moment(lon, lat, rng)
    view = render(relief, camera, now.light, seed=int(rng.integers(1 << 30)))
    return Photo(camera, now.when, lon, lat, view, landuse_here(relief, camera.x, camera.y))


def write_photos(
    world: Town,
    folder: Path,
    n: int = 40,
    seed: int = 0,
    size: tuple[int, int] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write ``0001.jpg`` ... and ``truth.csv`` into ``folder``; returns the table's path.

    ``size``: px ``(width, height)`` instead of a phone's; ``progress(done, n)`` is called after
    each photo. Raises OutputError where the folder cannot be written.
    """
    around = Surroundings(world)
    rows = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for index in range(n):
            photo = take_photo(world, index, seed, around, size)
            name = f"{index + 1:04d}.jpg"
            save_jpeg(photo, folder / name, seed=index)
            rows.append(_truth(photo, name))
            if progress is not None:
                progress(index + 1, n)
        table = folder / "truth.csv"
        with whole_file(table) as part, part.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(TRUTH_COLUMNS)
            writer.writerows(rows)
    except OSError as error:
        raise OutputError(f"cannot write photos to {folder}: {error.strerror}") from error
    return table


def _truth(photo: Photo, name: str) -> tuple[str, ...]:
    camera = photo.camera
    return (name, f"{photo.lon:.7f}", f"{photo.lat:.7f}", f"{camera.heading:.2f}",
            f"{camera.fov:.2f}", photo.when.isoformat(), f"{camera.x:.2f}", f"{camera.y:.2f}",
            LANDUSE[photo.landuse])  # fmt: skip


def save_jpeg(photo: Photo, path: Path, seed: int = 0) -> None:
    """Write a photo as a phone would: JPEG of varying quality, EXIF without a position."""
    rng = np.random.default_rng([seed, 91])
    image = Image.fromarray(photo.view.pixels)
    make, model = _PHONES[int(rng.integers(len(_PHONES)))]
    exif = Image.Exif()
    stamp = photo.when.strftime("%Y:%m:%d %H:%M:%S")
    exif[0x010F], exif[0x0110], exif[0x0112], exif[0x0132] = make, model, 1, stamp
    details = exif.get_ifd(0x8769)
    details[0x9003] = details[0x9004] = stamp
    details[0xA002], details[0xA003] = image.size
    image.save(path, "JPEG", quality=int(rng.integers(72, 96)), exif=exif)


def render_samples(
    world: Town, n: int, seed: int = 0, size: tuple[int, int] = (128, 128)
) -> Iterator[Sample]:
    """Small photos in groups that share their surroundings, which makes them cheap.

    ``size``: px ``(width, height)``; photos have phones' aspect ratios and are squeezed into it,
    as encoders do. Sample ``i`` is the same whatever ``n`` is. Neighbouring samples lie close
    together: shuffle them.
    """
    around = Surroundings(world)
    made = 0
    for group in itertools.count():
        for sample in _group(world, group, seed, size, around):
            yield sample
            made += 1
            if made == n:
                return


def _group(
    world: Town, index: int, seed: int, size: tuple[int, int], around: Surroundings
) -> Iterator[Sample]:
    """Up to ``_GROUP`` samples around one spot."""
    rng = np.random.default_rng([world.seed, seed, 29, index])
    spots = find_spots(world)
    middle = spots.draw(rng)
    away = np.abs(spots.points[:, :2] - middle[:2]).max(axis=1)
    near = np.flatnonzero(away < _SPREAD - BESIDE - 10)
    relief = around.relief(float(middle[0]), float(middle[1]), _SPREAD, detail=False)
    lon, lat = to_lonlat(world.crs).transform(middle[0], middle[1])
    made = 0
    for _ in range(8 * _GROUP):
        x, y = place(spots.points[rng.choice(near)], rng)
        camera = _small(hold(x, y, rng), size)
        if not (_inside(world, x, y, 0.0) and stands_free(relief, camera)):
            continue
        light = moment(lon, lat, rng).light
        noise = int(rng.integers(1 << 30))
        if shows_place(relief, camera):
            yield _sample(relief, camera, light, noise, size)
            made += 1
            if made == _GROUP:
                return


def _small(camera: Camera, size: tuple[int, int]) -> Camera:
    """The same view with about as many px as ``size`` has, in the camera's own proportions."""
    shrink = math.sqrt(size[0] * size[1] / (camera.width * camera.height))
    return replace(camera, width=max(round(camera.width * shrink), 8),
                   height=max(round(camera.height * shrink), 8))  # fmt: skip


def _sample(
    relief: Relief, camera: Camera, light: Light, noise: int, size: tuple[int, int]
) -> Sample:
    view = render(relief, camera, light, seed=noise, oversample=1.3)
    pixels = np.asarray(Image.fromarray(view.pixels).resize(size, Image.Resampling.BILINEAR))
    use = landuse_here(relief, camera.x, camera.y)
    return Sample(pixels, camera.x, camera.y, camera.heading, camera.fov, view.visible, use)
