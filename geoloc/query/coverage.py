"""Which cells a query covers, and how many of them could not be searched, by reason."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arrays import F64, I64, U8, Bools
from ..cube import Cube, Status
from ..domain import CHUNK_SIZE, Grid, Index
from ..search import Heatmap, strips

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

_OUT, _IN, _EDGE = range(3)  # of a block: all its cells, or some
_MOST_RECORDS = 1024  # blocks whose own counts are read where nothing else tells


@dataclass(frozen=True, eq=False)
class Coverage:
    """``asked``: cells asked for, None for all; ``lacking``: cells by reason.

    ``known``: False where it is not known which cells belong to the area. ``points``: of a cube
    of points, how many were asked for.
    """

    asked: AskedCells | None = None
    lacking: dict[str, int] = field(default_factory=dict)
    known: bool = True
    points: int | None = None


def coverage(
    cube: Cube,
    heatmap: Heatmap,
    area: Geometry | None,
    within: Geometry | None,
) -> Coverage:
    """Of a heatmap ``(y, x)`` of the cube, NaN where nothing was found out.

    ``area``: the cube's own polygon, where it is available; ``within``: the question's. Both in
    the grid's CRS.
    """
    if cube.spec.polygon is not None and area is None:
        return _by_records(cube) if within is None else Coverage(known=False)
    polygons = [polygon for polygon in (area, within) if polygon is not None]
    asked = AskedCells.of(cube.grid, polygons) if polygons else None
    counts = _unknown_by_block(heatmap, asked, cube)
    return Coverage(asked, _by_reason(counts, cube.chunk_status))


def point_coverage(
    cube: Cube, known: int, area: Geometry | None, within: Geometry | None
) -> tuple[int, dict[str, int]]:
    """How many points of a cube were asked for, and how many of them lack a vector, by reason.

    ``known``: those that have one. ``area``: the cube's own polygon, where it is available;
    ``within``: the question's. Both in the domain's CRS.
    """
    import shapely

    inside = np.ones(cube.domain.size, np.bool_)
    for polygon in (area, within):
        if polygon is not None:
            shapely.prepare(polygon)
            xy = cube.domain.centres(np.arange(cube.domain.size))
            inside &= np.asarray(shapely.contains_xy(polygon, xy))
    status = np.repeat(cube.chunk_status, cube.spec.block_size)[: cube.domain.size]
    asked, unbuilt = int(inside.sum()), int((inside & (status == Status.MISSING)).sum())
    broken = bool((cube.chunk_status == Status.BROKEN).any())
    rest = REASONS[Status.DONE] + (f", or {REASONS[Status.BROKEN]}" if broken else "")
    if cube.spec.polygon is not None and area is None:
        rest = f"outside of the area's polygon, or {rest}"
    counts = {REASONS[Status.MISSING]: unbuilt, rest: asked - known - unbuilt}
    return asked, {reason: count for reason, count in counts.items() if count > 0}


@dataclass(frozen=True, eq=False)
class AskedCells:
    """Cells ``(y, x)`` whose centre lies inside of all polygons, read by rows.

    Kept as a state of each block, and the cells of those alone that an edge goes through.
    """

    grid: Grid
    states: U8
    edges: Mapping[Index, U8]
    """Of blocks that are neither in nor out, a bit for each cell."""

    @classmethod
    def of(cls, grid: Grid, polygons: Sequence[Geometry]) -> AskedCells:
        """The cells inside of all polygons, which are in the grid's CRS."""
        import shapely

        states, edges = np.full(grid.chunk_grid(), _IN, np.uint8), dict[Index, Any]()
        boxes = shapely.box(*_block_bounds(grid))
        for polygon in polygons:
            shapely.prepare(polygon)
            states[~shapely.intersects(polygon, boxes)] = _OUT
            for row, col in np.argwhere((states != _OUT) & ~shapely.contains(polygon, boxes)):
                chunk = grid.chunk(int(row), int(col))
                inside = np.packbits(np.asarray(chunk.inside(polygon)))
                edges[chunk.index] = inside & edges.get(chunk.index, np.uint8(255))
                states[chunk.index] = _EDGE
        return cls(grid, states, {i: bits for i, bits in edges.items() if states[i] == _EDGE})

    def __getitem__(self, rows: slice) -> Bools:
        start, stop, _ = rows.indices(self.grid.ny)
        wanted = np.zeros((max(stop - start, 0), self.grid.nx), np.bool_)
        for row in range(start // CHUNK_SIZE, -(-stop // CHUNK_SIZE)):
            top = row * CHUNK_SIZE
            lines = slice(max(start - top, 0), min(stop - top, CHUNK_SIZE))
            part = wanted[lines.start + top - start : lines.stop + top - start]
            part[:] = np.repeat(self.states[row] == _IN, CHUNK_SIZE)[: self.grid.nx]
            for col in np.flatnonzero(self.states[row] == _EDGE).tolist():
                part[:, self.grid.chunk(row, col).slices[1]] = self._cells(row, col)[lines]
        return wanted

    def _cells(self, row: int, col: int) -> Bools:
        """Cells ``(y, x)`` of a block that an edge goes through."""
        shape = self.grid.chunk(row, col).shape
        bits = np.unpackbits(self.edges[row, col], count=math.prod(shape))
        return bits.reshape(shape).astype(np.bool_)


def _block_bounds(grid: Grid) -> tuple[F64, ...]:
    """Left, bottom, right, top ``(block_y, block_x)`` of all blocks."""
    rows, cols = grid.chunk_grid()
    first, last = grid.chunk(0, 0), grid.chunk(rows - 1, cols - 1)
    y = grid.top - grid.step * np.append(np.arange(rows) * first.size, last.stop[0])
    x = grid.left + grid.step * np.append(np.arange(cols) * first.size, last.stop[1])
    left, top = np.meshgrid(x[:-1], y[:-1])
    right, bottom = np.meshgrid(x[1:], y[1:])
    return left, bottom, right, top


def _unknown_by_block(heatmap: Heatmap, asked: AskedCells | None, cube: Cube) -> I64:
    """Cells asked for without a value, ``(block_y, block_x)``; reads by rows."""
    side, shape = cube.spec.block_size, cube.chunk_status.shape
    counts = np.zeros(shape, np.int64)
    edges = np.arange(shape[1]) * side
    for rows, strip in strips(heatmap):
        lacking = ~np.isfinite(strip)
        if asked is not None:
            lacking &= asked[rows]
        across = np.add.reduceat(lacking, edges, axis=1, dtype=np.int64)
        np.add.at(counts, np.arange(rows.start, rows.stop) // side, across)
    return counts


def _by_reason(counts: I64, done: U8) -> dict[str, int]:
    by_reason = {reason: int(counts[done == status].sum()) for status, reason in REASONS.items()}
    return {reason: count for reason, count in by_reason.items() if count}


def _by_records(cube: Cube) -> Coverage:
    """From what each block says of itself, which is about the cells of the area alone."""
    done = cube.chunk_status
    if (done == Status.MISSING).any() or done.size > _MOST_RECORDS:
        return Coverage(known=False)
    counts = np.zeros(done.shape, np.int64)
    for block in cube.blocks():
        counts[block.index] = int(cube.provenance(block).get("missing", 0))
    return Coverage(lacking=_by_reason(counts, done))
