"""Ground photos of a world: files with their truth."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
from PIL import Image

from ..errors import GeolocError, OutputError
from ..files.whole import whole_file
from ..progress import Progress, unheard
from .camera import Camera
from .relief import Relief
from .scene import LANDUSE
from .shots import (
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
from .view import Surroundings, View, render

TRUTH_COLUMNS = ("file", "lon", "lat", "heading", "fov", "date", "x", "y", "landuse")
_PHONES = (("Samsung", "SM-A536B"), ("Xiaomi", "Redmi Note 11"), ("Apple", "iPhone 12"),
           ("motorola", "moto g54 5G"), ("Google", "Pixel 7"))  # fmt: skip
_TRIES = 60
_MARGIN = 20.0  # m between photos and the bounds of the world


@dataclass(frozen=True)
class Photo:
    """A photo of the world and its truth; x, y in m of the world's CRS."""

    camera: Camera
    when: datetime
    lon: float
    lat: float
    view: View
    landuse: int


def take_photo(
    world: Town, index: int, seed: int, around: Surroundings, size: tuple[int, int] | None = None
) -> Photo:
    """Photo ``index`` of a world, independent of how many are taken.

    ``size``: px of the long and the short side instead of a phone's.
    Raises GeolocError if no free place is found.
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
            return develop(around.relief(x, y), camera, world, rng)
    raise GeolocError(f"no free place for photo {index} of the world with seed {world.seed}: "
                      "try another seed")  # fmt: skip


def _inside(world: Town, x: float, y: float) -> bool:
    left, bottom, right, top = world.bounds
    return left + _MARGIN < x < right - _MARGIN and bottom + _MARGIN < y < top - _MARGIN


def develop(relief: Relief, camera: Camera, world: Town, rng: np.random.Generator) -> Photo:
    """Take the photo, on some day of the warm half of a year."""
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
    progress: Progress | None = None,
) -> Path:
    """Write ``0001.jpg`` ... and ``truth.csv`` into ``folder``; returns the table's path.

    ``size``: px ``(width, height)`` instead of a phone's; ``progress(done, n)`` is called before
    the first photo and after each. Raises OutputError if the folder cannot be written.
    """
    around = Surroundings(world)
    return write_album(
        folder, n, lambda index: take_photo(world, index, seed, around, size), progress
    )


def write_album(
    folder: Path,
    n: int,
    take: Callable[[int], Photo],
    progress: Progress | None = None,
) -> Path:
    """Write the photos that ``take`` gives for 0 to ``n - 1``, and ``truth.csv``; its path.

    ``progress(done, n)`` is called before the first photo and after each. Raises OutputError if
    the folder cannot be written.
    """
    rows = []
    report = progress or unheard
    try:
        folder.mkdir(parents=True, exist_ok=True)
        report(0, n)  # the first photo may take long: a world of views is made for it
        for index in range(n):
            photo = take(index)
            name = f"{index + 1:04d}.jpg"
            save_jpeg(photo, folder / name, seed=index)
            rows.append(_truth(photo, name))
            report(index + 1, n)
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
