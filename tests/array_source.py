"""Imagery that lives in memory, for tests."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from geoloc.area import Bounds
from geoloc.domain import Grid
from geoloc.errors import ImageryError
from geoloc.imagery import Item
from geoloc.imagery.source import as_window, overlap

_ITEM = Item("array", "memory:array")


@dataclass(frozen=True, eq=False)
class ArraySource:
    """Imagery in memory: ``pixels`` uint8 ``(3, y, x)`` on the lattice ``grid``.

    Windows of another step or offset get the nearest pixel. Reads that touch a box of
    ``broken`` get no pixels in it and report an error, as for a damaged file.
    """

    pixels: NDArray[np.uint8]
    grid: Grid
    valid: NDArray[np.bool_] | None = None
    item: Item = _ITEM
    broken: tuple[Bounds, ...] = ()

    @property
    def gsd(self) -> float:
        return self.grid.step

    def bounds(self, crs: str) -> Bounds:
        self._same_crs(crs)
        return self.grid.bounds

    def covers(self, window: Grid) -> bool:
        self._same_crs(window.crs)
        return overlap(self.grid.bounds, window) is not None

    def read(self, window: Grid) -> xr.DataArray:
        pixels, valid = self._sample(window)
        errors = []
        for box in self.broken:
            if (hit := overlap(box, window)) is not None:
                valid[hit] = False
                errors.append(f"{self.item.id}: {list(box)} cannot be read")
        pixels[:, ~valid] = 0
        items = (self.item,) if valid.any() else ()
        return as_window(pixels, valid, window, items, tuple(errors), read_bytes=0)

    def fingerprint(self, window: Grid) -> str:
        pixels, valid = self._sample(window)
        digest = hashlib.sha256(self.item.id.encode())
        for part in (pixels, valid):
            digest.update(np.ascontiguousarray(part).tobytes())
        return digest.hexdigest()

    def _sample(self, window: Grid) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Nearest pixels ``(3, y, x)`` and their validity ``(y, x)``."""
        self._same_crs(window.crs)
        # slightly inwards, so that centres on an edge do not depend on rounding
        cols = np.floor((window.x - self.grid.left) / self.grid.step + 1e-6).astype(int)
        rows = np.floor((self.grid.top - window.y) / self.grid.step + 1e-6).astype(int)
        y = np.flatnonzero((rows >= 0) & (rows < self.grid.ny))
        x = np.flatnonzero((cols >= 0) & (cols < self.grid.nx))
        source = rows[y][:, None], cols[x][None, :]
        pixels = np.zeros((3, *window.shape), np.uint8)
        valid = np.zeros(window.shape, np.bool_)
        pixels[:, y[:, None], x] = self.pixels[:, source[0], source[1]]
        valid[y[:, None], x] = True if self.valid is None else self.valid[source]
        return pixels, valid

    def _same_crs(self, crs: str) -> None:
        if crs != self.grid.crs:
            raise ImageryError(f"imagery in memory is in {self.grid.crs}, not in {crs}")
