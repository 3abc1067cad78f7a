"""The ground of each kind of district: colour, material, height of the cover.

Every function takes a position in the plot's frame (``u``, ``v``), in the world (``x``, ``y``),
the metres to the plot's edge and the plot's own random numbers, and returns
``(red, green, blue, material, top)``; colours are albedo from 0 to 255, ``top`` is in metres.
"""

from __future__ import annotations

import math

from .compiling import compiled, compiled_for
from .districts import (
    BAY,
    GRAVE,
    PARKING_PERIOD,
    SCHOOL_PITCH,
    STADIUM_PITCH,
    STAND,
    STAND_INNER,
    TRACKS,
    YARD,
    YARD_HALF,
)
from .noise import grain, hash2, smooth, value_noise
from .scene import Material

GRASS, CROP, SOIL, ASPHALT, CONCRETE, GRAVEL, SAND, WATER = (int(m) for m in list(Material)[:8])
RAIL, PITCH, TRACK, FENCE, MARKING = (
    int(m)
    for m in (Material.RAIL, Material.PITCH, Material.TRACK, Material.FENCE, Material.MARKING)
)
Cover = tuple[float, float, float, int, float]
_COVER = "Tuple((float64, float64, float64, int64, float64))"
BAY_WIDTH, BAY_DEPTH = BAY
GRAVE_U, GRAVE_V = GRAVE
PITCH_U, PITCH_V = STADIUM_PITCH
SCHOOL_U, SCHOOL_V = SCHOOL_PITCH
STAND_U, STAND_V = STAND


@compiled
def stripe(d: float, half: float, step: float) -> float:
    """Share of a pixel of ``step`` metres covered by a line ``half`` metres to either side."""
    return min(1.0, max(0.0, (half + 0.5 * step - abs(d)) / step))


@compiled
def nearest(value: float, period: float) -> float:
    """Signed distance to the nearest multiple of ``period``."""
    return value - math.floor(value / period + 0.5) * period


@compiled_for(f"{_COVER}(float64, float64, float64, float64, int64, float64)")
def shade_of(r: float, g: float, b: float, k: float, material: int, top: float) -> Cover:
    """A colour made lighter or darker by the share ``k``."""
    return r * (1.0 + k), g * (1.0 + k), b * (1.0 + k), material, top


@compiled
def grass(x: float, y: float, seed: int, dry: float) -> Cover:
    """Lawn or meadow; ``dry`` from 0 (lush) to 1 (straw-coloured)."""
    n = value_noise(x, y, 23.0, seed + 11) - 0.5
    m = value_noise(x, y, 5.0, seed + 12) - 0.5
    k = 0.30 * n + 0.22 * m + 0.16 * grain(x, y, 0.5, seed + 13)
    d = min(1.0, max(0.0, dry + 0.5 * n + 0.3 * m))
    return shade_of(84.0 + 66.0 * d, 108.0 + 28.0 * d, 52.0 + 26.0 * d, k, GRASS, 0.0)


@compiled
def soil(x: float, y: float, seed: int, tone: float) -> Cover:
    """Bare earth, from black chernozem (``tone`` 0) to light loam (1)."""
    n = value_noise(x, y, 38.0, seed + 15) + 0.6 * value_noise(x, y, 11.0, seed + 16) - 0.8
    k = 0.22 * n + 0.12 * grain(x, y, 0.5, seed + 17)
    return shade_of(84.0 + 70.0 * tone, 70.0 + 60.0 * tone, 58.0 + 42.0 * tone, k, SOIL, 0.0)


@compiled
def asphalt(x: float, y: float, seed: int, age: float) -> Cover:
    """Tarmac; the older, the lighter and the more patched."""
    patch = 0.10 if hash2(math.floor(x / 9.0), math.floor(y / 7.0), seed + 19) < 0.12 * age else 0.0
    k = 0.14 * (value_noise(x, y, 7.0, seed + 18) - 0.5) + 0.10 * grain(x, y, 0.5, seed) - patch
    return shade_of(92.0 + 44.0 * age, 92.0 + 42.0 * age, 94.0 + 38.0 * age, k, ASPHALT, 0.0)


