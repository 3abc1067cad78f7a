"""The adapter of stackstac: scenes in, one array ``(time, band, y, x)`` out, lazily.

Known problems of stackstac 0.5 are avoided: it gets items written here, each with its footprint
in the target CRS (so ``proj:code``, ``raster:bands`` and missing projections do not matter), whole
windows (no snapping, coordinates of centres, uint8 without rescaling), and our own reader. The
reader opens files of several bands, reads them once for all bands, resamples like every other
source, distinguishes valid from black pixels, and reports a broken file instead of raising.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import stackstac
import xarray as xr
from pyproj import CRS

from ...area import Bounds
from ...arrays import U8
from ...domain import Grid
from ...errors import ImageryError
from ..placing import part_of
from .scene import Scene

BANDS = ("r", "g", "b", "valid")
"""``valid`` is 255 where a scene has data."""

ReadScene = Callable[[Scene, Grid], U8]
"""A scene's pixels ``(band, y, x)``, in the order of BANDS, on a window's lattice."""


def stack_scenes(
    scenes: Sequence[Scene], window: Grid, read: ReadScene, rows: int | None = None
) -> xr.DataArray:
    """uint8 ``(time, band, y, x)`` on the window's lattice, scenes in the order given.

    ``rows`` at a time are read. Nothing is read before it is computed; coordinate ``id`` is the
    index in ``scenes``; scenes that do not touch the window are left out.
    """
    epsg = epsg_of(window.crs)
    items = [_item(index, scene, window, epsg) for index, scene in enumerate(scenes)]
    stack: xr.DataArray = stackstac.stack(
        items,
        assets=list(BANDS),
        epsg=epsg,
        resolution=window.step,
        bounds=window.bounds,
        snap_bounds=False,
        xy_coords="center",
        dtype=np.dtype("uint8"),
        fill_value=np.uint8(0),
        rescale=False,
        sortby_date=False,
        properties=False,
        band_coords=False,
        chunksize=(1, len(BANDS), rows or window.ny, window.nx),
        reader=_Readers(scenes, window, read),
    )
    return stack


def epsg_of(crs: str) -> int:
    """The EPSG code that stackstac needs. Raises ImageryError if a CRS has none."""
    code = CRS.from_user_input(crs).to_epsg()
    if code is None:
        raise ImageryError(f"STAC imagery needs an area whose crs has an EPSG code, not {crs[:80]}")
    return int(code)


def _item(index: int, scene: Scene, window: Grid, epsg: int) -> dict[str, Any]:
    """A STAC item in the form that stackstac needs; its hrefs are for `_Readers`."""
    part = part_of(scene, window)
    box = window.window(*part).bounds if part else _beside(window)
    return {
        "id": str(index),
        "properties": {
            "datetime": scene.datetime and scene.datetime.isoformat(),
            "proj:epsg": epsg,
            "proj:bbox": box,
        },
        "assets": {band: {"href": f"{index}/{band}"} for band in BANDS},
    }


def _beside(window: Grid) -> Bounds:
    """A box that does not touch the window."""
    _, _, right, top = window.bounds
    return right + window.step, top + window.step, right + 2 * window.step, top + 2 * window.step


class _Readers:
    """Makes the readers that stackstac needs; all bands share the last read."""

    def __init__(self, scenes: Sequence[Scene], window: Grid, read: ReadScene) -> None:
        self._scenes, self._window, self._read = scenes, window, read
        self._last: tuple[tuple[int, Grid], U8] | None = None

    def __dask_tokenize__(self) -> str:
        return uuid.uuid4().hex  # never share results between windows

    def __call__(self, *, url: str, **_: Any) -> _Reader:
        index, band = url.split("/")
        return _Reader(self, int(index), BANDS.index(band))

    def layers(self, index: int, part: Any) -> U8:
        """All bands ``(band, y, x)`` of a scene in a part of the window."""
        rows, cols = (slice(int(a), int(b)) for a, b in part.toranges())
        window = self._window.window(rows, cols)
        if self._last is None or self._last[0] != (index, window):
            self._last = (index, window), self._read_touched(self._scenes[index], window)
        return self._last[1]

    def _read_touched(self, scene: Scene, window: Grid) -> U8:
        """The scene where it may reach, and zeros around."""
        layers = np.zeros((len(BANDS), *window.shape), np.uint8)
        if (part := part_of(scene, window)) is not None:
            layers[:, *part] = self._read(scene, window.window(*part))
        return layers


class _Reader:
    """One band of one scene."""

    def __init__(self, readers: _Readers, index: int, band: int) -> None:
        self._readers, self._index, self._band = readers, index, band

    def read(self, window: Any, **_: Any) -> U8:
        """Pixels ``(y, x)`` of a rasterio window of the stack."""
        layers = self._readers.layers(self._index, window)
        return np.asarray(layers[self._band])
