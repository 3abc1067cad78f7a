"""Coordinates made coarse, everywhere alike.

All that a copy says about a place follows from the square that contains it: two different
roundings of one point would together reveal more than either.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from pyproj import Transformer

from ..arrays import F32
from ..domain import Grid
from ..errors import UsageError
from ..report.heat import reduced
from .options import Rounding


@dataclass(frozen=True)
class Squares:
    """The squares of an area: the cells of ``grid``, ``factor`` original cells per side."""

    grid: Grid
    factor: int
    rounding: Rounding

    @classmethod
    def of(cls, heatmap: F32, grid: Grid, rounding: Rounding) -> tuple[Squares, F32]:
        """The squares of a grid, and its distances ``(y, x)``: the smallest of each square."""
        if rounding.metres <= grid.step:
            raise UsageError(
                f"--round {rounding.text} is no coarser than the cells of {grid.step:g} m: round "
                "to more than that"
            )
        widest = grid.step * max(grid.shape)
        if rounding.metres > widest:
            raise UsageError(
                f"--round {rounding.text} is more than the width of the answer's area, {widest:g} "
                "m, whose bounds are in the copy: round to less, or share it without --round"
            )
        factor = math.ceil(rounding.metres / grid.step)
        small, coarse = reduced(heatmap, grid, factor)
        return cls(coarse, factor, rounding), small

    @classmethod
    def within(cls, regions: Grid, rounding: Rounding) -> Squares:
        """The squares that regions are divided into, so that no square tells more than another.

        Of regions and squares that overlap each other, both together would tell more than either.
        """
        if rounding.metres > regions.step:
            raise UsageError(
                f"--round {rounding.text} is coarser than the regions of {regions.step:g} m: ask "
                "again for larger --regions, or round to less"
            )
        parts = math.floor(regions.step / rounding.metres)
        ny, nx = (count * parts for count in regions.shape)
        fine = Grid(regions.crs, regions.left, regions.top, regions.step / parts, ny, nx)
        return cls(fine, 1, rounding)

    def middle(self, row: int, col: int) -> tuple[float, float]:
        """lon, lat (degrees) of the middle of a square, with appropriate decimals."""
        to_degrees = Transformer.from_crs(self.grid.crs, 4326, always_xy=True)
        lon, lat = to_degrees.transform(*self.grid.center(row, col))
        return round(lon, self.rounding.digits), round(lat, self.rounding.digits)

    def place(self, lon: float, lat: float) -> tuple[float, float]:
        """lon, lat of the square that contains a place; outside the area, of one in degrees."""
        to_grid = Transformer.from_crs(4326, self.grid.crs, always_xy=True)
        x, y = to_grid.transform(lon, lat)
        cell = self.grid.index(x, y) if math.isfinite(x) and math.isfinite(y) else None
        if cell is not None:
            return self.middle(*cell)
        side, digits = self.rounding.degrees, self.rounding.digits
        return round(round(lon / side) * side, digits), round(round(lat / side) * side, digits)