@compiled
def concrete(x: float, y: float, seed: int, slab: float) -> Cover:
    """Slabs of concrete or paving, ``slab`` metres wide."""
    joint = 0.10 if min(abs(nearest(x, slab)), abs(nearest(y, slab))) < 0.2 else 0.0
    tint = 0.12 * grain(x, y, slab, seed + 21) + 0.10 * (value_noise(x, y, 13.0, seed + 22) - 0.5)
    return shade_of(
        166.0, 162.0, 152.0, tint + 0.06 * grain(x, y, 0.5, seed) - joint, CONCRETE, 0.0
    )


@compiled
def gravel(x: float, y: float, seed: int, tone: float) -> Cover:
    """Ballast, dirt track or beaten earth."""
    k = 0.24 * grain(x, y, 0.5, seed + 23) + 0.2 * (value_noise(x, y, 4.0, seed + 24) - 0.5)
    return shade_of(124.0 + 50.0 * tone, 114.0 + 46.0 * tone, 104.0 + 30.0 * tone, k, GRAVEL, 0.0)


@compiled
def over(below: Cover, r: float, g: float, b: float, share: float, material: int) -> Cover:
    """Paint laid over a surface, for a share of the pixel."""
    if share <= 0.0:
        return below
    s = 1.0 - share
    kind = material if share > 0.5 else below[3]
    return (
        below[0] * s + r * share,
        below[1] * s + g * share,
        below[2] * s + b * share,
        kind,
        below[4],
    )


@compiled
def wheat(u: float, v: float, x: float, y: float, seed: int, r0: float, r1: float) -> Cover:
    """Grain in strips, each sown and ripened on its own, with tramlines; some strips mown."""
    wide = 34.0 + 60.0 * r0
    strip = math.floor(v / wide)
    ripe, kind = hash2(int(strip), 7, seed + int(r1 * 9999.0)), hash2(int(strip), 8, seed)
    n = value_noise(x, y, 45.0, seed + 31) - 0.5
    k = 0.16 * n + 0.07 * grain(x, v, 0.5, seed + 32) + 0.05 * math.sin(v * 2.1)
    k += 0.10 * (value_noise(u * 0.08, v, 1.6, seed + 33) - 0.5)
    if abs(nearest(v, wide)) < 0.9:
        return shade_of(142.0, 136.0, 84.0, k, GRASS, 0.0)
    if min(abs(nearest(v - 11.0, 22.0) - 0.9), abs(nearest(v - 11.0, 22.0) + 0.9)) < 0.30:
        return shade_of(150.0, 124.0, 84.0, k, SOIL, 0.0)
    if kind < 0.22:
        return shade_of(206.0, 186.0, 128.0, 1.5 * k + 0.05 * math.sin(v * 1.05), CROP, 0.15)
    ripe = min(1.0, max(0.0, 0.35 + 0.65 * ripe + 0.5 * n))
    return shade_of(128.0 + 72.0 * ripe, 132.0 + 34.0 * ripe, 66.0 + 26.0 * ripe, k, CROP, 0.8)


