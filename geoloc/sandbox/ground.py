"""The ground of every pixel: its plot, its cover, the roads and lines across it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from . import districts as D  # noqa: N812
from . import surface as S  # noqa: N812
from .compiling import compiled
from .layout import MARGIN, Plot
from .lines import AVENUE, MOTORWAY, RAIL, RIVER, RIVER_HALF
from .noise import grain, smooth, value_noise
from .scene import Material
from .surface import Cover
from .terrain import DECK_END

CLS, OX, OY, COS, SIN, R0, R1, LEVEL, SEED, FIRST, LAST = range(2, 13)
NX, NY, ND, KIND, LANDUSE_OF, INDEX = range(6)
ROAD_REACH = 14.0
"""Metres from an edge that its road, with all beside it, may reach."""
METAL = int(Material.METAL)
_HALF = np.array([0.0, 2.0, 3.6, 6.8])
_MARGIN = np.array(MARGIN)
_SEEN = max(*MARGIN, ROAD_REACH) + 1.0
"""Metres from a plot's edge within which it shows: its road, what keeps clear of it, a fence."""
NO_BORDER = (1e6, 1e6, 1e6, -1)
_FENCED = np.zeros(20)
_FENCED[[D.INDUSTRY, D.SCHOOL, D.CEMETERY, D.STADIUM]] = 2.2, 1.6, 1.4, 2.0
_URBAN = np.ones(20)
_URBAN[[D.CULTIVATED, D.WHEAT, D.PASTURE, D.FOREST, D.LAKE, D.VILLAGE, D.PARK, D.RAILWAY]] = 0.0


