"""Overhead windows of places: centred on each, in its own UTM zone, of one size for all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np

from ..arrays import U8, Bools
from ..domain import Grid
from ..encoders.windows import own_zones
from ..errors import ImageryError, UsageError
from ..imagery import Source
from ..models.spec import OverheadSpec

if TYPE_CHECKING:
    from shapely import Geometry, STRtree

CONTEXT = 1.5
"""Side of a chip in patches of the model: at any turn a patch is filled, as it takes sqrt(2)."""

_MOST_MISSING = 0.05  # of a chip's pixels
_MOST_WATER = 0.9  # of a chip
_PROBES = 24  # along a side, for the share of water
_FLAT = 2.0  # grey levels: standard deviation of a chip that shows nothing

Fault = Literal["no imagery", "water", "blank imagery"]


@dataclass(frozen=True)
class ChipSpec:
    """px: side of a chip; gsd: m per pixel."""

    px: int
    gsd: float

    def __post_init__(self) -> None:
        if not (8 <= self.px <= 8192 and math.isfinite(self.gsd) and self.gsd > 0):
            raise UsageError(f"chips of {self.px} px at {self.gsd:g} m: give 8 to 8192 px, and m")

    @property
    def side_m(self) -> float:
        """m of ground along a side."""
        return self.px * self.gsd

    @classmethod
    def of_model(cls, overhead: OverheadSpec, context: float = CONTEXT) -> ChipSpec:
        """For training a network like that of a model: its resolution, its patch with context."""
        if not (math.isfinite(context) and context >= 1):
            raise UsageError(f"context {context:g}: give the side of a chip in patches, at least 1")
        return cls(2 * math.ceil(overhead.patch_px * context / 2), overhead.preferred_gsd)

    def window(self, lonlat: tuple[float, float]) -> Grid:
        """The pixels of a place, in its own UTM zone: it is their centre."""
        ((crs, x, y),) = own_zones("EPSG:4326", np.array([lonlat]))
        half = self.side_m / 2
        return Grid(crs, x - half, y + half, self.gsd, self.px, self.px)


@dataclass(frozen=True)
class Water:
    """Polygons of water in degrees."""

    shapes: Sequence[Geometry] = ()

    def share(self, window: Grid) -> float:
        """How much of a window is water, 0 to 1."""
        import shapely
        from pyproj import Transformer

        if not self.shapes:
            return 0.0
        steps = (np.arange(_PROBES) + 0.5) / _PROBES
        left, bottom, right, top = window.bounds
        x, y = np.meshgrid(left + steps * (right - left), bottom + steps * (top - bottom))
        lon, lat = Transformer.from_crs(window.crs, "EPSG:4326", always_xy=True).transform(x, y)
        wet = np.zeros(x.shape, bool)
        box = float(lon.min()), float(lat.min()), float(lon.max()), float(lat.max())
        for shape in (self.shapes[n] for n in self._tree.query(shapely.box(*box)).tolist()):
            wet |= shapely.contains_xy(shape, lon, lat)
        return float(wet.mean())

    @cached_property
    def _tree(self) -> STRtree:
        import shapely

        return shapely.STRtree(self.shapes)


@dataclass(frozen=True, eq=False)
class Chip:
    """RGB uint8 ``(px, px, 3)``; ``fault``: why it is no use, None where it is."""

    pixels: U8
    fault: Fault | None


def cut_chip(source: Source, window: Grid, water: Water) -> Chip:
    """The pixels of a window, and whether they show land.

    Raises ImageryError where imagery that should be there cannot be read: later it may be.
    """
    nothing = np.empty((0, 0, 3), np.uint8)
    if not source.covers(window):
        return Chip(nothing, "no imagery")
    if water.share(window) >= _MOST_WATER:
        return Chip(nothing, "water")
    read = source.read(window)
    valid = read.coords["valid"].to_numpy()
    pixels = np.ascontiguousarray(read.to_numpy().transpose(1, 2, 0))
    if 1 - valid.mean() > _MOST_MISSING or not _middle(valid).all():
        if read.attrs["errors"]:
            raise ImageryError(read.attrs["errors"][0])
        return Chip(pixels, "no imagery")
    if pixels.mean(axis=2)[valid].std() < _FLAT:
        return Chip(pixels, "blank imagery")
    return Chip(pixels, None)


def _middle(valid: Bools) -> Bools:
    """The pixels around the place itself."""
    height, width = valid.shape
    return valid[height // 2 - 1 : height // 2 + 2, width // 2 - 1 : width // 2 + 2]
