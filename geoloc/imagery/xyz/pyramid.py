"""The pyramid of web map tiles: which tiles a window needs, and their URLs. No I/O.

Spherical Mercator, EPSG:3857: zoom z has 2**z tiles per side, row 0 in the north. Formulas: OGC
17-083r2, annex D.1 (WebMercatorQuad); quadkeys: "Bing Maps Tile System".
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from ...area import Bounds
from ...domain import Grid

MERCATOR = "EPSG:3857"
HALF = 20037508.342789244
"""Half the side of the map, m."""

_COARSER = 1.1  # tiles may be this much coarser than the window: a zoom costs 4 times the tiles
MAX_LATITUDE = 85.0511287798066


@dataclass(frozen=True)
class Tiles:
    """The tiles ``[y0:y1, x0:x1]`` of a zoom, each ``px`` pixels per side.

    Beyond 180 degrees columns continue, and so do the coordinates of their pixels.
    """

    zoom: int
    x0: int
    x1: int
    y0: int
    y1: int
    px: int

    @property
    def grid(self) -> Grid:
        """The lattice of their pixels."""
        side = _tile_side(self.zoom)
        step = side / self.px
        ny, nx = (self.y1 - self.y0) * self.px, (self.x1 - self.x0) * self.px
        return Grid(MERCATOR, self.x0 * side - HALF, HALF - self.y0 * side, step, ny, nx)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """``(x, y)`` of each in the server's numbering, row by row."""
        return (
            (x % 2**self.zoom, y) for y in range(self.y0, self.y1) for x in range(self.x0, self.x1)
        )

    def __len__(self) -> int:
        return (self.x1 - self.x0) * (self.y1 - self.y0)


def ground_size(latitude: float, zoom: int, px: int) -> float:
    """m on the ground per pixel at a latitude in degrees."""
    return _tile_side(zoom) / px * math.cos(math.radians(latitude))


def choose_zoom(gsd: float, latitude: float, px: int, lowest: int, highest: int) -> int:
    """The least zoom that is about as fine as ``gsd`` (m on the ground) at a latitude."""
    wanted = math.log2(ground_size(latitude, 0, px) / (gsd * _COARSER))
    return min(max(math.ceil(wanted), lowest), highest)


def tiles_of(box: Bounds, zoom: int, px: int, margin: int = 2) -> Tiles | None:
    """The tiles under a box in EPSG:3857 and ``margin`` pixels around; None outside the map.

    A box may extend beyond 180 degrees, around the Earth once at most.
    """
    side = _tile_side(zoom)
    reach = margin * side / px
    left, bottom, right, top = box
    x0, x1 = math.floor((left - reach + HALF) / side), math.ceil((right + reach + HALF) / side)
    y0, y1 = math.floor((HALF - top - reach) / side), math.ceil((HALF - bottom + reach) / side)
    y0, y1 = max(y0, 0), min(y1, 2**zoom)
    if left >= -HALF and right <= HALF:
        x0, x1 = max(x0, 0), min(x1, 2**zoom)
    x1 = min(x1, x0 + 2**zoom)
    return Tiles(zoom, x0, x1, y0, y1, px) if x0 < x1 and y0 < y1 else None


def quadkey(x: int, y: int, zoom: int) -> str:
    """A tile's name in base-4 digits, one per zoom."""
    return "".join(str((x >> bit & 1) + 2 * (y >> bit & 1)) for bit in range(zoom - 1, -1, -1))


def fill_template(template: str, x: int, y: int, zoom: int, subdomains: str) -> str:
    """A tile's URL; ``{r}`` stays empty, as double-size tiles would need another ``tile_px``."""
    values = {
        "{x}": str(x),
        "{y}": str(y),
        "{-y}": str(2**zoom - 1 - y),
        "{z}": str(zoom),
        "{q}": quadkey(x, y, zoom),
        "{r}": "",
        "{s}": subdomains[(x + y) % len(subdomains)],
    }
    for name, value in values.items():
        template = template.replace(name, value)
    return template


def _tile_side(zoom: int) -> float:
    """The side of a tile, m of the map."""
    return math.ldexp(2 * HALF, -zoom)