@compiled
def cultivated(u: float, v: float, x: float, y: float, seed: int, r0: float, r1: float) -> Cover:
    """Ploughed land with furrows and a headland, or long beds of vegetables and maize."""
    tone = 0.15 + 0.6 * r0
    furrow = math.sin(v * 2.4) * 0.05 + 0.09 * (value_noise(u * 0.06, v, 1.5, seed + 41) - 0.5)
    base = soil(x, y, seed, tone)
    if r1 < 0.55:
        pass_line = 0.12 * stripe(nearest(v, 6.0), 0.3, 0.8)
        return shade_of(base[0], base[1], base[2], furrow - pass_line, SOIL, 0.0)
    bed = math.floor(v / 7.0)
    kind = hash2(int(bed * 0.34), 3, seed + int(r1 * 9999.0))
    row = math.cos(v * 8.0) if kind < 0.5 else math.cos(v * 4.5)
    if kind < 0.35 or row < -0.55:
        return shade_of(base[0], base[1], base[2], furrow, SOIL, 0.0)
    k = 0.3 * (value_noise(x, y, 9.0, seed + 43) - 0.5) + 0.22 * grain(x, y, 0.5, seed + 44)
    if kind < 0.7:
        return shade_of(92.0, 126.0, 60.0, k + 0.08 * row, CROP, 0.4)
    return shade_of(106.0, 128.0, 52.0, k + 0.1 * row, CROP, 1.9 if kind > 0.85 else 0.6)


@compiled
def pasture(u: float, v: float, x: float, y: float, seed: int, r0: float) -> Cover:
    """Uneven meadow with worn paths, wet hollows and tussocks."""
    c = grass(x, y, seed, 0.25 + 0.5 * r0)
    wet = value_noise(x, y, 85.0, seed + 51)
    path = abs(v - 26.0 * math.sin(u / 61.0 + 6.0 * r0) - 40.0 * (r0 - 0.5))
    if path < 1.1 + 0.6 * grain(x, y, 2.0, seed):
        return gravel(x, y, seed, 0.55)
    k = -0.20 * smooth((wet - 0.62) * 5.0) + 0.26 * (value_noise(x, y, 2.4, seed + 52) - 0.5)
    return shade_of(c[0], c[1], c[2] * 0.95, k, GRASS, 0.0)


@compiled
def forest_floor(u: float, v: float, x: float, y: float, seed: int, r0: float) -> Cover:
    """Undergrowth between the trees, with a ride through the wood."""
    ride = abs(v - 9.0 * math.sin(u / 47.0 + 6.0 * r0))
    if ride < 1.6:
        return gravel(x, y, seed, 0.35)
    c = grass(x, y, seed, 0.35)
    k = 0.3 * (value_noise(x, y, 3.0, seed + 61) - 0.5)
    dark = 0.62 if ride > 4.5 else 0.95
    return c[0] * dark * (1.0 + k), c[1] * dark * (1.0 + k), c[2] * dark * (1.0 + k), GRASS, 0.0


@compiled
def park(u: float, v: float, x: float, y: float, seed: int, edge: float, r0: float) -> Cover:
    """Lawns, winding paths, a ring walk, a round plaza with a fountain, flower beds."""
    ru, rv = u - 30.0 * r0, v + 20.0 * r0
    r = math.sqrt(nearest(ru, 290.0) ** 2 + nearest(rv, 250.0) ** 2)
    if r < 4.5:
        return 96.0, 132.0, 142.0, WATER, 0.0
    if r < 5.4 or abs(r - 17.0) < 0.35:
        return 190.0, 184.0, 172.0, CONCRETE, 0.6
    if r < 17.0:
        return concrete(x, y, seed, 1.5)
    winding = abs(nearest(v - 16.0 * math.sin(u / 37.0), 82.0))
    across = abs(nearest(u - 13.0 * math.sin(v / 43.0), 108.0))
    if min(winding, across) < 1.5 or abs(edge - 9.0) < 1.7 or abs(r - 33.0) < 1.5:
        return gravel(x, y, seed, 0.85)
    if 19.0 < r < 21.5 and hash2(int(math.atan2(rv, ru) * 4.0), 1, seed) < 0.7:
        hue = hash2(int(x * 2.0), int(y * 2.0), seed)
        return 190.0 + 50.0 * hue, 70.0 + 110.0 * hue * hue, 90.0, CROP, 0.3
    c = grass(x, y, seed, 0.02)
    return shade_of(c[0], c[1], c[2], 0.05, GRASS, 0.0)


