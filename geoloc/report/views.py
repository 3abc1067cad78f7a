"""Pictures that go into the page: the photos, the base map, a chip of each candidate.

The base map is the cube's overview, and around the best candidates tiles as sharp as the imagery
is. Where a cube has no overview, the area is read for it at each call.
"""

from __future__ import annotations

import base64
import io
import math
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from pyproj import Transformer

from ..area.ground import utm_code
from ..arrays import U8
from ..domain import Grid
from ..errors import GeolocError
from ..jobs.overview import NOTHING

if TYPE_CHECKING:
    from ..candidates import Candidate
    from ..imagery.source import Source
    from ..jobs.overview import Overview, Piece
    from ..photos import Photo
    from .result import QueryResult

BASE_PIXELS = 1500
CHIP_PIXELS = 400
CHIP_METRES = 240.0
MOST_CHIPS = 200
"""Candidates, the best ones, that are shown from above: 50 kB and 25 ms each."""
REGION_CHIPS = 24
"""Good regions whose best point is shown from above."""
_CHIP_MINIMUM = 48  # pixels: with coarse imagery a chip shows more ground instead
_PHOTO_PIXELS = {1: 1600, 2: 1000}  # by number of photos; more are smaller
_TILE = 400  # px, side of a sharp tile
_MOST_TILES = 12  # 2 million pixels: half a megabyte, and a third of a second of one core
_FINER = 0.95  # than the imagery: sampled, not averaged, which takes half the time
_SHARPER = 0.8  # of the overview's pixel: tiles that are hardly finer are not worth their bytes
_READERS = 4  # windows read at a time


@dataclass(frozen=True)
class Picture:
    """An image as data URI; ``bounds`` are left, bottom, right, top in the grid's CRS."""

    uri: str
    width: int
    height: int
    bounds: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    dates: tuple[str, ...] = ()

    def image(self) -> Image.Image:
        """The picture itself."""
        return Image.open(io.BytesIO(base64.b64decode(self.uri.partition(",")[2])))


@dataclass(frozen=True)
class Views:
    """What was seen: the base map, chips by rank, notes for the reader.

    regions: chips of the best points of good regions, by the region's rank.
    base: pictures of the ground to be drawn in this order: of the whole area, then of parts of
        it, the sharper the later; empty without imagery.
    """

    base: tuple[Picture, ...]
    chips: dict[int, Picture]
    notes: tuple[str, ...]
    regions: dict[int, Picture] = field(default_factory=dict)


def render_views(
    result: QueryResult,
    source: Source | None,
    overview: Overview | None = None,
    *,
    sharp: bool = True,
) -> Views:
    """What is seen; imagery that cannot be read becomes a note, never an error.

    ``overview``: of the cube's imagery; without it the base map is read from ``source``.
    ``sharp``: with the overview's tiles, and sharper ones around the candidates.
    """
    seen = _of_regions(result, source)
    if result.of_points:
        return seen
    views = _of_cells(result, source, overview, sharp)
    return replace(views, regions=seen.regions)


def _of_regions(result: QueryResult, source: Source | None) -> Views:
    """Chips of the best points of good regions: of points all that is seen of imagery."""
    regions = result.regions
    if regions is None or source is None:
        note = ("No imagery was available, so no place is shown from above.",)
        return Views((), {}, note if result.of_points else ())
    best = regions.best_good[:REGION_CHIPS]
    try:
        places = [_place_window(lon, lat, source.gsd) for lon, lat in regions.lonlat[best].tolist()]
        chips = _read_all(source, places, quality=85) if places else []
    except (GeolocError, OSError) as error:
        return Views((), {}, (f"The imagery can no longer be reached: {error}",))
    views = {int(regions.rank[r]): chip for r, chip in zip(best, chips, strict=True) if chip}
    return Views((), {}, (), views)


def _place_window(lon: float, lat: float, gsd: float) -> Grid:
    """The window of a chip in the UTM zone of its place: metres are metres there."""
    crs = utm_code(lon, lat)
    x, y = Transformer.from_crs(4326, crs, always_xy=True).transform(lon, lat)
    size = max(CHIP_METRES, _CHIP_MINIMUM * gsd)
    step = max(gsd, size / CHIP_PIXELS)
    n = round(size / step)
    return Grid(crs, x - n * step / 2, y + n * step / 2, step, n, n)


