"""The Voronoi cell of every plot of a country by itself, and what lies across its edges.

`Layout` plans whole sections, which a walk through a small world shares; in a country hardly two
windows lie in one section.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..compiling import compiled
from ..layout import road_kind
from ..noise import hash2
from .zones import plan_plot, site_of

F64 = NDArray[np.float64]

USE, STRETCH, OX, OY, ANGLE, SITE_X, SITE_Y = range(7)
N_I, N_J, N_X, N_Y, N_USE, N_KIND, N_CHANCE, AX, AY, BX, BY = range(11)
MOST_EDGES = 16
_RING = 3
"""Sites in each direction that may bound a cell: they lie at most 0.27 of the spacing aside."""
_FAR = 900.0


@compiled
def plan_block(
    i0: int, j0: int, ni: int, nj: int, seed: int, center: F64, lines: F64, towns: F64, lakes: F64,
    villages: F64, corner: F64,
) -> F64:  # fmt: skip
    """The plan of a rectangle of plots ``(j, i, 7)``."""
    out = np.zeros((nj, ni, 7))
    for j in range(nj):
        for i in range(ni):
            x, y = site_of(i0 + i, j0 + j, seed, center)
            use, stretch, ox, oy, angle = plan_plot(
                i0 + i, j0 + j, x, y, seed, center, lines, towns, lakes, villages, corner
            )
            out[j, i, USE], out[j, i, STRETCH], out[j, i, ANGLE] = use, stretch, angle
            out[j, i, OX], out[j, i, OY] = ox, oy
            out[j, i, SITE_X], out[j, i, SITE_Y] = x, y
    return out


@compiled
def _clip(
    xs: F64, ys: F64, owner: NDArray[np.int64], n: int, nx: float, ny: float, who: int
) -> int:
    """Cut a convex polygon in place to the side of a site; how many corners it has then."""
    off = 0.5 * (nx * nx + ny * ny)
    tx, ty, to = xs[:n].copy(), ys[:n].copy(), owner[:n].copy()
    m = 0
    for k in range(n):
        l = (k + 1) % n  # noqa: E741
        a, b = nx * tx[k] + ny * ty[k] - off, nx * tx[l] + ny * ty[l] - off
        if a <= 0.0:
            xs[m], ys[m], owner[m] = tx[k], ty[k], to[k]
            m += 1
            if b > 0.0:
                xs[m], ys[m] = (
                    tx[k] + (tx[l] - tx[k]) * a / (a - b),
                    ty[k] + (ty[l] - ty[k]) * a / (a - b),
                )
                owner[m] = who
                m += 1
        elif b <= 0.0:
            xs[m], ys[m] = (
                tx[k] + (tx[l] - tx[k]) * a / (a - b),
                ty[k] + (ty[l] - ty[k]) * a / (a - b),
            )
            owner[m] = to[k]
            m += 1
    return m


@compiled
def cells_block(plan: F64, i0: int, j0: int, seed: int) -> tuple[F64, NDArray[np.int64]]:
    """Edges ``(j, i, MOST_EDGES, 11)`` of the plots inside a ring of 3 of a planned block.

    Each with the plot across it, the road along it, and its ends; and how many a plot has.
    """
    nj, ni = plan.shape[0] - 2 * _RING, plan.shape[1] - 2 * _RING
    out = np.zeros((nj, ni, MOST_EDGES, 11))
    counts = np.zeros((nj, ni), np.int64)
    xs, ys, owner = np.zeros(64), np.zeros(64), np.zeros(64, np.int64)
    side = 2 * _RING + 1
    for j in range(nj):
        for i in range(ni):
            own = plan[j + _RING, i + _RING]
            xs[:4], ys[:4] = (
                np.array([-_FAR, _FAR, _FAR, -_FAR]),
                np.array([-_FAR, -_FAR, _FAR, _FAR]),
            )
            owner[:4] = -1
            n = 4
            for k in range(side * side):
                if k == side * side // 2:
                    continue
                near = plan[j + k // side, i + k % side]
                n = _clip(
                    xs, ys, owner, n, near[SITE_X] - own[SITE_X], near[SITE_Y] - own[SITE_Y], k
                )
            count = 0
            for e in range(n):
                k, l = owner[e], (e + 1) % n  # noqa: E741
                long = abs(xs[l] - xs[e]) + abs(ys[l] - ys[e])
                if k < 0 or long < 1e-6 or count == MOST_EDGES:
                    continue
                ki, kj = i0 + i + k % side, j0 + j + k // side
                mi, mj = i0 + i + _RING, j0 + j + _RING
                near = plan[kj - j0, ki - i0]
                low_i, low_j, high_i, high_j = mi, mj, ki, kj
                if ki < mi or (ki == mi and kj < mj):
                    low_i, low_j, high_i, high_j = ki, kj, mi, mj
                chance = hash2(low_i * 7919 + low_j, high_i * 7919 + high_j, seed * 97 + 4)
                kind = road_kind(
                    int(own[USE]), int(near[USE]), own[STRETCH] == near[STRETCH], chance
                )
                edge = out[j, i, count]
                edge[N_I], edge[N_J], edge[N_X], edge[N_Y] = ki, kj, near[SITE_X], near[SITE_Y]
                edge[N_USE], edge[N_KIND], edge[N_CHANCE] = near[USE], kind, chance
                edge[AX], edge[AY] = own[SITE_X] + xs[e], own[SITE_Y] + ys[e]
                edge[BX], edge[BY] = own[SITE_X] + xs[l], own[SITE_Y] + ys[l]
                count += 1
            counts[j, i] = count
    return out, counts