@compiled
def garden(su: float, sv: float, x: float, y: float, seed: int, chance: float) -> Cover:
    """A lot behind a house: lawn, orchard grass or beds of vegetables."""
    if chance < 0.38:
        return grass(x, y, seed, 0.10 + 0.5 * chance)
    bed = hash2(math.floor(sv / 9.0), int(chance * 9999.0), seed)
    if bed < 0.3:
        return grass(x, y, seed, 0.25)
    earth = soil(x, y, seed, 0.15 + 0.5 * hash2(int(chance * 9999.0), 5, seed))
    if bed < 0.55:
        return shade_of(earth[0], earth[1], earth[2], 0.07 * math.sin(su * 4.0), SOIL, 0.0)
    if math.sin(su * 5.2 + bed * 9.0) < -0.35:
        return earth
    k = 0.3 * grain(x, y, 0.5, seed + 71)
    return shade_of(80.0 + 60.0 * (bed - 0.5), 116.0, 54.0, k, CROP, 0.4)


@compiled
def lots(
    u: float, v: float, row: float, wide: float, x: float, y: float, seed: int, plot: float
) -> Cover:
    """Lots of houses on both sides of a street: fences, drives, front and back gardens."""
    street = math.floor(v / row + 0.5)
    depth = abs(v - street * row)
    side = 1 if v > street * row else 0
    number = math.floor(u / wide)
    su = u - (number + 0.5) * wide
    key = int(street) * 2 + side
    chance = hash2(int(number), key, seed + int(plot * 9999.0))
    back = 0.5 * row
    if depth < 6.0:
        return grass(x, y, seed, 0.3)
    near_side = 0.5 * wide - abs(su)
    if (near_side < 0.25 and depth < back) or back - depth < 0.25 or abs(depth - 6.3) < 0.3:
        tone = 0.6 + 0.4 * chance
        gate = depth < 7.0 and abs(su - 0.32 * wide) < 1.7
        if not gate and (depth < 44.0 or chance < 0.25):
            return 150.0 * tone, 140.0 * tone, 126.0 * tone, FENCE, 1.2 + 0.8 * chance
    if abs(su - 0.32 * wide) < 1.5 and depth < 21.0:
        return gravel(x, y, seed, 0.6) if chance < 0.6 else concrete(x, y, seed, 2.0)
    if depth < 20.0:
        return grass(x, y, seed, 0.05 + 0.4 * chance)
    return garden(su, depth, x, y, seed, chance)


@compiled
def estate(u: float, v: float, x: float, y: float, seed: int, r0: float) -> Cover:
    """Yards between slab blocks: trodden lawn, diagonal paths, playgrounds, parking bays."""
    dv = nearest(v, 88.0)
    if 2.8 <= abs(dv) < 8.0 and dv > 0:
        bay = 0.55 * stripe(nearest(u, BAY_WIDTH), 0.08, 0.5)
        return over(asphalt(x, y, seed, 0.6), 220.0, 220.0, 214.0, bay, MARKING)
    if 2.8 <= abs(dv) < 5.0:
        return concrete(x, y, seed, 1.0)
    pu, pv = nearest(u - 95.0, 190.0), abs(dv) - 36.0
    if abs(pu) < 14.0 and pv > 0.0:
        if abs(pu) < 8.0:
            return shade_of(204.0, 184.0, 142.0, 0.12 * grain(x, y, 0.5, seed), SAND, 0.0)
        return concrete(x, y, seed, 1.0)
    if min(abs(nearest(u + v, 95.0)), abs(nearest(u - v + 30.0 * r0, 130.0))) < 1.1:
        return concrete(x, y, seed, 2.0)
    return grass(x, y, seed, 0.22 + 0.2 * r0)