def _of_cells(
    result: QueryResult, source: Source | None, overview: Overview | None, sharp: bool
) -> Views:
    base = () if overview is None else _of_overview(overview, sharp)
    if source is None:
        note = "No imagery was available, so the map shows {} alone."
        return Views(base, {}, (note.format("an overview" if base else "the heatmap"),))
    try:
        base = base or _base(source, result.grid)  # type: ignore[arg-type]  # has a hash
        shown = result.candidates[:MOST_CHIPS]
        windows = {c.rank: _chip_window(c, result.grid, source.gsd) for c in shown}
        chips = dict(zip(windows, _read_all(source, windows.values(), quality=85), strict=True))
        if sharp and base:
            base += tuple(filter(None, _sharp_tiles(result, source, base)))
    except (GeolocError, OSError) as error:
        return Views(base, {}, (f"The imagery can no longer be reached: {error}",))
    notes: tuple[str, ...] = () if base else ("The imagery holds no pixels of this area.",)
    if len(result.candidates) > MOST_CHIPS:
        notes += (f"The best {MOST_CHIPS} candidates are shown from above, the others not.",)
    return Views(base, {rank: chip for rank, chip in chips.items() if chip}, notes)


def photo_picture(photo: Photo, count: int) -> Picture:
    """A photo small enough for the page, one of ``count``; no metadata goes with it."""
    limit = _PHOTO_PIXELS.get(count, 700)
    image = Image.fromarray(np.ascontiguousarray(photo.pixels))
    image.thumbnail((limit, limit), Image.Resampling.LANCZOS)
    return Picture(_jpeg(image, 85), image.width, image.height)


def png_uri(index: U8, colors: U8) -> str:
    """A PNG data URI of uint8 ``(y, x)``: 0 is clear, n has the n-th of ``colors`` ``(n, 3)``."""
    image = Image.fromarray(index)
    image.putpalette([0, 0, 0, *colors.reshape(-1).tolist()])
    return _uri(image, "png", transparency=0)


@lru_cache(maxsize=4)  # the answers of one call share their cube
def _of_overview(overview: Overview, sharp: bool) -> tuple[Picture, ...]:
    pieces = (overview.whole, *(overview.tiles if sharp else ()))
    return tuple(_picture_of(piece, overview.dates) for piece in pieces)


def _picture_of(piece: Piece, dates: tuple[str, ...]) -> Picture:
    uri = f"data:image/jpeg;base64,{base64.b64encode(piece.content).decode()}"
    return Picture(uri, piece.width, piece.height, piece.bounds, dates)


@lru_cache(maxsize=1)  # the answers of one call share their area, and so the slowest picture
def _base(source: Source, grid: Grid) -> tuple[Picture, ...]:
    picture = _read(source, _base_window(grid, source.gsd), 82)
    return () if picture is None else (picture,)


def _sharp_tiles(
    result: QueryResult, source: Source, base: tuple[Picture, ...]
) -> list[Picture | None]:
    """Tiles at the imagery's own resolution, around the best candidates first."""
    left, _, right, _ = base[-1].bounds
    if source.gsd > _SHARPER * (right - left) / base[-1].width:
        return []
    windows = dict.fromkeys(
        tile for c in result.candidates for tile in _tiles_around(c, result.grid, source.gsd)
    )
    return _read_all(source, list(windows)[:_MOST_TILES], quality=82)


def _tiles_around(candidate: Candidate, grid: Grid, gsd: float) -> Iterator[Grid]:
    """The four tiles of one lattice over the area that lie around a candidate."""
    step = _FINER * gsd
    side = _TILE * step
    col = math.floor((candidate.x - grid.left) / side - 0.5)
    row = math.floor((grid.top - candidate.y) / side - 0.5)
    for y in (row, row + 1):
        for x in (col, col + 1):
            yield Grid(grid.crs, grid.left + x * side, grid.top - y * side, step, _TILE, _TILE)


def _read_all(source: Source, windows: Iterable[Grid], quality: int) -> list[Picture | None]:
    """Windows read side by side: most of that is waiting, or work that frees the interpreter."""
    with ThreadPoolExecutor(min(_READERS, len(os.sched_getaffinity(0)))) as pool:
        return list(pool.map(lambda w: _part(source, w, quality), windows))  # type: ignore[arg-type]


@lru_cache(maxsize=512)  # many photos have candidates in common; some 100 kB each
def _part(source: Source, window: Grid, quality: int) -> Picture | None:
    return _read(source, window, quality)


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
    pixels[~valid] = NOTHING
    dates = sorted({str(i.datetime)[:10] for i in data.attrs.get("items", ()) if i.datetime})
    image = Image.fromarray(pixels)
    uri = _jpeg(image, quality)
    return Picture(uri, image.width, image.height, window.bounds, tuple(dates))


def plain_jpeg(image: Image.Image) -> str:
    """A data URI of the pixels alone, of what was compressed before."""
    return _jpeg(image, 90)


def _jpeg(image: Image.Image, quality: int) -> str:
    return _uri(image, "jpeg", quality=quality, optimize=True, progressive=True)


def _uri(image: Image.Image, kind: str, **options: object) -> str:
    memory = io.BytesIO()
    image.save(memory, kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(memory.getvalue()).decode()}"
