"""A country from far above, where a pixel is larger than a house: the colours of its plots."""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray

from ...domain import Grid
from .. import districts as D  # noqa: N812
from ..compiling import parallel
from ..layout import SIDE, SPACING
from ..lines import AVENUE, MOTORWAY, RAIL, RIVER, distance
from ..noise import hash2
from ..scene import LANDUSE
from .plan import Plan
from .zones import plan_plot, site_of

F64 = NDArray[np.float64]

_COLOURS = np.full((len(LANDUSE), 3), 120.0)
for _use, _colour in {
    D.CULTIVATED: (133, 110, 84), D.WHEAT: (190, 165, 98), D.PASTURE: (124, 130, 70),
    D.FOREST: (58, 76, 46), D.LAKE: (60, 78, 82), D.PARK: (84, 108, 62),
    D.HOUSES: (104, 106, 88), D.ESTATE: (106, 110, 92), D.INDUSTRY: (136, 132, 126),
    D.SCHOOL: (100, 110, 86), D.STADIUM: (110, 112, 106), D.ATHLETIC: (112, 108, 84),
    D.RAILWAY: (118, 108, 100), D.VILLAGE: (112, 114, 82), D.PARKING: (120, 120, 120),
    D.DOWNTOWN: (126, 116, 110), D.CEMETERY: (102, 108, 88),
}.items():  # fmt: skip
    _COLOURS[_use] = _colour
_LINES = np.array(
    [[70.0, 86.0, 84.0], [140.0, 140.0, 140.0], [110.0, 100.0, 94.0], [128.0, 128.0, 128.0]]
)
_HALF = np.array([36.0, 14.0, 8.0, 12.0])


@parallel
def _paint(
    left: float, top: float, step: float, seed: int, center: F64, lines: F64, towns: F64,
    lakes: F64, villages: F64, corner: F64, out: NDArray[np.uint8],
) -> None:  # fmt: skip
    ny, nx = out.shape[0], out.shape[1]
    half = SIDE * SPACING / 2
    for row in numba.prange(ny):
        y = top - (row + 0.5) * step
        for col in range(nx):
            x = left + (col + 0.5) * step
            i = math.floor((x - center[0] + half) / SPACING)
            j = math.floor((y - center[1] + half) / SPACING)
            bi, bj, best, sx, sy = i, j, 1e18, x, y
            for di in range(-1, 2):
                for dj in range(-1, 2):
                    px, py = site_of(i + di, j + dj, seed, center)
                    away = (px - x) ** 2 + (py - y) ** 2
                    if away < best:
                        best, bi, bj, sx, sy = away, i + di, j + dj, px, py
            use, _, _, _, _ = plan_plot(
                bi, bj, sx, sy, seed, center, lines, towns, lakes, villages, corner
            )
            tone = 0.92 + 0.16 * hash2(bi, bj, seed + 3)
            red, green, blue = _COLOURS[use, 0], _COLOURS[use, 1], _COLOURS[use, 2]
            for k in (RAIL, AVENUE, MOTORWAY, RIVER):
                d = abs(distance(lines[k], x, y)[0])
                share = min(1.0, max(0.0, (_HALF[k] + 0.5 * step - d) / step))
                share *= min(1.0, 2.0 * _HALF[k] / step)
                red += (_LINES[k, 0] - red) * share
                green += (_LINES[k, 1] - green) * share
                blue += (_LINES[k, 2] - blue) * share
            out[row, col, 0] = max(1.0, min(255.0, red * tone))
            out[row, col, 1] = max(1.0, min(255.0, green * tone))
            out[row, col, 2] = max(1.0, min(255.0, blue * tone))


def sketch(plan: Plan, window: Grid) -> NDArray[np.uint8]:
    """A window at any step: uint8 RGB ``(y, x, 3)``, never 0."""
    out = np.zeros((*window.shape, 3), np.uint8)
    _paint(
        window.left, window.top, window.step, plan.seed, np.array(plan.center), plan.lines,
        plan.towns, plan.lakes, plan.villages, plan.corner, out,
    )  # fmt: skip
    return out