@compiled
def industry(u: float, v: float, x: float, y: float, seed: int, r0: float) -> Cover:
    """Yards of patched concrete and asphalt, heaps of earth, weeds along the sidings."""
    tile = hash2(math.floor(u / 41.0), math.floor(v / 29.5), seed + int(r0 * 999.0))
    stain = smooth((value_noise(x, y, 17.0, seed + 81) - 0.55) * 4.0)
    if tile < 0.40:
        c = concrete(u, v, seed, 6.0)
    elif tile < 0.72:
        c = asphalt(x, y, seed, 0.7)
    elif tile < 0.88:
        c = gravel(x, y, seed, 0.25 + 0.7 * r0)
    else:
        c = grass(x, y, seed, 0.6)
    return shade_of(c[0], c[1], c[2], -0.22 * stain, c[3], c[4])


@compiled
def soccer(
    u: float, v: float, hu: float, hv: float, x: float, y: float, seed: int, step: float
) -> Cover:
    """A mown and marked pitch of half length ``hu`` and half width ``hv``."""
    band = 1.0 if math.floor((u + hu) / (hu / 8.0)) % 2 == 0 else -1.0
    k = (
        0.07 * band
        + 0.10 * grain(x, y, 0.5, seed + 91)
        + 0.1 * (value_noise(x, y, 9.0, seed) - 0.5)
    )
    turf = shade_of(70.0, 128.0, 58.0, k, PITCH, 0.0)
    side = max(abs(u) - hu, abs(v) - hv)
    mark = stripe(side, 0.12, step)
    if side < 0.0:
        mark = max(mark, stripe(u, 0.10, step))
        mark = max(mark, stripe(math.sqrt(u * u + v * v) - 0.27 * hv, 0.10, step))
        box = max(hu - 16.5 * hu / 52.5 - abs(u), abs(v) - 20.2 * hv / 34.0)
        mark = max(mark, stripe(box, 0.10, step))
        goal = max(hu - 5.5 * hu / 52.5 - abs(u), abs(v) - 9.2 * hv / 34.0)
        mark = max(mark, stripe(goal, 0.10, step))
    return over(turf, 236.0, 238.0, 232.0, 0.85 * mark, MARKING)


@compiled
def oval(u: float, v: float, x: float, y: float, seed: int, step: float, clay: float) -> Cover:
    """A running track around a pitch; material GRASS marks what is outside it."""
    r = math.sqrt(max(abs(u) - 42.0, 0.0) ** 2 + v * v)
    if r < 36.0:
        if abs(u) < 50.0 and abs(v) < 31.0:
            return soccer(u, v, 46.0, 28.0, x, y, seed, step)
        return grass(x, y, seed, 0.08)
    if r < 45.5:
        k = 0.12 * (value_noise(x, y, 6.0, seed) - 0.5) + 0.08 * grain(x, y, 0.5, seed)
        lane = 0.55 * stripe(nearest(r - 36.0, 1.22), 0.04, step)
        red = shade_of(178.0 - 20.0 * clay, 84.0 + 10.0 * clay, 66.0, k, TRACK, 0.0)
        return over(red, 232.0, 226.0, 218.0, lane, TRACK)
    return grass(x, y, seed, 0.15)


@compiled
def stadium(u: float, v: float, x: float, y: float, seed: int, step: float, r0: float) -> Cover:
    """Pitch and running strip inside the stands, paving and parking around them."""
    r = math.sqrt((u / STAND_U) ** 2 + (v / STAND_V) ** 2)
    if r < STAND_INNER:
        if abs(u) < PITCH_U + 3.0 and abs(v) < PITCH_V + 3.0:
            return soccer(u, v, PITCH_U, PITCH_V, x, y, seed, step)
        if r > 0.70:
            return shade_of(168.0, 82.0, 66.0, 0.1 * grain(x, y, 0.5, seed), TRACK, 0.0)
        return grass(x, y, seed, 0.05)
    if r < 1.18:
        return concrete(u, v, seed, 2.0)
    return car_park(u, v, x, y, seed, step) if v > 0.0 else grass(x, y, seed, 0.15 + 0.2 * r0)


