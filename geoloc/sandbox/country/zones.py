"""The land use of every plot of a country, by itself: cities, villages, lakes, steppe, forest.

A plot's use follows from its site and from the tables of the plan, whatever has been asked before.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from .. import districts as D  # noqa: N812
from ..compiling import compiled
from ..layout import CLASS, SIDE, SPACING
from ..lines import CORRIDOR, RAIL, distance, massif, point
from ..noise import hash2, value_noise
from ..scene import LANDUSE

F64 = NDArray[np.float64]

TOWN_X, TOWN_Y, TOWN_R, TOWN_RANK = range(4)
LAKE_X, LAKE_Y, LAKE_R, LAKE_P1, LAKE_P2, LAKE_OX, LAKE_OY = range(7)
VILLAGE, TOWN, CITY, CAPITAL = range(4)
"""Ranks of places."""
VILLAGE_CELL = 4500.0
"""Side of the squares of which each has one village at most, m."""

_CLUSTER = 720.0  # m between the middles of stretches of one use
_INNER, _HIGH, _OUTER, _TOWN_IN, _TOWN_OUT, _STEPPE, _FARM, _MEADOW, _FOREST, _MOUNTAIN = range(10)
_SHARES: tuple[Mapping[str, float], ...] = (
    {"downtown": 0.66, "apartment_building-outdoor": 0.2, "park": 0.14},
    {
        "apartment_building-outdoor": 0.66, "downtown": 0.06, "park": 0.1,
        "residential_neighborhood": 0.1, "industrial_area": 0.08,
    },
    {
        "residential_neighborhood": 0.5, "apartment_building-outdoor": 0.14,
        "industrial_area": 0.2, "park": 0.08, "village": 0.08,
    },
    {
        "downtown": 0.3, "apartment_building-outdoor": 0.3, "residential_neighborhood": 0.3,
        "park": 0.1,
    },
    {
        "residential_neighborhood": 0.5, "village": 0.2, "industrial_area": 0.15,
        "apartment_building-outdoor": 0.08, "park": 0.07,
    },
    {"wheat_field": 0.62, "field-cultivated": 0.27, "pasture": 0.07, "forest-broadleaf": 0.04},
    {"wheat_field": 0.24, "field-cultivated": 0.34, "pasture": 0.24, "forest-broadleaf": 0.18},
    {"pasture": 0.64, "field-cultivated": 0.13, "forest-broadleaf": 0.23},
    {"forest-broadleaf": 0.93, "pasture": 0.07},
    {"forest-broadleaf": 0.64, "pasture": 0.36},
)  # fmt: skip
_SPECIAL: tuple[tuple[str, float, float], ...] = (
    # share of the plots of a city, and of a town
    ("schoolhouse", 0.05, 0.06),
    ("parking_lot", 0.035, 0.03),
    ("athletic_field-outdoor", 0.025, 0.03),
    ("cemetery", 0.02, 0.03),
    ("stadium-soccer", 0.014, 0.012),
)
_WIDE = 225.0  # m to the next site that a stadium or school needs
_SHY = 130.0  # m that it keeps from the lines' corridors
_YARD = 900.0  # m of a railway along which a yard may lie


def _cumulated() -> F64:
    table = np.zeros((len(_SHARES), len(LANDUSE)))
    for row, shares in zip(table, _SHARES, strict=True):
        for name, share in shares.items():
            row[CLASS[name]] = share
    return np.cumsum(table, axis=1)


_TABLE = _cumulated()
_ONES = np.array([CLASS[name] for name, _, _ in _SPECIAL])
_ONES_SHARE = np.array([[city, town] for _, city, town in _SPECIAL])


@compiled
def site_of(i: int, j: int, seed: int, center: F64) -> tuple[float, float]:
    """As `Layout.site`."""
    jx = 0.54 * hash2(i, j, seed * 97 + 2) - 0.27
    jy = 0.54 * hash2(i, j, seed * 97 + 3) - 0.27
    half = SIDE * SPACING / 2
    return center[0] - half + (i + 0.5 + jx) * SPACING, center[1] - half + (j + 0.5 + jy) * SPACING


@compiled
def _pick(zone: int, chance: float) -> int:
    """A class by the shares of a zone."""
    for c in range(_TABLE.shape[1]):
        if chance < _TABLE[zone, c]:
            return c
    return D.FOREST


@compiled
def _cluster_of(x: float, y: float, seed: int) -> tuple[int, int, float, float]:
    """The stretch that a point belongs to: its number and its middle."""
    ci, cj = math.floor(x / _CLUSTER), math.floor(y / _CLUSTER)
    best, bi, bj, bx, by = 1e18, 0, 0, 0.0, 0.0
    for i in range(ci - 1, ci + 2):
        for j in range(cj - 1, cj + 2):
            px = (i + 0.1 + 0.8 * hash2(i, j, seed + 11)) * _CLUSTER
            py = (j + 0.1 + 0.8 * hash2(i, j, seed + 12)) * _CLUSTER
            away = (px - x) ** 2 + (py - y) ** 2
            if away < best:
                best, bi, bj, bx, by = away, i, j, px, py
    return bi, bj, bx, by


@compiled
def _rural_zone(x: float, y: float, seed: int, lines: F64) -> int:
    """What the open country is like around a point."""
    if massif(lines[0], x, y)[0] > 0.12:
        return _MOUNTAIN
    wood = 0.7 * value_noise(x, y, 21_000.0, seed + 21) + 0.3 * value_noise(
        x, y, 5_000.0, seed + 22
    )
    if wood > 0.62:
        return _FOREST
    dry = 0.8 * value_noise(x, y, 34_000.0, seed + 23) + 0.2 * value_noise(x, y, 7_000.0, seed + 24)
    if dry > 0.52:
        return _STEPPE
    return _MEADOW if dry < 0.36 else _FARM


@compiled
def shore(lake: F64, angle: float) -> float:
    """Metres from the middle of a lake to its shore."""
    wave = 0.20 * math.sin(2.0 * angle + lake[LAKE_P1]) + 0.12 * math.sin(
        3.0 * angle + lake[LAKE_P2]
    )
    return float(lake[LAKE_R] * (1.0 + wave + 0.05 * math.sin(7.0 * angle + lake[LAKE_P1])))


@compiled
def lake_at(x: float, y: float, lakes: F64) -> int:
    """The lake that holds a point, or -1."""
    for n in range(lakes.shape[0]):
        dx, dy = x - lakes[n, LAKE_X], y - lakes[n, LAKE_Y]
        away = dx * dx + dy * dy
        if away < (1.4 * lakes[n, LAKE_R]) ** 2 and away < shore(lakes[n], math.atan2(dy, dx)) ** 2:
            return n
    return -1


@compiled
def town_at(x: float, y: float, towns: F64, seed: int) -> tuple[int, float]:
    """The town that holds a point, or -1; how far out it lies: 0 in the middle, 1 at the rim."""
    best, nearest = 1.0, -1
    for n in range(towns.shape[0]):
        dx, dy = x - towns[n, TOWN_X], y - towns[n, TOWN_Y]
        r = towns[n, TOWN_R]
        if dx * dx + dy * dy < 1.5 * r * r:
            ragged = 0.34 * (value_noise(x, y, 0.35 * r + 300.0, seed + 31) - 0.5)
            t = math.sqrt(dx * dx + dy * dy) / r + ragged
            if t < best:
                best, nearest = t, n
    return nearest, best


@compiled
def village_at(x: float, y: float, villages: F64, corner: F64) -> int:
    """The village (its row of ``villages``, cell by cell) that holds a point, or -1."""
    ny, nx = int(corner[2]), int(corner[3])
    col = math.floor((x - corner[0]) / VILLAGE_CELL)
    row = math.floor((y - corner[1]) / VILLAGE_CELL)
    if row < 0 or col < 0 or row >= ny or col >= nx:
        return -1
    at = row * nx + col
    dx, dy = x - villages[at, 0], y - villages[at, 1]
    return at if dx * dx + dy * dy < villages[at, 2] ** 2 else -1


@compiled
def _is_wide(i: int, j: int, x: float, y: float, seed: int, center: F64) -> bool:
    for di in range(-1, 2):
        for dj in range(-1, 2):
            if di != 0 or dj != 0:
                ox, oy = site_of(i + di, j + dj, seed, center)
                if (ox - x) ** 2 + (oy - y) ** 2 < _WIDE**2:
                    return False
    return True


@compiled
def _special(
    i: int, j: int, x: float, y: float, seed: int, center: F64, lines: F64, town: int
) -> int:
    """A school, stadium or the like that takes a plot for itself, or -1."""
    chance = hash2(i, j, seed * 7919 + 41)
    for n in range(_ONES.size):
        chance -= _ONES_SHARE[n, town]
        if chance < 0.0:
            if not _is_wide(i, j, x, y, seed, center):
                return -1
            for k in range(lines.shape[0]):
                if abs(distance(lines[k], x, y)[0]) < CORRIDOR[k] + _SHY:
                    return -1
            return int(_ONES[n])
    return -1


@compiled
def _number(i: int, j: int, seed: int) -> int:
    """A number of a stretch that hardly any other shares."""
    return int(hash2(i, j, seed + 51) * 4294967296.0)


@compiled
def plan_plot(
    i: int, j: int, x: float, y: float, seed: int, center: F64, lines: F64, towns: F64, lakes: F64,
    villages: F64, corner: F64,
) -> tuple[int, int, float, float, float]:  # fmt: skip
    """Land use of a plot, the number of its stretch, and origin and angle of their frame."""
    own = seed * 7919 + 5  # of noise; ``seed`` alone is that of the sites
    lake = lake_at(x, y, lakes)
    if lake >= 0:
        return D.LAKE, 7_000_000 + lake, lakes[lake, LAKE_OX], lakes[lake, LAKE_OY], 0.0
    town, t = town_at(x, y, towns, own)
    ci, cj, cx, cy = _cluster_of(x, y, own)
    stretch, angle = _number(ci, cj, own), math.pi * hash2(ci, cj, own + 13)
    chance = hash2(ci, cj, own + 14)
    if town >= 0:
        city = bool(towns[town, TOWN_RANK] >= CITY)
        if city:
            d, s, index = distance(lines[RAIL], x, y)
            part = math.floor(s / _YARD)
            if 45.0 < abs(d) < 210.0 and hash2(part, int(index), own + 15) < 0.3:
                ox, oy, dx, dy = point(lines[RAIL], (part + 0.5) * _YARD, index, 0.0)
                number = 9_000_000 + (part % 4096) * 64 + int(index) % 64
                return D.RAILWAY, number, ox, oy, math.atan2(dy, dx)
        one = _special(i, j, x, y, seed, center, lines, 0 if city else 1)
        if one >= 0 and t > 0.15:
            return one, _number(i, j, own + 1), x, y, math.pi * hash2(i, j, own + 16)
        zone = _TOWN_IN if t < 0.38 else _TOWN_OUT
        if city:
            zone = _INNER if t < 0.2 else (_HIGH if t < 0.52 else _OUTER)
        use = _pick(zone, chance)
        return use, stretch + zone, cx, cy, angle
    village = village_at(x, y, villages, corner)
    if village >= 0:
        turn = math.pi * hash2(village, 3, own + 17)
        if hash2(i, j, own + 18) < 0.04 and _is_wide(i, j, x, y, seed, center):
            return D.CEMETERY, _number(i, j, own + 1), x, y, turn
        return D.VILLAGE, 8_000_000 + village, villages[village, 0], villages[village, 1], turn
    if hash2(i, j, own + 19) < 0.003:
        return D.INDUSTRY, _number(i, j, own + 1), x, y, angle
    return _pick(_rural_zone(cx, cy, own, lines), chance), stretch, cx, cy, angle
