"""Regular north-up lattices: the cells of an area, and the pixels of an imagery window.

Pure arithmetic: no I/O, no imagery, no executor. Row 0 is the northernmost row, column 0
the westernmost column; arrays are ordered ``(y, x)``. Edges and centres are never mixed:
``left``/``top`` are the outer edge of the first cell, whose centre is half a step inside.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..arrays import F64, I64, Bools
from ..errors import AreaError
from .chunk import Chunk, Domain

if TYPE_CHECKING:
    from shapely import Geometry

_MOST_CELLS = 10**12  # more than the land of all countries at 12 m: a slip in step or bounds
_EDGE_TOLERANCE = 1e-6  # of a step: bounds written as decimals still hold whole cells


@dataclass(frozen=True)
class Grid(Domain):
    """A lattice of ``(ny, nx)`` square cells with side ``step`` in the units of ``crs`` (m)."""

    crs: str
    left: float
    top: float
    step: float
    ny: int
    nx: int

    @classmethod
    def from_bounds(cls, crs: str, bounds: tuple[float, float, float, float], step: float) -> Grid:
        """The whole cells inside ``bounds`` (left, bottom, right, top), anchored left and top.

        Raises AreaError where not even one cell fits, or more than 10^12 do.
        """
        left, bottom, right, top = bounds
        if not step > 0:
            raise AreaError(f"step {step:g} m: write a length above 0")
        nx = math.floor((right - left) / step + _EDGE_TOLERANCE)
        ny = math.floor((top - bottom) / step + _EDGE_TOLERANCE)
        if nx < 1 or ny < 1:
            raise AreaError(
                f"bounds {list(bounds)} are smaller than one cell of {step:g} m: "
                "widen the bounds or lower the step"
            )
        if nx * ny > _MOST_CELLS:
            raise AreaError(
                f"bounds {list(bounds)} hold {nx * ny:.2g} cells of {step:g} m, more than any "
                "machine can store: raise the step or narrow the bounds"
            )
        return cls(crs, float(left), float(top), float(step), ny, nx)

    @property
    def shape(self) -> tuple[int, int]:
        """``(y, x)`` cells."""
        return self.ny, self.nx

    @property
    def dims(self) -> tuple[str, str]:
        """``("y", "x")``."""
        return "y", "x"

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Outer edges: left, bottom, right, top, in CRS units."""
        return (
            self.left,
            self.top - self.ny * self.step,
            self.left + self.nx * self.step,
            self.top,
        )

    @property
    def transform(self) -> tuple[float, float, float, float, float, float]:
        """Affine coefficients ``(a, b, c, d, e, f)`` from (col, row) edges to (x, y)."""
        return (self.step, 0.0, self.left, 0.0, -self.step, self.top)

    @property
    def x(self) -> F64:
        """Centres of the columns, west to east, in CRS units."""
        return self.left + (np.arange(self.nx, dtype=np.float64) + 0.5) * self.step

    @property
    def y(self) -> F64:
        """Centres of the rows, north to south, in CRS units."""
        return self.top - (np.arange(self.ny, dtype=np.float64) + 0.5) * self.step

    def center(self, row: int, col: int) -> tuple[float, float]:
        """``(x, y)`` of a cell's centre, in CRS units."""
        return self.left + (col + 0.5) * self.step, self.top - (row + 0.5) * self.step

    def index(self, x: float, y: float) -> tuple[int, int] | None:
        """``(row, col)`` of the cell that holds the point, or None outside the grid."""
        col = math.floor((x - self.left) / self.step)
        row = math.floor((self.top - y) / self.step)
        return (row, col) if 0 <= row < self.ny and 0 <= col < self.nx else None

    def window(self, rows: slice, cols: slice) -> Grid:
        """The sub-lattice of these rows and columns (may reach outside; steps of 1 only)."""
        y0, x0 = rows.start or 0, cols.start or 0
        ny = (self.ny if rows.stop is None else rows.stop) - y0
        nx = (self.nx if cols.stop is None else cols.stop) - x0
        return Grid(
            self.crs, self.left + x0 * self.step, self.top - y0 * self.step, self.step, ny, nx
        )

    def pad(self, cells: int) -> Grid:
        """The same lattice with a margin of ``cells`` on every side."""
        return self.window(slice(-cells, self.ny + cells), slice(-cells, self.nx + cells))

    def xy(self, chunk: Chunk) -> F64:
        """``(cell, 2)``: the centres of a chunk's cells, row by row, in CRS units."""
        window = self.window(*chunk.slices)
        x, y = np.meshgrid(window.x, window.y)
        return np.stack([x.ravel(), y.ravel()], axis=1)

    def centres(self, index: I64) -> F64:
        """``(cell, 2)``: the centres of cells by their place in row-major order, in CRS units."""
        rows, cols = np.divmod(index, self.nx)
        x, y = self.left + (cols + 0.5) * self.step, self.top - (rows + 0.5) * self.step
        return np.stack([x, y], axis=1)

    def most_within(self, radius: float) -> int:
        """No disc holds more centres than a disc wider by half a cell's diagonal has area."""
        return math.ceil(math.pi * (radius / self.step + math.sqrt(0.5)) ** 2)

    def touched(self, polygon: Geometry | None, size: int | None = None) -> Bools:
        """Bool ``(chunk_y, chunk_x)``: which chunks touch ``polygon``; all of them without one.

        Halves its way down to the polygon's edge, so that a country costs as much as its border.
        """
        size = size or self.chunk_size
        touched: Bools = np.full(self.chunk_grid(size), polygon is None)
        if polygon is None:
            return touched
        import shapely

        shapely.prepare(polygon)
        stack = [(0, touched.shape[0], 0, touched.shape[1])]
        while stack:
            top, bottom, left, right = stack.pop()
            box = shapely.box(*self._outline(size, top, bottom, left, right))
            if not shapely.intersects(polygon, box):
                continue
            if (bottom - top, right - left) == (1, 1) or shapely.contains(polygon, box):
                touched[top:bottom, left:right] = True
            else:
                stack.extend(_quarters(top, bottom, left, right))
        return touched

    def _outline(
        self, size: int, top: int, bottom: int, left: int, right: int
    ) -> tuple[float, float, float, float]:
        """The bounds of a rectangle of chunks."""
        rows = slice(top * size, min(bottom * size, self.ny))
        cols = slice(left * size, min(right * size, self.nx))
        return self.window(rows, cols).bounds


def _quarters(top: int, bottom: int, left: int, right: int) -> list[tuple[int, int, int, int]]:
    y, x = (top + bottom + 1) // 2, (left + right + 1) // 2
    parts = [(a, b, c, d) for a, b in ((top, y), (y, bottom)) for c, d in ((left, x), (x, right))]
    return [part for part in parts if part[0] < part[1] and part[2] < part[3]]