@compiled
def car_park(u: float, v: float, x: float, y: float, seed: int, step: float) -> Cover:
    """Double rows of marked bays between driving lanes."""
    dv = abs(nearest(v, PARKING_PERIOD))
    base = asphalt(x, y, seed, 0.35)
    if abs(nearest(u, 52.0)) < 3.2:
        return base
    mark = stripe(dv, 0.06, step)
    if dv < BAY_DEPTH:
        mark = max(mark, stripe(nearest(u, BAY_WIDTH), 0.07, step))
    return over(base, 226.0, 226.0, 220.0, 0.8 * mark, MARKING)


@compiled
def school(u: float, v: float, x: float, y: float, seed: int, step: float, r0: float) -> Cover:
    """Yard of paving in front of the building, a small pitch, a running oval, lawns."""
    if abs(u) < SCHOOL_U + 2.0 and abs(v - 34.0) < SCHOOL_V + 2.0:
        return soccer(u, v - 34.0, SCHOOL_U, SCHOOL_V, x, y, seed, step)
    r = math.sqrt(max(abs(u) - 22.0, 0.0) ** 2 + (v - 34.0) ** 2)
    if 17.0 < r < 20.5:
        return shade_of(182.0, 92.0, 70.0, 0.1 * grain(x, y, 0.5, seed), TRACK, 0.0)
    if abs(u) < 46.0 and -16.0 < v < 8.0:
        square = math.floor(u / 11.0) + math.floor(v / 8.0)
        if r0 > 0.4 and square % 3 == 0 and v > -8.0:
            return shade_of(96.0, 132.0, 150.0, 0.06 * grain(x, y, 0.5, seed), PITCH, 0.0)
        return concrete(x, y, seed, 1.5) if r0 > 0.4 else asphalt(x, y, seed, 0.5)
    if abs(u) < 2.5 and v < 0.0:
        return concrete(x, y, seed, 1.5)
    return grass(x, y, seed, 0.12)


@compiled
def athletic(u: float, v: float, x: float, y: float, seed: int, step: float, r0: float) -> Cover:
    """A running track around a pitch, beside it courts for tennis and basketball."""
    if v > -50.0:
        return oval(u, v, x, y, seed, step, r0)
    cu, cv = nearest(u, 22.0), v + 74.0
    if abs(u) < 66.0 and abs(cv) < 17.0:
        court = max(abs(cu) - 5.5, abs(cv) - 11.9)
        mark = max(stripe(court, 0.1, step), stripe(cv, 0.08, step) if court < 0 else 0.0)
        kind = hash2(math.floor(u / 22.0 + 0.5), 3, seed + int(999 * r0))
        k = 0.06 * grain(x, y, 0.5, seed)
        inner = shade_of(76.0, 120.0, 150.0, k, PITCH, 0.0)
        if kind < 0.4:
            inner = shade_of(182.0, 98.0, 70.0, k, PITCH, 0.0)
        if court > 0.0:
            inner = shade_of(86.0, 128.0, 88.0, k, PITCH, 0.0)
        if abs(cu) > 10.7 or abs(cv) > 16.6:
            return 120.0, 128.0, 122.0, FENCE, 3.0
        return over(inner, 232.0, 232.0, 228.0, 0.8 * mark, MARKING)
    return grass(x, y, seed, 0.15)


@compiled
def rails(d: float, s: float, x: float, y: float, seed: int, step: float) -> Cover:
    """One track on ballast: two rails, sleepers; ``d`` metres across, ``s`` along."""
    base = gravel(x, y, seed, 0.12)
    sleeper = 0.5 * stripe(nearest(s, 1.2), 0.2, max(step, 0.5)) if abs(d) < 1.35 else 0.0
    base = over(base, 150.0, 142.0, 132.0, sleeper, GRAVEL)
    rail = stripe(abs(d) - 0.76, 0.10, max(step, 0.5))
    return over(base, 84.0, 70.0, 62.0, 0.85 * rail, RAIL)


