"""Coordinates made coarse, everywhere alike.

All that a copy says about a place follows from the square that contains it: two different
roundings of one point would together reveal more than either.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pyproj import Transformer

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
    def of(
        cls, heatmap: NDArray[np.float32], grid: Grid, rounding: Rounding
    ) -> tuple[Squares, NDArray[np.float32]]:
        """The squares of a grid, and its distances ``(y, x)``: the smallest of each square."""
        if rounding.metres <= grid.step:
            raise UsageError(
                f"--round {rounding.text} is no coarser than the cells of {grid.step:g} m: round "
                "to more than that"
            )
        factor = math.ceil(rounding.metres / grid.step)
        factor = min(factor, max(grid.shape))
        small, coarse = reduced(heatmap, grid, factor)
        return cls(coarse, factor, rounding), small

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
