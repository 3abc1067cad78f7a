"""Roads and railways of a world as polylines: for the road file and the places of photos."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .districts import LAKE, RAILWAY, STREETS, TRACKS, VILLAGE, YARD, YARD_HALF
from .layout import HALF_WIDTH, NONE, PRIMARY, SPACING, TRACK, Layout, Plot
from .lines import (
    AVENUE,
    MOTORWAY,
    RAIL,
    RIVER,
    RIVER_HALF,
    distances,
    stretches_near,
    trace,
)

Kind = Literal["motorway", "primary", "residential", "track", "rail"]
Bounds = tuple[float, float, float, float]
F64 = NDArray[np.float64]

_STEP = 10.0  # metres between two points of a polyline
PLOT_KIND: dict[int, Kind] = {TRACK: "track", PRIMARY: "primary"}
_LINES: tuple[tuple[int, Kind, float], ...] = (
    (MOTORWAY, "motorway", 26.0),
    (RAIL, "rail", 9.0),
    (AVENUE, "primary", 21.0),
)


@dataclass(frozen=True)
class Road:
    """A road's middle line: ``points (n, 2)`` x, y in CRS units; width of the carriageway, m."""

    points: F64
    kind: Kind
    width: float
    bridge: bool = False


def find_roads(layout: Layout, bounds: Bounds) -> list[Road]:
    """Every road inside ``bounds``, cut where it ends at water, the motorway or the bounds."""

    def inside(points: F64) -> NDArray[np.bool_]:
        return _inside(points, bounds)

    roads = [*line_roads(layout, bounds, inside)]
    for plot in layout.plots(bounds, 2 * SPACING):
        roads += _edge_roads(layout, plot, bounds)
        roads += inner_roads(layout, plot, inside)
    return roads


def runs(points: F64, keep: NDArray[np.bool_]) -> Iterator[F64]:
    """Stretches of at least two consecutive points that are kept."""
    bounds = np.flatnonzero(np.diff(np.concatenate(([False], keep, [False])).astype(np.int8)))
    for start, stop in bounds.reshape(-1, 2):
        if stop - start >= 2:
            yield points[start:stop]


def _inside(points: F64, bounds: Bounds) -> NDArray[np.bool_]:
    left, bottom, right, top = bounds
    x, y = points.T
    return np.asarray((x >= left) & (x <= right) & (y >= bottom) & (y <= top))


def line_roads(
    layout: Layout, bounds: Bounds, inside: Callable[[F64], NDArray[np.bool_]], step: float = _STEP
) -> Iterator[Road]:
    """Motorways, railways and avenues, with a point every ``step`` m; in pieces at their bridges.

    ``inside``: which points ``(n, 2)`` count, of those within ``bounds``.
    """
    for number, kind, width in _LINES:
        line = layout.lines[number]
        repetitions, low, high = stretches_near(line, bounds, 800.0)
        s = np.arange(math.floor(low / step) - 10, high / step + 10) * step
        for index in repetitions:
            points = trace(line, s, float(index))
            here = inside(points)
            near = distances(layout.lines, points[:, 0].copy(), points[:, 1].copy())
            wet = (near[:, RIVER] < RIVER_HALF + 12.0) & here
            if number == MOTORWAY:
                wet = (near[:, [RAIL, AVENUE]].min(axis=1) < 19.0) & here
            yield from (Road(part, kind, width) for part in runs(points, ~wet & here))
            joined = wet | np.roll(wet, 1) | np.roll(wet, -1)
            joined &= here
            yield from (Road(part, kind, width, True) for part in runs(points, joined))


def open_ground(layout: Layout, points: F64) -> NDArray[np.bool_]:
    """Where a small road may run: not in the river, nor on the motorway."""
    near = distances(layout.lines, points[:, 0].copy(), points[:, 1].copy())
    return np.asarray((near[:, RIVER] > RIVER_HALF + 17.0) & (near[:, MOTORWAY] > 16.0))