@compiled
def yard(u: float, v: float, x: float, y: float, seed: int, step: float) -> Cover:
    """A rail yard: parallel tracks, stained ballast, weeds towards the edges."""
    a = abs(nearest(v, YARD))
    if a > YARD_HALF + 2.0:
        return grass(x, y, seed, 0.55) if a > YARD_HALF + 9.0 else gravel(x, y, seed, 0.4)
    c = rails(nearest(v, TRACKS), u, x, y, seed, step)
    k = -0.25 * smooth((value_noise(x, y, 21.0, seed + 95) - 0.5) * 4.0)
    return shade_of(c[0], c[1] * 0.98, c[2] * 0.96, k, c[3], c[4])


@compiled
def downtown(u: float, v: float, x: float, y: float, seed: int, r0: float) -> Cover:
    """Pavements along the streets, courtyards inside the blocks."""
    du, dv = abs(nearest(u, 108.0)), abs(nearest(v, 84.0))
    if min(du, dv) < 9.0:
        return concrete(u, v, seed, 1.0)
    block = hash2(math.floor(u / 108.0), math.floor(v / 84.0), seed + 97)
    if block < 0.45:
        return asphalt(x, y, seed, 0.6)
    if block < 0.75:
        return grass(x, y, seed, 0.3 + 0.2 * r0)
    return concrete(x, y, seed, 1.0)


@compiled
def cemetery(u: float, v: float, x: float, y: float, seed: int, r0: float) -> Cover:
    """Rows of graves with headstones, gravel walks between the fields."""
    if abs(nearest(u, 46.0)) < 1.6 or abs(nearest(v, 34.0)) < 1.4:
        return gravel(x, y, seed, 0.8)
    gu, gv = nearest(u, GRAVE_U), nearest(v, GRAVE_V)
    chance = hash2(math.floor(u / GRAVE_U + 0.5), math.floor(v / GRAVE_V + 0.5), seed)
    if chance < 0.82 and abs(gu) < 0.8 and abs(gv) < 1.15:
        if gv > 0.6:
            tone = 0.45 + 0.75 * hash2(int(chance * 99999.0), 1, seed)
            return 160.0 * tone, 158.0 * tone, 160.0 * tone, CONCRETE, 0.7 + 0.7 * chance
        if chance < 0.2:
            hue = hash2(int(chance * 99999.0), 2, seed)
            return 150.0 + 80.0 * hue, 90.0, 80.0 + 60.0 * (1.0 - hue), CROP, 0.2
        tone = 0.75 + 0.35 * chance
        return 176.0 * tone, 170.0 * tone, 160.0 * tone, CONCRETE, 0.15
    return grass(x, y, seed, 0.22 + 0.3 * r0)


@compiled
def lake(zone: float, x: float, y: float, seed: int) -> Cover:
    """Water with a shore of sand or reeds; ``zone``: metres to the edge of the lake's plots."""
    shore = zone - 34.0 - 26.0 * (value_noise(x, y, 70.0, seed + 101) - 0.5)
    if shore > 0.0:
        deep = smooth(shore / 60.0)
        k = 0.06 * (value_noise(x, y, 30.0, seed + 102) - 0.5) + 0.03 * grain(x, y, 0.5, seed)
        return shade_of(78.0 - 30.0 * deep, 96.0 - 28.0 * deep, 84.0 - 10.0 * deep, k, WATER, 0.0)
    if value_noise(x, y, 90.0, seed + 103) > 0.55:
        if shore > -9.0:
            return shade_of(212.0, 196.0, 156.0, 0.1 * grain(x, y, 0.5, seed), SAND, 0.0)
    elif shore > -5.0:
        k = 0.3 * grain(x, y, 0.5, seed)
        return shade_of(112.0, 118.0, 62.0, k, CROP, 1.6)
    return grass(x, y, seed, 0.2)
