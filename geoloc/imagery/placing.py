"""Which part of a window an image may reach, determined in the image's own CRS.

The window's points are mapped to the image, never the image's outline to the window: outlines of
the whole world, of files across 180 degrees, around a pole or to the rim of the Earth's disc have
no meaningful box in another CRS. Each window is mapped once for all images of a CRS, as a mesh;
half a cell of margin between its nodes ensures that nothing is missed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Protocol

import numpy as np

from ..area import Bounds
from ..arrays import F64, I64, Bools
from ..domain import Grid
from .crs import same_crs, to_crs, turn_of
from .source import overlap

_CELLS = 32  # of a mesh, along a side
_MARGIN = 0.5  # of the largest cell: how far a side may bend between nodes

Part = tuple[slice, slice]
"""Rows and columns of a window."""


class Placed(Protocol):
    """An image with a box in its CRS."""

    @property
    def crs(self) -> str:
        """The CRS of the box."""

    @property
    def box(self) -> Bounds:
        """Left, bottom, right, top."""


@dataclass(frozen=True, eq=False)
class Mesh:
    """Nodes of a window in another CRS, NaN where they cannot be projected.

    ``rows``, ``cols`` count pixels of the window; ``x``, ``y`` are ``(row, col)``. If x has a
    period, the ``turn``, it continues past it, unless a pole is inside the window.
    """

    rows: I64
    cols: I64
    x: F64
    y: F64
    turn: float | None
    moved: bool

    @cached_property
    def cells(self) -> F64:
        """The box that each cell may reach ``(4, row, col)``: left, bottom, right, top."""
        (left, right), (bottom, top) = _ends(self.x), _ends(self.y)
        x, y = (_room(low, high) for low, high in ((left, right), (bottom, top)))
        return np.stack([left - x, bottom - y, right + x, top + y])

    @cached_property
    def box(self) -> Bounds | None:
        """The box around all cells; None if none of the window can be projected."""
        cells = self.cells[:, np.isfinite(self.cells).all(axis=0)]
        if not cells.size:
            return None
        left, bottom = cells[:2].min(axis=1)
        right, top = cells[2:].max(axis=1)
        return float(left), float(bottom), float(right), float(top)

    def shifts(self, left: float, right: float) -> list[float]:
        """The shifts in x that bring an image from ``left`` to ``right`` under the window."""
        if self.box is None:
            return []
        if self.turn is None:
            return [0.0]
        first = math.floor((self.box[0] - right) / self.turn) + 1
        last = math.ceil((self.box[2] - left) / self.turn) - 1
        return [times * self.turn for times in range(first, last + 1)]

    def part(self, box: Bounds) -> Part | None:
        """Rows and columns of the window whose cells a box may touch."""
        left, bottom, right, top = box
        near = np.zeros(self.cells.shape[1:], np.bool_)
        with np.errstate(invalid="ignore"):
            high = (self.cells[1] < top) & (self.cells[3] > bottom)
            for by in self.shifts(left, right):
                near |= high & (self.cells[0] < right + by) & (self.cells[2] > left + by)
        if not near.any():
            return None
        rows, cols = np.any(near, axis=1), np.any(near, axis=0)
        return _span(self.rows, np.asarray(rows)), _span(self.cols, np.asarray(cols))


class Places:
    """The boxes of many images, uppermost first, by CRS."""

    def __init__(self, images: Sequence[Placed]) -> None:
        by_crs: dict[str, list[int]] = {}
        for index, image in enumerate(images):
            by_crs.setdefault(image.crs, []).append(index)
        self._groups = [
            (crs, np.array(indices), np.array([images[i].box for i in indices], np.float64))
            for crs, indices in by_crs.items()
        ]

    def touching(self, window: Grid) -> list[tuple[int, Part]]:
        """Images that may touch the window, in order, and the rows and columns they may touch.

        Boxes are compared all at once: among 100,000 images of a CRS in about a millisecond.
        """
        hits = (hit for group in self._groups for hit in _in_group(*group, window))
        return sorted(hits, key=lambda hit: hit[0])


def part_of(image: Placed, window: Grid) -> Part | None:
    """Rows and columns of the window that an image may reach; None if it certainly does not."""
    if same_crs(image.crs, window.crs):
        return overlap(image.box, window)
    return mesh_of(window, image.crs).part(image.box)


@lru_cache(maxsize=256)
def mesh_of(window: Grid, crs: str) -> Mesh:
    """The window's nodes in another CRS."""
    rows, cols = (_nodes(count) for count in window.shape)
    x, y = np.meshgrid(window.left + cols * window.step, window.top - rows * window.step)
    projected = np.stack(to_crs(window.crs, crs)(x, y)).astype(np.float64)
    projected[:, ~np.isfinite(projected).all(axis=0)] = np.nan
    turn = turn_of(crs)
    x, moved = (projected[0], False) if turn is None else _unrolled(projected[0], turn)
    return Mesh(rows, cols, x, projected[1], turn, moved)


def _unrolled(x: F64, turn: float) -> tuple[F64, bool]:
    """Coordinates without jumps by a turn, and whether any was moved for that.

    Around a pole they must jump somewhere and stay unchanged.
    """
    known = x[np.isfinite(x)]
    if not known.size or np.ptp(known) <= turn / 2:
        return x, False
    middle = known[known.size // 2]
    turned = middle + (x - middle + turn / 2) % turn - turn / 2
    jumps = [np.nanmax(np.abs(np.diff(turned, axis=axis)), initial=0) for axis in (0, 1)]
    return (x, False) if max(jumps) > turn / 2 else (turned, True)


def _in_group(crs: str, indices: I64, boxes: F64, window: Grid) -> Iterator[tuple[int, Part]]:
    same = same_crs(crs, window.crs)
    mesh = None if same else mesh_of(window, crs)
    reach = window.bounds if mesh is None else mesh.box
    if reach is None:
        return
    for at in np.flatnonzero(_near(boxes, reach, mesh.turn if mesh else None)).tolist():
        left, bottom, right, top = boxes[at].tolist()
        box = left, bottom, right, top
        if (part := overlap(box, window) if mesh is None else mesh.part(box)) is not None:
            yield int(indices[at]), part


def _near(boxes: F64, reach: Bounds, turn: float | None) -> Bools:
    """Which of the boxes ``(n, 4)`` touch another, possibly some turns away."""
    left, bottom, right, top = reach
    near = (boxes[:, 1] < top) & (boxes[:, 3] > bottom)
    if turn is None:
        return near & (boxes[:, 0] < right) & (boxes[:, 2] > left)
    first = np.floor((left - boxes[:, 2]) / turn) + 1
    return near & (boxes[:, 0] + first * turn < right)


def _nodes(count: int) -> I64:
    return np.unique(np.linspace(0, count, min(count, _CELLS) + 1).round().astype(np.int64))


def _ends(values: F64) -> tuple[F64, F64]:
    """Least and greatest finite value at the corners of each cell."""
    corners = values[:-1, :-1], values[1:, :-1], values[1:, 1:], values[:-1, 1:]
    return np.fmin.reduce(corners), np.fmax.reduce(corners)


def _room(low: F64, high: F64) -> float:
    extents = (high - low)[np.isfinite(high - low)]

    return _MARGIN * float(extents.max()) if extents.size else 0.0


def _span(nodes: I64, hit: Bools) -> slice:
    """From the first to the last cell that is hit."""
    cells = np.flatnonzero(hit)
    return slice(int(nodes[cells[0]]), int(nodes[cells[-1] + 1]))
