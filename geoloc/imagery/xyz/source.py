"""Web map tiles as a source of imagery.

Tiles carry no date and no version: name a version in the specification, and change it when the
provider has renewed its imagery; tiles are then fetched and blocks built again.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from pyproj import CRS

from ...area import Bounds, XyzImagery
from ...arrays import U8, Bools
from ...domain import Grid
from ...errors import ImageryError
from ...extras import extra
from ..crs import LONLAT, box_in, pixel_side
from ..keys import fill_keys
from ..placing import mesh_of
from ..source import Item, as_window
from ..warp import warp
from .client import TileClient
from .pyramid import MAX_LATITUDE, MERCATOR, Tiles, choose_zoom, ground_size, tiles_of

if TYPE_CHECKING:
    import xarray as xr

_MOST_TILES = 4096  # of a window: 800 MB of pixels
_BESIDE = 6.0, 1.0  # degrees of longitude and latitude around a CRS's area of use
_WORLD: Bounds = (-180.0, -MAX_LATITUDE, 180.0, MAX_LATITUDE)


@dataclass(frozen=True)
class _Mosaic:
    """Tiles side by side: ``(3, y, x)`` and ``(y, x)``, a line per kind of failure, bytes."""

    pixels: U8
    valid: Bools
    errors: tuple[str, ...]
    notes: tuple[str, ...]
    size: int


class XyzSource:
    """A map server; see ``Source``. Keys are read from the environment at each request."""

    def __init__(self, spec: XyzImagery) -> None:
        """Raises ImageryError for an unknown provider or a variable that is not set."""
        self.spec = spec
        self.template, self._max_zoom = _resolve_template(spec)
        fill_keys(self.template)
        self._client: TileClient | None = None
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k not in ("_client", "_lock")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _client=None)
        self._lock = threading.Lock()

    @property
    def gsd(self) -> float:
        """m on the ground per pixel of the highest zoom, at the middle of ``bounds``."""
        return self._gsd(self.spec.bounds or (0.0, 0.0, 0.0, 0.0))

    def gsd_at(self, window: Grid) -> float:
        """The same at the middle of a window."""
        return self._gsd(box_in(window.bounds, window.crs, LONLAT))

    def _gsd(self, lonlat: Bounds) -> float:
        _, south, _, north = lonlat
        zoom = self._max_zoom if self.spec.zoom is None else self.spec.zoom
        return ground_size((south + north) / 2, zoom, self.spec.tile_px)

    def bounds(self, crs: str) -> Bounds:
        """The box of all tiles, within the CRS's area of use."""
        west, south, east, north = self.spec.bounds or _WORLD
        if (use := CRS.from_user_input(crs).area_of_use) is not None:
            # a zone's neighbourhood is mapped as well, the far side of the Earth is not
            west, east = max(west, use.west - _BESIDE[0]), min(east, use.east + _BESIDE[0])
            south, north = max(south, use.south - _BESIDE[1]), min(north, use.north + _BESIDE[1])
        return box_in((west, south, east, north), LONLAT, crs)

    def extent(self, crs: str) -> Bounds:
        """The box of the specification's ``bounds``. Raises ImageryError without them."""
        if self.spec.bounds is None:
            raise ImageryError(
                "web tiles cover the world, so their extent is no area: write bounds or geometry"
            )
        return box_in(self.spec.bounds, LONLAT, crs)

    def covers(self, window: Grid) -> bool:
        """Whether the window touches ``bounds``."""
        return self._tiles(window) is not None

    def read(self, window: Grid) -> xr.DataArray:
        """The tiles' pixels in the window (see ``Source.read``).

        ``read_bytes``: of the tiles' bodies, from the server or the cache. Raises ImageryError if
        a server refuses every tile.
        """
        pixels = np.zeros((3, *window.shape), np.uint8)
        valid = np.zeros(window.shape, np.bool_)
        tiles = self._tiles(window)
        if tiles is None:
            return as_window(pixels, valid, window, (), (), 0)
        mosaic = self._mosaic(tiles)
        if mosaic.valid.any():
            present = None if mosaic.valid.all() else mosaic.valid
            pixels, valid = warp(mosaic.pixels, present, tiles.grid, window)
        items = (self._item(tiles.zoom),) if valid.any() else ()
        data = as_window(pixels, valid, window, items, mosaic.errors, mosaic.size)
        data.attrs["notes"] = mosaic.notes
        return data

    def requests(self, window: Grid) -> frozenset[tuple[int, int, int]]:
        """Zoom, x and y of the tiles that a window needs, each asked for once if tiles are kept."""
        tiles = self._tiles(window)
        return frozenset() if tiles is None else frozenset((tiles.zoom, *at) for at in tiles)

    def fingerprint(self, window: Grid) -> str:
        """SHA-256 over the template (without keys), the stated version, and the tiles."""
        tiles = self._tiles(window)
        fields = {"subdomains", "version", "tile_px", "bounds"}
        facts = [self.template, self.spec.model_dump(mode="json", include=fields), repr(tiles)]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def _item(self, zoom: int) -> Item:
        template = re.sub(r"[?&][^?&]*\$\{[^}]*\}", "", self.template)
        return Item(f"{self.spec.url.split('?')[0]}@{zoom}", template, None, self.spec.version)

    def _tiles(self, window: Grid) -> Tiles | None:
        """The tiles that a window needs; None outside ``bounds``."""
        lonlat = box_in(window.bounds, window.crs, LONLAT)
        if not _touch(lonlat, self.spec.bounds or _WORLD, window):
            return None
        tiles = tiles_of(
            _mercator_box(window),
            self._zoom(window, (lonlat[1] + lonlat[3]) / 2),
            self.spec.tile_px,
        )
        if tiles is not None and len(tiles) > _MOST_TILES:
            raise ImageryError(
                f"{len(tiles)} tiles of zoom {tiles.zoom} for a window of {window.nx} x "
                f"{window.ny} px: leave zoom out, or lower it"
            )
        return tiles

    def _zoom(self, window: Grid, latitude: float) -> int:
        if self.spec.zoom is not None:
            return self.spec.zoom
        x, y = window.center(window.ny // 2, window.nx // 2)
        corners = np.array([x, x + window.step, x]), np.array([y, y, y - window.step])
        gsd = pixel_side(window.crs, *corners)
        return choose_zoom(gsd, latitude, self.spec.tile_px, self.spec.min_zoom, self._max_zoom)

    def _mosaic(self, tiles: Tiles) -> _Mosaic:
        px, grid = tiles.px, tiles.grid
        pixels = np.zeros((3, *grid.shape), np.uint8)
        valid = np.zeros(grid.shape, np.bool_)
        faults: Counter[str] = Counter()
        notes: dict[str, None] = {}
        size = 0
        client = self._opened()
        for (x, y), tile in client.fetch_all(tiles):
            size += tile.size
            place = y - tiles.y0, (x - tiles.x0) % 2**tiles.zoom
            rows, cols = ((n * px, (n + 1) * px) for n in place)
            if tile.fault:
                faults[tile.fault] += 1
            elif note := client.placeholder(tile):
                notes[note] = None
            elif tile.pixels is not None:
                pixels[:, slice(*rows), slice(*cols)] = tile.pixels[..., :3].transpose(2, 0, 1)
                valid[slice(*rows), slice(*cols)] = tile.pixels[..., 3] > 0
        errors = tuple(f"{fault} ({n} of {len(tiles)} tiles)" for fault, n in faults.items())
        if faults.total() == len(tiles):
            raise ImageryError(errors[0])
        if not client.has_imagery(bool(valid.any())) and notes:
            errors += tuple(
                f"{note}; nothing else has been sent: check url and max_zoom" for note in notes
            )
        return _Mosaic(pixels, valid, errors, tuple(notes), size)

    def _opened(self) -> TileClient:
        with self._lock:
            self._client = self._client or TileClient(self.spec, self.template)
            return self._client


def _touch(lonlat: Bounds, limits: Bounds, window: Grid) -> bool:
    """Whether a window's box in degrees touches ``limits``; across 180 by the window's points."""
    west, south, east, north = lonlat
    if west > east:
        return mesh_of(window, LONLAT).part(limits) is not None
    inside = west < limits[2] and east > limits[0]
    return inside and south < limits[3] and north > limits[1]


def _mercator_box(window: Grid) -> Bounds:
    """The box around a window in EPSG:3857, which may extend beyond 180 degrees."""
    mesh = mesh_of(window, MERCATOR)
    if not mesh.moved:
        return box_in(window.bounds, window.crs, MERCATOR)
    (left, right), (bottom, top) = ((float(v.min()), float(v.max())) for v in (mesh.x, mesh.y))
    return left, bottom, right, top


def _resolve_template(spec: XyzImagery) -> tuple[str, int]:
    """A URL with placeholders, and the highest zoom. Raises ImageryError for unknown names."""
    if "://" in spec.url:
        return spec.url, spec.max_zoom
    with extra("xyz", f"imagery url {spec.url!r}"):
        import xyzservices.providers  # type: ignore[import-untyped]

    try:
        provider = xyzservices.providers.query_name(spec.url)
    except ValueError:
        raise ImageryError(
            f"imagery url {spec.url!r} is neither a URL nor a provider of xyzservices: write a URL "
            "such as https://host/{z}/{x}/{y}.jpg"
        ) from None
    if provider.requires_token():
        raise ImageryError(
            f"provider {provider.name} needs a key: write its URL with ${{NAME}} for the key"
        )
    url = provider.build_url(x="{x}", y="{y}", z="{z}")
    return url, min(spec.max_zoom, int(provider.get("max_zoom", spec.max_zoom)))
