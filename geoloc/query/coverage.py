"""Which cells were asked for, and how many of them could not be searched, by the reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..cube import Cube, Status
from ..domain import Grid

if TYPE_CHECKING:
    from shapely import Geometry

REASONS = {
    Status.MISSING: "not built yet",
    Status.BROKEN: "imagery that could not be read",
    Status.DONE: "no imagery, or too little of it around the cell",
}
"""Why a cell of a block of this state has no vector."""

UNKNOWN = (
    "How many cells of the area were not searched is not known, as this cube does not remember its "
    "polygon: name the area file."
)

_MOST_RECORDS = 1024  # blocks whose own counts are read where nothing else tells


@dataclass(frozen=True, eq=False)
class Coverage:
    """``asked``: bool ``(y, x)``, cells asked for, None for all; ``lacking``: cells by reason.

    ``known``: False where nobody can tell which cells belong to the area.
    """

    asked: NDArray[np.bool_] | None = None
    lacking: dict[str, int] = field(default_factory=dict)
    known: bool = True


def coverage(
    cube: Cube,
    heatmap: NDArray[np.float32],
    area: Geometry | None,
    within: Geometry | None,
) -> Coverage:
    """Of a heatmap ``(y, x)`` of the cube, NaN where nothing was found out.

    ``area``: the cube's own polygon, as far as it is at hand; ``within``: the question's. Both in
    the grid's CRS.
    """
    if cube.spec.polygon is not None and area is None:
        return _by_records(cube) if within is None else Coverage(known=False)
    asked = asked_cells(cube.grid, [polygon for polygon in (area, within) if polygon is not None])
    counts = _unknown_by_block(heatmap, asked, cube)
    return Coverage(asked, _by_reason(counts, cube.done))


def asked_cells(grid: Grid, polygons: Sequence[Geometry]) -> NDArray[np.bool_] | None:
    """Cells ``(y, x)`` whose centre lies inside of all polygons; None without any."""
    if not polygons:
        return None
    import shapely

    asked = np.ones(grid.shape, np.bool_)
    boxes = shapely.box(*_block_bounds(grid))
    for polygon in polygons:
        shapely.prepare(polygon)
        whole, touched = shapely.contains(polygon, boxes), shapely.intersects(polygon, boxes)
        for row, col in np.argwhere(~whole).tolist():
            block = grid.chunk(row, col)
            inside = block.inside(polygon) if touched[row, col] else None
            asked[block.slices] &= False if inside is None else inside
    return asked


def _block_bounds(grid: Grid) -> tuple[NDArray[np.float64], ...]:
    """Left, bottom, right, top ``(block_y, block_x)`` of all blocks."""
    rows, cols = grid.chunk_grid()
    first, last = grid.chunk(0, 0), grid.chunk(rows - 1, cols - 1)
    y = grid.top - grid.step * np.append(np.arange(rows) * first.size, last.stop[0])
    x = grid.left + grid.step * np.append(np.arange(cols) * first.size, last.stop[1])
    left, top = np.meshgrid(x[:-1], y[:-1])
    right, bottom = np.meshgrid(x[1:], y[1:])
    return left, bottom, right, top


def _unknown_by_block(
    heatmap: NDArray[np.float32], asked: NDArray[np.bool_] | None, cube: Cube
) -> NDArray[np.int64]:
    """Cells asked for without a value, ``(block_y, block_x)``; reads by rows of blocks."""
    side, shape = cube.spec.block_size, cube.done.shape
    counts = np.zeros(shape, np.int64)
    edges = np.arange(shape[1]) * side
    for row in range(shape[0]):
        rows = slice(row * side, (row + 1) * side)
        lacking = ~np.isfinite(heatmap[rows])
        if asked is not None:
            lacking &= asked[rows]
        counts[row] = np.add.reduceat(lacking.sum(axis=0, dtype=np.int64), edges)
    return counts


def _by_reason(counts: NDArray[np.int64], done: NDArray[np.uint8]) -> dict[str, int]:
    found = {reason: int(counts[done == status].sum()) for status, reason in REASONS.items()}
    return {reason: count for reason, count in found.items() if count}


def _by_records(cube: Cube) -> Coverage:
    """From what each block says of itself, which is about the cells of the area alone."""
    done = cube.done
    if (done == Status.MISSING).any() or done.size > _MOST_RECORDS:
        return Coverage(known=False)
    counts = np.zeros(done.shape, np.int64)
    for block in cube.blocks():
        counts[block.index] = int(cube.provenance(block).get("missing", 0))
    return Coverage(lacking=_by_reason(counts, done))
