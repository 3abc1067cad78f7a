"""Which ground sample distance and which pixels a block of cells needs. Pure arithmetic.

Encoders compute vectors at *nodes*. If a GSD in the model's range places nodes on the cells, nodes
are the cells. Otherwise they are on a lattice anchored at the CRS origin, so that they do not
depend on how an area is divided into blocks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ..arrays import F32, F64, I64, Bools
from ..domain import Grid
from ..errors import ModelError

MAX_SPACING_IN_STEPS = 2.0
"""Interpolation must not create more than every second cell along an axis."""

MIN_VALID = 0.75
"""Share of a window that must be imagery; below, and with no imagery at its centre: missing."""

_TIE = 1e-6  # px: a tie at half a pixel rounds the same way in every block


@dataclass(frozen=True)
class Sampling:
    """Placement of nodes on pixels: ``every`` px between nodes at ``gsd`` m per px.

    ``every`` is None if no GSD in the range divides a step into a whole number of units.
    """

    gsd: float
    every: int | None


@dataclass(frozen=True)
class Reading:
    """Which pixels cells need: windows of ``side_px`` around nodes ``every`` px apart.

    ``placing`` of nodes: on the ``cells``, at the ``nearest`` pixel to each, or ``between`` them,
    on a lattice of their own.
    """

    gsd: float
    every: int
    side_px: int
    placing: Literal["cells", "nearest", "between"]

    @classmethod
    def of_encoding(cls, encoding: Mapping[str, Any], step: float | None) -> Reading | None:
        """From an encoder's own description (``describe``); None for an unknown one.

        ``step``: m between cells; None for points, each of which is a node of its own.
        """
        try:
            gsd = float(encoding["gsd"])
            if encoding["method"] == "patch":
                exact = encoding["alignment"] == "exact"
                side = int(encoding["patch_px"])
                every = 1 if step is None else round(step / gsd)
                return cls(gsd, every, side, "cells" if exact else "nearest")
            if encoding["method"] == "dense":
                side = int(encoding["pool_px"]) + 2 * int(encoding["halo_px"])
                placing: Any = "between" if encoding["interpolation"] else "cells"
                return cls(gsd, round(float(encoding["lattice_m"]) / gsd), side, placing)
        except (KeyError, TypeError, ValueError):
            pass  # another kind of encoder
        return None

    def nodes(self, cells: Grid) -> Grid:
        """The nodes from which the cells' vectors are computed."""
        return nodes_around(cells, self.every * self.gsd) if self.placing == "between" else cells

    def window(self, cells: Grid) -> Grid:
        """The pixels that these cells need."""
        if self.placing == "nearest":
            return pixels_nearest(cells, self.gsd, self.side_px)
        return pixels_of(self.nodes(cells), self.gsd, self.every, self.side_px)


def choose_sampling(
    step: float, unit_px: int, gsd_range: tuple[float, float], preferred: float
) -> Sampling:
    """The GSD nearest to ``preferred`` for which a step is a whole number of ``unit_px``.

    ``unit_px`` is 1 for patches and the stride for dense encoding; ``step`` in m.
    """
    low, high = gsd_range
    wanted = step / (unit_px * preferred)
    first = max(1, math.ceil(step / (unit_px * high) - 1e-9))
    last = math.floor(step / (unit_px * low) + 1e-9)
    near = {min(max(k, first), last) for k in (math.floor(wanted), math.ceil(wanted))}
    if first > last:
        return Sampling(preferred, None)
    k = min(near, key=lambda k: abs(math.log(k / wanted)))
    return Sampling(step / (unit_px * k), k * unit_px)


def check_spacing(step: float, spacing: float, finest: float = math.inf) -> None:
    """Raise ModelError if nodes ``spacing`` m apart are too coarse for cells of ``step`` m.

    ``finest``: m between nodes at the smallest GSD of the model; cells may be as close as that.
    """
    if spacing > MAX_SPACING_IN_STEPS * step:
        least = min(spacing / MAX_SPACING_IN_STEPS, finest)
        raise ModelError(
            f"step {step:g} m is finer than method dense supports with this model (one vector "
            f"every {min(spacing, finest):g} m): use a step of {least:.4g} m or more, or method "
            "patch"
        )