def _edge_roads(layout: Layout, plot: Plot, bounds: Bounds) -> Iterator[Road]:
    for other in plot.neighbors:
        if other.kind == NONE or other.key < plot.key:
            continue
        (ax, ay), (bx, by) = other.vertices
        count = max(2, math.ceil(math.hypot(bx - ax, by - ay) / _STEP) + 1)
        x, y = layout.unwarp(np.linspace(ax, bx, count), np.linspace(ay, by, count))
        points = np.column_stack([x, y])
        keep = _inside(points, bounds) & open_ground(layout, points)
        kind: Kind = PLOT_KIND.get(other.kind, "residential")
        width = 2 * HALF_WIDTH[other.kind]
        yield from (Road(part, kind, width) for part in runs(points, keep))


def holds(layout: Layout, plot: Plot, x: F64, y: F64, margin: float = 0.0) -> NDArray[np.bool_]:
    """Which points (world) lie in a plot, at least ``margin`` metres from its edges."""
    px, py = layout.warp(x, y)
    inside = np.ones(x.shape, bool)
    for other in plot.neighbors:
        dx, dy = other.x - plot.x, other.y - plot.y
        norm = math.hypot(dx, dy)
        offset = (dx * (plot.x + other.x) + dy * (plot.y + other.y)) / 2
        inside &= (offset - dx * px - dy * py) / norm >= margin
    return inside


def street_lines(plot: Plot, center: tuple[float, float]) -> Iterator[tuple[float, F64, F64]]:
    """Streets of a plot's frame near its middle: half width, ``u`` and ``v`` of their points."""
    half, row, cross = STREETS[plot.landuse]
    if plot.landuse == RAILWAY:
        half, row, cross = 1.5, 4 * TRACKS, 0.0
    if half == 0.0:
        return
    cu, cv = center
    reach = np.arange(-300.0, 300.1, _STEP)
    for k in range(math.ceil((cv - 300) / row), math.floor((cv + 300) / row) + 1):
        if plot.landuse == RAILWAY and abs(math.remainder(k * row, YARD)) > YARD_HALF:
            continue
        yield half, cu + reach, np.full(reach.shape, k * row)
    if cross > 0:
        for k in range(math.ceil((cu - 300) / cross), math.floor((cu + 300) / cross) + 1):
            yield half, np.full(reach.shape, k * cross), cv + reach


def local(plot: Plot, x: F64, y: F64) -> tuple[F64, F64]:
    """World coordinates to the frame of the plot's cluster."""
    cos, sin = math.cos(plot.angle), math.sin(plot.angle)
    dx, dy = x - plot.origin[0], y - plot.origin[1]
    return dx * cos + dy * sin, dy * cos - dx * sin


def world(plot: Plot, u: F64, v: F64) -> tuple[F64, F64]:
    """The frame of the plot's cluster to world coordinates."""
    cos, sin = math.cos(plot.angle), math.sin(plot.angle)
    return plot.origin[0] + u * cos - v * sin, plot.origin[1] + u * sin + v * cos


def middle(layout: Layout, plot: Plot) -> tuple[float, float]:
    """World coordinates of the plot's site."""
    x, y = layout.unwarp(np.array([plot.x]), np.array([plot.y]))
    return float(x[0]), float(y[0])


def inner_roads(
    layout: Layout, plot: Plot, inside: Callable[[F64], NDArray[np.bool_]]
) -> Iterator[Road]:
    """The streets of a plot's own frame, or a yard's tracks; ``inside`` as in `line_roads`."""
    if plot.landuse == LAKE:
        return
    x, y = middle(layout, plot)
    cu, cv = local(plot, np.array(x), np.array(y))
    kind: Kind = "track" if plot.landuse == VILLAGE else "residential"
    if plot.landuse == RAILWAY:
        kind = "rail"
    lines = list(street_lines(plot, (float(cu), float(cv))))
    if not lines:
        return
    points = np.column_stack(
        world(plot, *(np.concatenate([li[k] for li in lines]) for k in (1, 2)))
    )
    keep = holds(layout, plot, points[:, 0], points[:, 1], 2.0)
    keep &= inside(points) & open_ground(layout, points)
    start = 0
    for half, u, _ in lines:
        stop = start + len(u)
        parts = runs(points[start:stop], keep[start:stop])
        yield from (Road(part, kind, 2 * half) for part in parts)
        start = stop
