"""The plots of a country: as those of a world, each planned by itself."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..layout import LAKE, Layout, Neighbor, Plot
from ..lines import distance
from ..noise import hash2
from ..terrain import plain
from . import cells as C  # noqa: N812

if TYPE_CHECKING:
    from .plan import Plan

F64 = NDArray[np.float64]

_TILE = 6
"""Plots along the side of the squares that are made at once."""


class CountryLayout(Layout):
    """The plots that a plan gives rise to."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan.seed, plan.center)
        self.plan = plan
        self.lines = plan.lines
        self._made = lru_cache(maxsize=256)(self._make)
        self.plot = lru_cache(maxsize=4096)(self._plot_at)  # type: ignore[method-assign]

    def __reduce__(self) -> tuple[type[CountryLayout], tuple[Plan]]:  # type: ignore[override]
        return CountryLayout, (self.plan,)

    def _plot_at(self, i: int, j: int) -> Plot:
        """The plot of a site."""
        row, col = i // _TILE, j // _TILE
        plan, edges, counts = self._made(row, col)
        at = j - col * _TILE, i - row * _TILE
        near = [_neighbor(edge) for edge in edges[at][: counts[at]].tolist()]
        near.sort(key=lambda neighbor: neighbor.key)
        return self._plot_of((i, j), plan[at].tolist(), near)

    def _make(self, row: int, col: int) -> tuple[F64, F64, NDArray[np.int64]]:
        return self.block(row * _TILE, col * _TILE, _TILE, _TILE)

    def block(self, i0: int, j0: int, ni: int, nj: int) -> tuple[F64, F64, NDArray[np.int64]]:
        """Plan ``(j, i, 7)`` of a rectangle of plots, and their edges as `cells_block`."""
        planned = self.plan.block(i0 - 3, j0 - 3, ni + 6, nj + 6)
        edges, counts = C.cells_block(planned, i0 - 3, j0 - 3, self.seed)
        return planned[3:-3, 3:-3], edges, counts

    def _plot_of(self, key: tuple[int, int], own: list[float], near: list[Neighbor]) -> Plot:
        use, stretch, ox, oy, angle, x, y = own
        level = 0.0
        if int(use) == LAKE:
            river = abs(distance(self.lines[0], ox, oy)[0])
            level = plain(ox, oy, river, self.seed, self.lines) - 2.5
        rnd = tuple(hash2(*key, self.seed * 97 + salt) for salt in (5, 6, 7, 8))
        return Plot(
            key, x, y, int(use), int(stretch), (ox, oy), angle, rnd, level, tuple(near)  # type: ignore[arg-type]
        )  # fmt: skip


def _neighbor(edge: list[float]) -> Neighbor:
    i, j, x, y, use, kind, chance, ax, ay, bx, by = edge
    return Neighbor(
        (int(i), int(j)), x, y, int(use), int(kind), chance, ((ax, ay), (bx, by))
    )  # fmt: skip
