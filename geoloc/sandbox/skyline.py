"""How far anything in a window may rise above its lowest ground: a bound, without painting it."""

from __future__ import annotations

import math

import numpy as np

from ..arrays import F64
from ..domain import Grid
from .compiling import compiled
from .layout import LAKE, Plot
from .lines import FAR, MOTORWAY, RAIL, RIVER, distance, is_near, is_rough
from .objects import AUX, TOP
from .terrain import EMBANKMENT, OVERPASS, VALLEY, plain

COVER = 3.0
"""Metres that what covers the ground stands up at most: the fence around a court."""
_DECK = 1.4  # m of a bridge's deck and its railing above the line that it carries
_ROOF = 1.0  # m of a parapet above the eaves, and of what rounding may add
_EVERY = 8.0  # m between the places at which the plain is looked at
_STEEPEST = 0.35
"""Metres that the plain rises along one, at most, out of the mountains: its hills by 0.08 where
they are steepest, and 0.075 of their fading towards a river per metre that its distance changes,
which in a narrow bend is 3."""


def rise(lines: F64, seed: int, window: Grid, plots: list[Plot], objects: F64) -> float:
    """Metres from the lowest ground of a window to the highest point of it, at most.

    ``seed``: of the terrain; ``plots`` and ``objects``: all that touch it. Infinite in mountains.
    """
    left, bottom, right, top = window.bounds
    x, y, half = (left + right) / 2, (bottom + top) / 2, math.hypot(right - left, top - bottom) / 2
    if is_rough(lines[RIVER], x, y, half):
        return math.inf
    near = [is_near(line, x, y, half) for line in lines]
    low, high = _plain_between(left, bottom, right, top, seed, lines, near[RIVER])
    if near[RIVER]:
        low -= VALLEY
    raised = OVERPASS if near[MOTORWAY] else EMBANKMENT if near[RAIL] else 0.0
    if raised:
        high += raised + _DECK
    levels = [plot.level for plot in plots if plot.landuse == LAKE]
    standing = float((objects[:, TOP] + np.abs(objects[:, AUX])).max(initial=COVER))
    return max(high, *levels, -math.inf) - min(low, *levels, math.inf) + standing + _ROOF


@compiled
def _plain_between(
    left: float, bottom: float, right: float, top: float, seed: int, lines: F64, river: bool
) -> tuple[float, float]:
    """Heights between which the plain lies in a box that no mountain is near."""
    low, high = 1e9, -1e9
    nx, ny = math.ceil((right - left) / _EVERY), math.ceil((top - bottom) / _EVERY)
    for row in range(ny):
        y = bottom + (row + 0.5) * _EVERY
        for col in range(nx):
            x = left + (col + 0.5) * _EVERY
            away = distance(lines[RIVER], x, y)[0] if river else FAR
            height = plain(x, y, away, seed, lines)
            low, high = min(low, height), max(high, height)
    between = _STEEPEST * _EVERY * math.sqrt(0.5)
    return low - between, high + between