def tables(plots: list[Plot]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Plots and their edges as arrays for the kernel: ``(plot, 13)`` and ``(edge, 6)``.

    An edge holds its inward unit normal, its offset along it, and what lies across it.
    """
    index = {plot.key: n for n, plot in enumerate(plots)}
    sites = np.zeros((len(plots), 13))
    edges: list[tuple[float, ...]] = []
    for n, plot in enumerate(plots):
        first = len(edges)
        for other in plot.neighbors:
            if other.key not in index:
                continue
            dx, dy = other.x - plot.x, other.y - plot.y
            norm = math.hypot(dx, dy)
            nx, ny = dx / norm, dy / norm
            offset = nx * (plot.x + other.x) / 2 + ny * (plot.y + other.y) / 2
            edges.append((nx, ny, offset, other.kind, other.landuse, index[other.key]))
        sites[n] = (
            plot.x, plot.y, plot.landuse, *plot.origin, math.cos(plot.angle), math.sin(plot.angle),
            plot.rnd[0], plot.rnd[1], plot.level, plot.cluster % 65521, first, len(edges),
        )  # fmt: skip
    return sites, np.array(edges, float).reshape(-1, 6)


@compiled
def walk(
    start: int, px: float, py: float, sites: NDArray[np.float64], edges: NDArray[np.float64]
) -> int:
    """Index of the plot that contains a point: cross edges until none leads closer."""
    best = start
    moved = True
    while moved:
        moved = False
        for e in range(int(sites[best, FIRST]), int(sites[best, LAST])):
            # the tolerance: rounding must not send a point on an edge back and forth
            if edges[e, NX] * px + edges[e, NY] * py > edges[e, ND] + 1e-7:
                best = int(edges[e, INDEX])
                moved = True
                break
    return best


@compiled
def borders(
    plot: int, px: float, py: float, sites: NDArray[np.float64], edges: NDArray[np.float64]
) -> tuple[float, float, float, int]:
    """Metres to what may be built on, to another land use, to the nearest road; its edge."""
    landuse = sites[plot, CLS]
    inside, zone, road, which, nearest_road = 1e6, 1e6, 1e6, -1, 1e6
    for e in range(int(sites[plot, FIRST]), int(sites[plot, LAST])):
        d = edges[e, ND] - edges[e, NX] * px - edges[e, NY] * py
        kind = int(edges[e, KIND])
        joined = kind == 0 and edges[e, LANDUSE_OF] == landuse
        if not joined:
            inside = min(inside, d - _MARGIN[kind])
        if edges[e, LANDUSE_OF] != landuse:
            zone = min(zone, d)
        if kind > 0 and d - _HALF[kind] < nearest_road:
            nearest_road, road, which = d - _HALF[kind], d, e
    return inside, zone, road, which


@compiled
def inner(
    plot: int, px: float, py: float, sites: NDArray[np.float64], edges: NDArray[np.float64]
) -> float:
    """Metres that a point may move before a border matters to it: until then `NO_BORDER` gives
    what `borders` does. Below 0 near a border, and where all of them matter, as in a lake."""
    landuse = int(sites[plot, CLS])
    if landuse in (D.LAKE, D.PARK):
        return -1.0
    least = 1e6
    for e in range(int(sites[plot, FIRST]), int(sites[plot, LAST])):
        least = min(least, edges[e, ND] - edges[e, NX] * px - edges[e, NY] * py)
    return least - _SEEN


@compiled
def cover(
    landuse: int, u: float, v: float, cu: float, cv: float, x: float, y: float,
    inside: float, zone: float, seed: int, r0: float, r1: float, step: float,
) -> Cover:  # fmt: skip
    """Ground of a plot; ``u, v`` in its cluster's frame, ``cu, cv`` from the plot's own middle."""
    if landuse == D.WHEAT:
        return S.wheat(cu, cv, x, y, seed, r0, r1)
    if landuse == D.CULTIVATED:
        return S.cultivated(cu, cv, x, y, seed, r0, r1)
    if landuse == D.PASTURE:
        return S.pasture(cu, cv, x, y, seed, r0)
    if landuse == D.FOREST:
        return S.forest_floor(cu, cv, x, y, seed, r0)
    if landuse == D.LAKE:
        return S.lake(zone, x, y, seed)
    if landuse == D.PARK:
        return S.park(u, v, x, y, seed, inside, r0)
    if landuse == D.HOUSES:
        return S.lots(u, v, D.STREETS[D.HOUSES, 1], D.HOUSE_LOT, x, y, seed, r0)
    if landuse == D.VILLAGE:
        return S.lots(u, v, D.STREETS[D.VILLAGE, 1], D.VILLAGE_LOT, x, y, seed, r0)
    if landuse == D.ESTATE:
        return S.estate(u, v, x, y, seed, r0)
    if landuse == D.INDUSTRY:
        return S.industry(u, v, x, y, seed, r0)
    if landuse == D.SCHOOL:
        return S.school(cu, cv, x, y, seed, step, r0)
    if landuse == D.STADIUM:
        return S.stadium(cu, cv, x, y, seed, step, r0)
    if landuse == D.ATHLETIC:
        return S.athletic(cu, cv - 14.0, x, y, seed, step, r0)
    if landuse == D.RAILWAY:
        return S.yard(u, v, x, y, seed, step)
    if landuse == D.PARKING:
        return S.car_park(cu, cv, x, y, seed, step)
    if landuse == D.DOWNTOWN:
        return S.downtown(u, v, x, y, seed, r0)
    return S.cemetery(u, v, x, y, seed, r0)


@compiled
def inner_street(
    below: Cover, landuse: int, u: float, v: float, x: float, y: float, seed: int
) -> Cover:
    """Streets inside a plot, drawn over its cover."""
    half, row, cross = D.STREETS[landuse]
    if half == 0.0:
        return below
    d = abs(S.nearest(v, row))
    if cross > 0.0:
        d = min(d, abs(S.nearest(u, cross)))
    if d > half + 2.0:
        return below
    if d < half:
        if landuse == D.VILLAGE:
            return S.gravel(x, y, seed, 0.5 + 0.4 * value_noise(x, y, 40.0, seed))
        return S.asphalt(x, y, seed, 0.75)
    if landuse != D.VILLAGE and landuse != D.INDUSTRY and d < half + 0.25:
        return 172.0, 170.0, 164.0, S.CONCRETE, 0.0
    return below


@compiled
def plot_road(
    below: Cover, kind: int, d: float, t: float, urban: bool, x: float, y: float,
    seed: int, step: float,
) -> Cover:  # fmt: skip
    """The road along a plot's edge with verge, pavement and markings; ``t`` metres along."""
    half = _HALF[kind]
    if kind == 1:
        if d > half + 1.2:
            return below
        if d < 0.5 or d > 1.5:
            return S.grass(x, y, seed, 0.45)
        return S.gravel(x, y, seed, 0.55)
    if d < half:
        base = S.asphalt(x, y, seed, 0.25 if kind == 3 else 0.6)
        dash = 1.0 if t - math.floor(t / 9.0) * 9.0 < 4.0 else 0.0
        mark = dash * S.stripe(d - 0.1, 0.11, step)
        if kind == 3:
            mark = max(S.stripe(d - 0.14, 0.14, step), dash * S.stripe(d - 3.4, 0.1, step))
            mark = max(mark, S.stripe(d - 6.4, 0.1, step))
        return S.over(base, 228.0, 228.0, 222.0, 0.75 * mark, S.MARKING)
    if d < half + 0.3:
        return 170.0, 168.0, 162.0, S.CONCRETE, 0.0
    walk0 = half + (3.2 if kind == 3 else 1.8)
    if urban and walk0 < d < walk0 + (2.6 if kind == 3 else 1.8):
        return S.concrete(x, y, seed, 1.0)
    return S.grass(x, y, seed, 0.35) if below[4] == 0.0 else below


@compiled
def motorway(d: float, s: float, x: float, y: float, seed: int, step: float) -> Cover:
    """Two carriageways of two lanes and a shoulder, a median with a barrier."""
    a = abs(d)
    if a < 0.25:
        return 176.0, 178.0, 180.0, METAL, 0.8
    if a < 1.9:
        return S.grass(x, y, seed, 0.5)
    if a < 13.2:
        dash = 1.0 if s - math.floor(s / 12.0) * 12.0 < 5.0 else 0.0
        mark = max(S.stripe(a - 2.5, 0.12, step), S.stripe(a - 10.2, 0.15, step))
        mark = max(mark, dash * S.stripe(a - 6.3, 0.12, step))
        return S.over(S.asphalt(x, y, seed, 0.42), 232.0, 232.0, 228.0, 0.85 * mark, S.MARKING)
    if 13.6 < a < 14.1:
        return 168.0, 170.0, 172.0, METAL, 0.8
    return S.gravel(x, y, seed, 0.6) if a < 15.0 else S.grass(x, y, seed, 0.4)


@compiled
def avenue(d: float, s: float, x: float, y: float, seed: int, step: float) -> Cover:
    """The town's main road: four lanes, a green strip in the middle, pavements."""
    a = abs(d)
    if a < 1.5:
        return S.grass(x, y, seed, 0.2)
    if a < 10.5:
        dash = 1.0 if s - math.floor(s / 9.0) * 9.0 < 4.0 else 0.0
        mark = max(dash * S.stripe(a - 5.0, 0.1, step), S.stripe(a - 8.3, 0.1, step))
        return S.over(S.asphalt(x, y, seed, 0.3), 230.0, 230.0, 224.0, 0.8 * mark, S.MARKING)
    if a < 10.9:
        return 172.0, 170.0, 164.0, S.CONCRETE, 0.0
    if 12.8 < a < 16.0:
        return S.concrete(x, y, seed, 1.0)
    return S.grass(x, y, seed, 0.25)


@compiled
def railway(d: float, s: float, x: float, y: float, seed: int, step: float) -> Cover:
    """A double track on ballast."""
    a = abs(d)
    if a < 4.6:
        return S.rails(a - 2.1, s, x, y, seed, step)
    if a < 5.8:
        return S.gravel(x, y, seed, 0.2)
    return S.grass(x, y, seed, 0.55 + 0.3 * grain(x, y, 3.0, seed))


@compiled
def river(d: float, x: float, y: float, seed: int) -> Cover:
    """Water with ripples, banks of sand, reeds and grass."""
    a = abs(d) + 9.0 * (value_noise(x, y, 60.0, seed + 111) - 0.5)
    if abs(d) < RIVER_HALF:
        shallow = smooth((a - RIVER_HALF + 14.0) / 14.0)
        k = 0.07 * (value_noise(x, y, 25.0, seed + 112) - 0.5) + 0.04 * grain(x, y, 0.5, seed)
        k += 0.05 * (value_noise(x, y, 3.0, seed + 113) - 0.5)
        return S.shade_of(
            66.0 + 36.0 * shallow, 82.0 + 26.0 * shallow, 72.0 + 10.0 * shallow, k, S.WATER, 0.0
        )
    beach = value_noise(x, y, 120.0, seed + 114)
    if beach > 0.62 and a < RIVER_HALF + 14.0:
        return S.shade_of(214.0, 198.0, 160.0, 0.1 * grain(x, y, 0.5, seed), S.SAND, 0.0)
    if beach < 0.45 and a < RIVER_HALF + 3.5:
        return S.shade_of(110.0, 118.0, 62.0, 0.3 * grain(x, y, 0.5, seed), S.CROP, 1.5)
    return S.grass(x, y, seed, 0.15)


@compiled
def crossing(d: NDArray[np.float64]) -> int:
    """Which line's deck is overhead: the motorway's, the railway's, the avenue's, or -1."""
    if abs(d[MOTORWAY]) < 15.0 and (abs(d[AVENUE]) < 19.0 or abs(d[RAIL]) < 8.0):
        return MOTORWAY
    if abs(d[RIVER]) < RIVER_HALF + DECK_END:
        if abs(d[RAIL]) < 5.6:
            return RAIL
        if abs(d[AVENUE]) < 16.4:
            return AVENUE
    return -1


@compiled
def line_cover(
    which: int, d: NDArray[np.float64], s: NDArray[np.float64], x: float, y: float,
    seed: int, step: float,
) -> Cover:  # fmt: skip
    """Cover of one of the lines at its own distances."""
    if which == MOTORWAY:
        return motorway(d[MOTORWAY], s[MOTORWAY], x, y, seed, step)
    if which == RAIL:
        return railway(d[RAIL], s[RAIL], x, y, seed, step)
    return avenue(d[AVENUE], s[AVENUE], x, y, seed, step)


@compiled
def line_at(d: NDArray[np.float64]) -> int:
    """The line whose ground contains a point (the motorway first), or -1."""
    if abs(d[MOTORWAY]) < 15.0:
        return MOTORWAY
    if abs(d[RAIL]) < 5.8:
        return RAIL
    if abs(d[AVENUE]) < 16.4:
        return AVENUE
    return -1


@compiled
def landuse_at(landuse: int, d: NDArray[np.float64]) -> int:
    """Scene class of a point: the plot's, unless a line dominates."""
    river, motorway_, rail, avenue_ = abs(d[RIVER]), abs(d[MOTORWAY]), abs(d[RAIL]), abs(d[AVENUE])
    if river < RIVER_HALF + 42.0 and (avenue_ < 30.0 or rail < 24.0):
        return D.BRIDGE
    if river < RIVER_HALF + 16.0:
        return D.RIVER_CLASS
    if motorway_ < 36.0:
        return D.HIGHWAY
    if rail < 22.0:
        return D.RAILWAY
    return landuse
