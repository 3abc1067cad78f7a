"""Pictures that go into the page: the photos, the base map, a chip of each candidate."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import GeolocError
from ..grid import Grid

if TYPE_CHECKING:
    from ..candidates import Candidate
    from ..imagery.source import Source
    from ..photos import Photo
    from .result import QueryResult

BASE_PIXELS = 1500
CHIP_PIXELS = 400
CHIP_METRES = 240.0
_CHIP_MINIMUM = 48  # pixels: with coarse imagery a chip shows more ground instead
_PHOTO_PIXELS = {1: 1600, 2: 1000}  # by number of photos; more are smaller
_NOTHING = 96  # grey of places without imagery


@dataclass(frozen=True)
class Picture:
    """An image as data URI; ``bounds`` are left, bottom, right, top in the grid's CRS."""

    uri: str
    width: int
    height: int
    bounds: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    dates: tuple[str, ...] = ()


@dataclass(frozen=True)
class Views:
    """What was seen: the base map, chips by rank, notes for the reader.

    base: pictures of the ground to be drawn in this order, coarse first; empty without imagery.
    """

    base: tuple[Picture, ...]
    chips: dict[int, Picture]
    notes: tuple[str, ...]


def look(result: QueryResult, source: Source | None) -> Views:
    """Read the base map and chips; imagery that cannot be read becomes a note, never an error."""
    if source is None:
        return Views((), {}, ("No imagery was at hand, so the map shows the heatmap alone.",))
    try:
        base = _base(source, result.grid)  # type: ignore[arg-type]  # any object has a hash
        windows = {c.rank: _chip_window(c, result.grid, source.gsd) for c in result.candidates}
        seen = {rank: _chip(source, w) for rank, w in windows.items()}  # type: ignore[arg-type]
        chips = {rank: chip for rank, chip in seen.items() if chip}
    except (GeolocError, OSError) as error:
        return Views((), {}, (f"The imagery cannot be reached any more: {error}",))
    if base is None:
        return Views((), chips, ("The imagery holds no pixels of this area.",))
    return Views((base,), chips, ())


def photo_picture(photo: Photo, count: int) -> Picture:
    """A photo small enough for the page, one of ``count``; no metadata goes with it."""
    limit = _PHOTO_PIXELS.get(count, 700)
    image = Image.fromarray(np.ascontiguousarray(photo.pixels))
    image.thumbnail((limit, limit), Image.Resampling.LANCZOS)
    return Picture(_jpeg(image, 85), image.width, image.height)


def png_uri(index: NDArray[np.uint8], colors: NDArray[np.uint8]) -> str:
    """A PNG data URI of uint8 ``(y, x)``: 0 is clear, n has the n-th of ``colors`` ``(n, 3)``."""
    image = Image.fromarray(index)
    image.putpalette([0, 0, 0, *colors.reshape(-1).tolist()])
    return _uri(image, "png", transparency=0)


@lru_cache(maxsize=1)  # the answers of one call share their area, and so the slowest picture
def _base(source: Source, grid: Grid) -> Picture | None:
    return _read(source, _base_window(grid, source.gsd), quality=82)


@lru_cache(maxsize=512)  # many photos have candidates in common; some 100 kB each
def _chip(source: Source, window: Grid) -> Picture | None:
    return _read(source, window, quality=85)


def _base_window(grid: Grid, gsd: float) -> Grid:
    left, bottom, right, top = grid.bounds
    step = max(gsd, max(right - left, top - bottom) / BASE_PIXELS)
    return Grid.from_bounds(grid.crs, (left, bottom - step, right + step, top), step)


def _chip_window(candidate: Candidate, grid: Grid, gsd: float) -> Grid:
    size = max(CHIP_METRES, _CHIP_MINIMUM * gsd, 3 * grid.step)
    step = max(gsd, size / CHIP_PIXELS)
    n = round(size / step)
    half = n * step / 2
    return Grid(grid.crs, candidate.x - half, candidate.y + half, step, n, n)


def _read(source: Source, window: Grid, quality: int) -> Picture | None:
    data = source.read(window)
    valid = np.asarray(data.coords["valid"].values, dtype=bool)
    if not valid.any():
        return None
    pixels = np.moveaxis(np.asarray(data.values, dtype=np.uint8), 0, -1).copy()
    pixels[~valid] = _NOTHING
    dates = sorted({str(i.datetime)[:10] for i in data.attrs.get("items", ()) if i.datetime})
    image = Image.fromarray(pixels)
    uri = _jpeg(image, quality)
    return Picture(uri, image.width, image.height, window.bounds, tuple(dates))


def _jpeg(image: Image.Image, quality: int) -> str:
    return _uri(image, "jpeg", quality=quality, optimize=True, progressive=True)


def _uri(image: Image.Image, kind: str, **options: object) -> str:
    memory = io.BytesIO()
    image.save(memory, kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(memory.getvalue()).decode()}"
