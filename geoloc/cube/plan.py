"""Which blocks of a grid hold something to compute. Nothing is read, nothing computed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..domain.grid import BLOCK_SIZE, Block, Grid
from .spec import Status

if TYPE_CHECKING:
    from shapely import Geometry


def plan_blocks(grid: Grid, polygon: Geometry | None, size: int = BLOCK_SIZE) -> NDArray[np.uint8]:
    """The ledger of a new cube, ``(block_y, block_x)``: OUTSIDE where the polygon is not.

    Halves its way down to the polygon's edge, so that a country costs as much as its border.
    """
    if polygon is None:
        return np.full(grid.block_shape(size), Status.MISSING, np.uint8)
    import shapely

    shapely.prepare(polygon)
    ledger = np.full(grid.block_shape(size), Status.OUTSIDE, np.uint8)
    stack = [(0, ledger.shape[0], 0, ledger.shape[1])]
    while stack:
        top, bottom, left, right = stack.pop()
        box = shapely.box(*_bounds(grid, size, top, bottom, left, right))
        if not shapely.intersects(polygon, box):
            continue
        if (bottom - top, right - left) == (1, 1) or shapely.contains(polygon, box):
            ledger[top:bottom, left:right] = Status.MISSING
            continue
        y, x = (top + bottom + 1) // 2, (left + right + 1) // 2
        quarters = [
            (a, b, c, d) for a, b in ((top, y), (y, bottom)) for c, d in ((left, x), (x, right))
        ]
        stack.extend(q for q in quarters if q[0] < q[1] and q[2] < q[3])
    return ledger


def cells_inside(grid: Grid, block: Block, polygon: Geometry | None) -> NDArray[np.bool_] | None:
    """Bool ``(y, x)``: cells of a block whose centre the polygon holds; None without a polygon."""
    if polygon is None:
        return None
    import shapely

    window = grid.window(*block.slices)
    x, y = np.meshgrid(window.x, window.y)
    inside: NDArray[np.bool_] = shapely.contains_xy(polygon, x, y)
    return inside


def _bounds(
    grid: Grid, size: int, top: int, bottom: int, left: int, right: int
) -> tuple[float, float, float, float]:
    rows = slice(top * size, min(bottom * size, grid.ny))
    cols = slice(left * size, min(right * size, grid.nx))
    return grid.window(rows, cols).bounds