def nodes_around(cells: Grid, spacing: float) -> Grid:
    """The lattice of nodes at multiples of ``spacing`` that encloses all cell centres."""
    left, right = math.floor(cells.x[0] / spacing), math.ceil(cells.x[-1] / spacing)
    bottom, top = math.floor(cells.y[-1] / spacing), math.ceil(cells.y[0] / spacing)
    return Grid(
        cells.crs,
        (left - 0.5) * spacing,
        (top + 0.5) * spacing,
        spacing,
        max(top - bottom, 1) + 1,
        max(right - left, 1) + 1,
    )


def pixels_of(nodes: Grid, gsd: float, every: int, side_px: int) -> Grid:
    """Pixels that cover a window of ``side_px`` centred on every node, ``every`` px apart."""
    reach = side_px / 2 * gsd
    return Grid(
        nodes.crs,
        float(nodes.x[0]) - reach,
        float(nodes.y[0]) + reach,
        gsd,
        (nodes.ny - 1) * every + side_px,
        (nodes.nx - 1) * every + side_px,
    )


def pixels_nearest(cells: Grid, gsd: float, side_px: int) -> Grid:
    """Pixels of the lattice at multiples of ``gsd`` that cover the nearest window of every cell."""
    rows, cols = _nearest_edges(cells, gsd, side_px)
    return Grid(
        cells.crs,
        int(cols[0]) * gsd,
        int(rows[0]) * gsd,
        gsd,
        int(rows[0] - rows[-1]) + side_px,
        int(cols[-1] - cols[0]) + side_px,
    )


def starts_nearest(cells: Grid, gsd: float, side_px: int) -> tuple[I64, I64]:
    """First pixel row and column, in ``pixels_nearest``, of the window of each cell row and column.

    The window's centre is at most half a pixel from the cell's.
    """
    rows, cols = _nearest_edges(cells, gsd, side_px)
    return rows[0] - rows, cols - cols[0]


def _nearest_edges(cells: Grid, gsd: float, side_px: int) -> tuple[I64, I64]:
    tops = np.floor(cells.y / gsd + side_px / 2 + 0.5 + _TIE).astype(np.int64)
    lefts = np.floor(cells.x / gsd - side_px / 2 + 0.5 + _TIE).astype(np.int64)
    return tops, lefts


def interpolate(values: F32, nodes: Grid, cells: Grid) -> F32:
    """Bilinear: node vectors ``(y, x, feature)`` -> cell vectors.

    A cell is NaN if any node that contributes to it is.
    """
    rows = (nodes.y[0] - cells.y) / nodes.step
    cols = (cells.x - nodes.x[0]) / nodes.step
    return _lerp(_lerp(values, rows, 0), cols, 1)


def _lerp(values: F32, at: F64, axis: int) -> F32:
    at = np.where(np.abs(at - np.round(at)) < _TIE, np.round(at), at)
    low = np.clip(np.floor(at).astype(np.int64), 0, values.shape[axis] - 1)
    high = np.minimum(low + 1, values.shape[axis] - 1)
    shape = [1] * values.ndim
    shape[axis] = -1
    share = (at - low).astype(np.float32).reshape(shape)
    first, second = np.take(values, low, axis), np.take(values, high, axis)
    # a node of weight zero must not spread its NaN
    mixed = first * (1 - share) + np.where(share == 0, np.float32(0), second * share)
    return mixed.astype(np.float32, copy=False)


def valid_share(valid: Bools, rows: I64, cols: I64, side_px: int) -> F64:
    """Share of valid pixels ``(y, x)`` in windows of ``side_px`` starting at rows x cols."""
    total = np.zeros((valid.shape[0] + 1, valid.shape[1] + 1), dtype=np.int64)
    total[1:, 1:] = valid.cumsum(0).cumsum(1)
    bottom, right = rows + side_px, cols + side_px
    count = (
        total[np.ix_(bottom, right)]
        - total[np.ix_(rows, right)]
        - total[np.ix_(bottom, cols)]
        + total[np.ix_(rows, cols)]
    )
    return count / side_px**2
