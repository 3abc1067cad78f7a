"""The roads and railways of a whole country, block by block."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from ...progress import Progress
from ..districts import RAILWAY, STREETS
from ..layout import HALF_WIDTH, NONE, RURAL, TRACK
from ..roads import PLOT_KIND, Kind, Road, inner_roads, line_roads, open_ground, runs
from . import cells as C  # noqa: N812
from .layout import CountryLayout
from .plan import inside_ring

F64 = NDArray[np.float64]
Mask = NDArray[np.bool_]

_BLOCK = 60
"""Plots along the side of a block."""
_LINE_STEP = 40.0
_EDGE_STEP = 50.0  # the bends of edges stray less than a metre from a chord
_MAPPED = 0.10
"""Chance below which a track between fields is on the map: most are not, as in real extracts."""


def network(layout: CountryLayout, progress: Progress | None = None) -> Iterator[Road]:
    """Every road inside the border that maps show: lines, streets, and some of the tracks."""
    plan = layout.plan

    def inside(points: F64) -> Mask:
        return inside_ring(plan.ring, points[:, 0], points[:, 1])

    low, high = plan.ring.min(axis=0), plan.ring.max(axis=0)
    yield from line_roads(layout, (*low, *high), inside, _LINE_STEP)
    i0, j0, ni, nj = plan.keys()
    blocks = [(i, j) for j in range(j0, j0 + nj, _BLOCK) for i in range(i0, i0 + ni, _BLOCK)]
    for done, (i, j) in enumerate(blocks):
        yield from _block_roads(layout, i, j, inside)
        if progress is not None:
            progress(done + 1, len(blocks))


def _block_roads(
    layout: CountryLayout, i0: int, j0: int, inside: Callable[[F64], Mask]
) -> Iterator[Road]:
    own, edges, counts = layout.block(i0, j0, _BLOCK, _BLOCK)
    here = inside(own[..., C.SITE_X : C.SITE_Y + 1].reshape(-1, 2)).reshape(own.shape[:2])
    if not here.any():
        return
    yield from _edge_roads(layout, own, edges, counts, here, inside)
    uses = own[..., C.USE].astype(int)
    streets = here & ((STREETS[uses, 0] > 0) | (uses == RAILWAY))
    for j, i in np.argwhere(streets).tolist():
        yield from inner_roads(layout, layout.plot(i0 + i, j0 + j), inside)


def _edge_roads(
    layout: CountryLayout, own: F64, edges: F64, counts: NDArray[np.int64], here: Mask,
    inside: Callable[[F64], Mask],
) -> Iterator[Road]:  # fmt: skip
    """Roads between the plots of a block, each once: an edge is seen from both of its sides."""
    exists = np.arange(edges.shape[2]) < counts[..., None]
    rural = np.isin(np.arange(len(STREETS)), list(RURAL))
    use = np.broadcast_to(own[..., C.USE, None].astype(int), exists.shape)
    fields = rural[use] & rural[edges[..., C.N_USE].astype(int)]
    kind = edges[..., C.N_KIND].astype(int)
    wanted = exists & here[..., None] & (kind != NONE)
    wanted &= ~((kind == TRACK) & fields) | (edges[..., C.N_CHANCE] < _MAPPED)
    wanted &= _first_side(own, edges)
    chosen = edges[wanted]
    long = np.hypot(chosen[:, C.BX] - chosen[:, C.AX], chosen[:, C.BY] - chosen[:, C.AY])
    count = np.maximum(2, np.ceil(long / _EDGE_STEP).astype(int) + 1)
    for n in np.unique(count):
        rows = chosen[count == n]
        t = np.linspace(0.0, 1.0, n)
        wx = rows[:, C.AX, None] + (rows[:, C.BX] - rows[:, C.AX])[:, None] * t
        wy = rows[:, C.AY, None] + (rows[:, C.BY] - rows[:, C.AY])[:, None] * t
        points = np.stack(layout.unwarp(wx, wy), axis=-1)
        flat = points.reshape(-1, 2)
        keep = (open_ground(layout, flat) & inside(flat)).reshape(len(rows), n)
        for line, kept, code in zip(points, keep, rows[:, C.N_KIND].astype(int), strict=True):
            name: Kind = PLOT_KIND.get(int(code), "residential")
            width = 2 * HALF_WIDTH[code]
            if kept.all():
                yield Road(line, name, width)
            else:
                yield from (Road(part, name, width) for part in runs(line, kept))


def _first_side(own: F64, edges: F64) -> Mask:
    """Of the two sides of each edge, the one whose site lies further west."""
    x, y = own[..., C.SITE_X, None], own[..., C.SITE_Y, None]
    other_x, other_y = edges[..., C.N_X], edges[..., C.N_Y]
    return np.asarray((x < other_x) | ((x == other_x) & (y < other_y)))
