"""What stands in each kind of plot of the town."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from . import districts as D
from .layout import Layout, Plot
from .noise import compiled, value_noise
from .objects import Shape
from .placing import (
    BITUMEN,
    PAINT,
    ROOFS,
    WALLS,
    Spot,
    park_cars,
    plant,
    scatter_trees,
    tinted,
)  # fmt: skip
from .scene import Material

F64 = NDArray[np.float64]


def rows(spot: Spot, period: float, reach: float = 290.0) -> range:
    """Numbers of the streets (every ``period`` metres of ``v``) that may touch the plot."""
    return range(math.ceil((spot.cv - reach) / period), math.floor((spot.cv + reach) / period) + 1)


def columns(spot: Spot, period: float, reach: float = 290.0) -> range:
    """Numbers of the columns (every ``period`` metres of ``u``) that may touch the plot."""
    return range(math.ceil((spot.cu - reach) / period), math.floor((spot.cu + reach) / period) + 1)


def line_houses(spot: Spot, lot: float, row: float, setback: float, share: float) -> None:
    """Houses along the streets of the plot, one a lot, with sheds behind and trees around."""
    rng = spot.rng
    n = np.array(list(columns(spot, lot)), float)
    for k in rows(spot, row):
        for side in (-1.0, 1.0):
            u = (n + 0.5) * lot - 2.0 + rng.uniform(-1.2, 1.2, n.size)
            hu, hv = rng.uniform(4.6, 6.6, n.size), rng.uniform(3.8, 5.4, n.size)
            v = k * row + side * (setback + hv + rng.uniform(0, 3.5, n.size))
            lucky, shed = rng.uniform(0, 1, (2, n.size))
            free = spot.fits(u, v, hu, hv, 1.5) & (spot.street(u, v) > 6.5)
            free &= lucky < share
            _houses(spot, u[free], v[free], hu[free], hv[free])
            su, sv = u + 3.0, v + side * rng.uniform(12.0, 17.0, n.size)
            free &= (shed < 0.7) & spot.fits(su, sv, 2.6, 2.0, 1.0)
            color = tinted(rng, ROOFS, int(free.sum()), 0.2)
            if free.any():
                spot.build(Shape.GABLE, su[free], sv[free], 2.6, 1.9, 2.3, color, 0.7)


def _houses(spot: Spot, u: F64, v: F64, hu: F64, hv: F64) -> None:
    rng, n = spot.rng, len(u)
    if n == 0:
        return
    color, eave = tinted(rng, ROOFS, n, 0.15), rng.choice([3.0, 3.4, 5.8, 6.2], n)
    kind, wing = rng.uniform(0, 1, (2, n))
    for shape, chosen in ((Shape.GABLE, kind < 0.62), (Shape.HIP, kind >= 0.62)):
        if chosen.any():
            rise = hv[chosen] * rng.uniform(0.5, 0.85, int(chosen.sum()))
            spot.build(
                shape, u[chosen], v[chosen], hu[chosen], hv[chosen], eave[chosen], color[chosen], rise
            )
    winged = wing < 0.4
    if winged.any():
        wu = u[winged] + np.where(wing[winged] < 0.2, -1, 1) * 2.4
        size = hv[winged] * 0.62
        spot.build(
            Shape.GABLE, wu, v[winged] + 0.9, size + 1.9, size, eave[winged] - 0.3, color[winged],
            size * 0.6, math.pi / 2,
        )  # fmt: skip


def houses(spot: Spot) -> None:
    """Streets of town houses with gardens."""
    line_houses(spot, D.HOUSE_LOT, D.STREETS[D.HOUSES, 1], 9.5, 0.93)
    _street_rows(spot, 4.6, 9.0, 0.8)
    u, v = spot.lattice(8.5)
    keep = (spot.rng.uniform(0, 1, u.shape) < 0.5) & (spot.clear(u, v) > 1.5)
    keep &= spot.street(u, v) > 21.0
    plant(spot.bag, spot.rng, *spot.world(u[keep], v[keep]), 0.62, 0.06)


def village(spot: Spot) -> None:
    """Village streets: houses, sheds, orchards at the head of long gardens."""
    line_houses(spot, D.VILLAGE_LOT, D.STREETS[D.VILLAGE, 1], 11.0, 0.88)
    _street_rows(spot, 5.0, 14.0, 0.45)
    u, v = spot.lattice(8.0)
    chance = spot.rng.uniform(0, 1, u.shape)
    depth = spot.street(u, v)
    keep = (spot.clear(u, v) > 1.5) & (depth > 20.0) & (chance < np.where(depth < 45.0, 0.42, 0.07))
    plant(spot.bag, spot.rng, *spot.world(u[keep], v[keep]), 0.58, 0.03)


def _street_rows(spot: Spot, off: float, spacing: float, share: float) -> None:
    """Trees on both verges of the plot's streets, and a few parked cars."""
    half, row, _ = D.STREETS[spot.plot.landuse]
    u = np.arange(math.floor((spot.cu - 290) / spacing), (spot.cu + 290) / spacing) * spacing
    for k in rows(spot, row):
        for side in (-1.0, 1.0):
            v = np.full(u.shape, k * row + side * off)
            chance = spot.rng.uniform(0, 1, u.shape)
            jitter = spot.rng.uniform(-1.5, 1.5, u.shape)
            keep = (spot.clear(u + jitter, v) > 1.0) & (spot.street(u + jitter, v) > 0.6)
            trees, cars = keep & (chance < share), keep & (chance > 0.86)
            plant(spot.bag, spot.rng, *spot.world(u[trees] + jitter[trees], v[trees]), 0.85, 0.02)
            x, y = spot.world(u[cars], v[cars] - side * (off - half + 1.2))
            park_cars(spot.bag, spot.rng, x, y, spot.plot.angle)


def estate(spot: Spot) -> None:
    """Slab blocks of 9 floors and towers of 16 around yards, parked cars, trees."""
    rng = spot.rng
    floors = 5 if spot.plot.rnd[1] < 0.25 else 9
    for k in rows(spot, 88.0):
        for m in columns(spot, 95.0):
            u, v = (m + 0.5) * 95.0, k * 88.0
            chance, pick = rng.uniform(0, 1, 2)
            tall = 3.0 * floors + rng.choice([0.0, 0.0, 3.0])
            _slab(spot, u, v + 22.0, rng.uniform(33, 40), 6.4, tall, 0.0)
            if chance < 0.45:
                _slab(spot, u - 36.0, v + 52.0, 17.0, 6.4, tall, math.pi / 2)
            elif chance < 0.62:
                _slab(spot, u + 30.0, v + 58.0, 11.5, 11.0, 49.0, 0.0)
            elif chance < 0.75:
                _slab(spot, u + 20.0, v + 58.0, 17.0, 8.5, 6.8, 0.0)
            if pick < 0.5:
                _garages(spot, u - 30.0, v + 73.0)
    bays = np.arange(math.floor((spot.cu - 290) / 2.6), (spot.cu + 290) / 2.6) * 2.6 + 1.3
    for k in rows(spot, 88.0):
        v = np.full(bays.shape, k * 88.0 + 5.4)
        keep = (rng.uniform(0, 1, bays.shape) < 0.5) & (spot.clear(bays, v) > 3.0)
        keep &= spot.street(bays, v) > 0.5
        x, y = spot.world(bays[keep], v[keep])
        park_cars(spot.bag, rng, x, y, spot.plot.angle + math.pi / 2)
    scatter = spot.lattice(9.0)
    _yard_trees(spot, *scatter)


def _slab(spot: Spot, u: float, v: float, hu: float, hv: float, top: float, turn: float) -> None:
    """One block of flats with lift rooms on its roof, where there is room."""
    rng = spot.rng
    color = tinted(rng, BITUMEN, 1)
    pots = rng.uniform(-0.1, 0.1, 3)
    if not spot.fits(np.array([u]), np.array([v]), hu, hv, 3.0, turn)[0]:
        return
    number = spot.build(Shape.FLAT, u, v, hu, hv, top, color, 0.0, turn)
    for share in (-0.62, 0.0, 0.62) if hu > 16 else (0.0,):
        off = (share + pots[0] * 0.3) * hu
        x, y = spot.world(u + off * math.cos(turn), v + off * math.sin(turn))
        spot.bag.add(
            Shape.PLAIN, x, y, spot.plot.angle + turn, 2.6, 2.0, top + 2.8, color * 0.86,
            Material.ROOF, building=number,
        )  # fmt: skip


def _garages(spot: Spot, u: float, v: float) -> None:
    """A row of garages."""
    if spot.fits(np.array([u]), np.array([v]), 20.0, 3.0, 1.5)[0]:
        number = np.arange(-3, 4)
        color = tinted(spot.rng, BITUMEN, 7, 0.12)
        spot.build(Shape.PLAIN, u + number * 5.6, v, 2.75, 3.0, 2.6, color)


def _yard_trees(spot: Spot, u: F64, v: F64) -> None:
    dv = v - np.round(v / 88.0) * 88.0
    open_ground = np.abs(dv) > 11.0
    keep = (spot.rng.uniform(0, 1, u.shape) < 0.40) & open_ground
    keep &= (spot.clear(u, v) > 1.0) & (spot.street(u, v) > 2.0)
    plant(spot.bag, spot.rng, *spot.world(u[keep], v[keep]), 0.95, 0.04)


def downtown(spot: Spot) -> None:
    """Blocks of houses wall to wall around courtyards; a church or a square here and there."""
    rng = spot.rng
    for k in rows(spot, 84.0):
        for m in columns(spot, 108.0):
            u, v = (m + 0.5) * 108.0, (k + 0.5) * 84.0
            chance = rng.uniform()
            if chance < 0.10:
                _church(spot, u, v)
            elif chance > 0.17:
                _block(spot, u, v, 45.0, 33.0, 6.2)
    u, v = spot.lattice(8.0)
    dv, du = v - np.floor(v / 84.0) * 84.0 - 42.0, u - np.floor(u / 108.0) * 108.0 - 54.0
    inner = (np.abs(dv) < 18.0) & (np.abs(du) < 30.0)
    chance = spot.rng.uniform(0, 1, u.shape)
    free = spot.clear(u, v) > 2.0
    keep = inner & free & (chance < 0.30)
    plant(spot.bag, rng, *spot.world(u[keep], v[keep]), 0.8, 0.03)
    cars = inner & free & (chance > 0.80)
    park_cars(spot.bag, rng, *spot.world(u[cars], v[cars]), spot.plot.angle)
    _street_rows(spot, 7.4, 10.0, 0.5)


def _block(spot: Spot, u: float, v: float, hu: float, hv: float, deep: float) -> None:
    """Houses around a courtyard, each with its own height and roof."""
    rng = spot.rng
    for turn, half, off in ((0.0, hu, hv - deep), (math.pi / 2, hv - 2 * deep, hu - deep)):
        for side in (-1.0, 1.0):
            at = -half
            while at < half - 5.0:
                long = min(rng.uniform(6.5, 13.0), (half - at) / 2)
                if half - at - 2 * long < 7.0:
                    long = (half - at) / 2
                a, b = at + long, side * off
                du, dv = (a, b) if turn == 0.0 else (b, a)
                _town_house(spot, u + du, v + dv, long, deep, turn)
                at += 2 * long


def _town_house(spot: Spot, u: float, v: float, hu: float, hv: float, turn: float) -> None:
    rng = spot.rng
    top = rng.choice([9.6, 12.8, 12.8, 16.0, 16.0, 19.2]) + rng.uniform(-0.6, 0.6)
    kind, gap, rise = rng.uniform(0, 1, 3)
    color = tinted(rng, ROOFS if kind < 0.75 else BITUMEN, 1, 0.14)
    if gap < 0.07 or not spot.fits(np.array([u]), np.array([v]), hu, hv, 1.0, turn)[0]:
        return
    shape = Shape.GABLE if kind < 0.62 else (Shape.HIP if kind < 0.75 and hu >= hv else Shape.FLAT)
    spot.build(shape, u, v, hu, hv, top, color, 2.0 + 2.0 * rise, turn)


def _church(spot: Spot, u: float, v: float) -> None:
    """A church with green or golden domes on a square with trees."""
    if not spot.fits(np.array([u]), np.array([v]), 18.0, 12.0, 2.0)[0]:
        return
    roof_color = [92, 128, 104] if spot.plot.rnd[2] < 0.5 else [120, 122, 128]
    spot.build(Shape.GABLE, u, v, 16.0, 6.5, 11.0, roof_color, 4.0)
    spot.build(Shape.GABLE, u, v, 11.0, 5.0, 11.0, roof_color, 4.0, math.pi / 2)
    for du, dv, r, h in ((0, 0, 4.6, 26), (9, 0, 2.4, 20), (-9, 0, 2.4, 20), (0, 7, 2.4, 20), (0, -7, 2.4, 20)):
        spot.build(Shape.DOME, u + du, v + dv, r, r, h, [206, 168, 74])
    angle = np.arange(0, 2 * math.pi, 0.35)
    x, y = spot.world(u + 34 * np.cos(angle), v + 25 * np.sin(angle))
    plant(spot.bag, spot.rng, x, y, 1.0, 0.0)


def industry(spot: Spot) -> None:
    """Halls, tanks, containers, a chimney, lorries."""
    rng = spot.rng
    for k in rows(spot, 118.0):
        for m in columns(spot, 164.0):
            u, v = (m + 0.5) * 164.0, (k + 0.5) * 118.0
            for du in (-38.0, 38.0):
                for dv in (-27.0, 27.0):
                    _works(spot, u + du, v + dv, rng.uniform(), rng.uniform(0, 1, 6))
    u, v = spot.lattice(24.0)
    free = (spot.clear(u, v) > 6.0) & (spot.street(u, v) > 1.0)
    cars = free & (rng.uniform(0, 1, u.shape) < 0.35)
    x, y = spot.world(u[cars], v[cars])
    park_cars(spot.bag, rng, x, y, spot.plot.angle + rng.choice([0, math.pi / 2], len(x)), 0.5)
    scatter_trees(spot, 15.0, 0.10, 0.7)


def _works(spot: Spot, u: float, v: float, chance: float, r: F64) -> None:
    """One quarter of an industrial block: a hall, tanks or stacked containers."""
    rng = spot.rng
    if chance < 0.62:
        hu, hv = 20.0 + 14.0 * r[0], 13.0 + 9.0 * r[1]
        if not spot.fits(np.array([u]), np.array([v]), hu, hv, 4.0)[0]:
            hu, hv = 13.0, 9.0
        if spot.fits(np.array([u]), np.array([v]), hu, hv, 3.0)[0]:
            shape = (Shape.FLAT, Shape.GABLE, Shape.SAW)[int(r[2] * 2.999)]
            rise = 0.0 if shape == Shape.FLAT else 2.6
            color = tinted(rng, WALLS, 1, 0.12)
            spot.build(shape, u, v, hu, hv, 7.0 + 6.0 * r[3], color, rise)
            if r[4] < 0.35:
                spot.build(Shape.PLAIN, u, v - hv - 3.0, hu * 0.5, 3.0, 5.0, color * 0.9)
    elif chance < 0.80:
        radius = 5.0 + 4.5 * r[0]
        du, dv = np.meshgrid(np.array([-1.25, 0.0, 1.25]) * 2 * radius, np.array([-1.2, 1.2]) * radius)
        du, dv = u + du.ravel(), v + dv.ravel()
        free = spot.fits(du, dv, radius, radius, 3.0)
        if free.any():
            tone = [208, 208, 202] if r[1] < 0.6 else [150, 120, 100]
            spot.build(
                Shape.CYLINDER, du[free], dv[free], radius, radius, 7.0 + 8.0 * r[2], tone,
                material=Material.METAL,
            )  # fmt: skip
        if r[3] < 0.5 and spot.clear(u + 26.0, v + 20.0) > 4.0:
            spot.build(Shape.CYLINDER, u + 26.0, v + 20.0, 2.0, 2.0, 46.0, [150, 96, 82])
    else:
        du, dv = np.meshgrid(np.arange(-3, 4) * 6.4, np.arange(-3, 4) * 3.4)
        du, dv = u + du.ravel(), v + dv.ravel()
        free = spot.fits(du, dv, 3.0, 1.2, 3.0) & (rng.uniform(0, 1, du.shape) < 0.7)
        n = int(free.sum())
        if n:
            x, y = spot.world(du[free], dv[free])
            top = 2.6 * rng.integers(1, 4, n)
            spot.bag.add(
                Shape.PLAIN, x, y, spot.plot.angle, 3.0, 1.2, top, tinted(rng, PAINT, n, 0.2),
                Material.METAL,
            )  # fmt: skip


def school(spot: Spot) -> None:
    """A school of three storeys in the shape of an H or a U, trees along the fence."""
    u, v = spot.cu, spot.cv
    color = tinted(spot.rng, BITUMEN, 1)
    tall = 10.5 if spot.plot.rnd[1] < 0.7 else 14.0
    spot.build(Shape.FLAT, u, v - 28.0, 37.0, 7.5, tall, color)
    spot.build(Shape.FLAT, u - 29.0, v - 46.0, 7.5, 12.0, tall, color)
    spot.build(Shape.FLAT, u + 29.0, v - 46.0, 7.5, 12.0, tall, color)
    if spot.plot.rnd[2] < 0.5:
        spot.build(Shape.FLAT, u, v - 44.0, 9.0, 11.0, 7.5, color * 1.1)
    _rim_trees(spot, 60.0, 58.0, 7.5, 0.62)


def _rim_trees(spot: Spot, hu: float, hv: float, spacing: float, share: float) -> None:
    """Trees everywhere but in the middle rectangle of the plot."""
    u, v = spot.lattice(spacing)
    keep = spot.rng.uniform(0, 1, u.shape) < share
    keep &= (np.abs(u - spot.cu) > hu) | (np.abs(v - spot.cv) > hv)
    keep &= spot.clear(u, v) > 1.5
    plant(spot.bag, spot.rng, *spot.world(u[keep], v[keep]), 0.95, 0.08)


def stadium(spot: Spot) -> None:
    """An oval of stands, floodlights, cars in front."""
    hu, hv = D.STAND
    color = np.array([[64, 98, 168], [196, 176, 72], [176, 70, 62], [110, 128, 140]], float)
    seats = color[int(spot.plot.rnd[1] * 3.999)]
    x, y = spot.world(spot.cu, spot.cv)
    number = spot.ids(1)
    spot.bag.add(
        Shape.STAND, x, y, spot.plot.angle, hu, hv, 13.0, seats, Material.CONCRETE,
        building=number, aux=D.STAND_INNER,
    )  # fmt: skip
    for su in (-1.0, 1.0):
        for sv in (-1.0, 1.0):
            spot.build(
                Shape.PLAIN, spot.cu + su * 70.0, spot.cv + sv * 56.0, 1.0, 1.0, 38.0,
                [200, 202, 204], material=Material.METAL,
            )  # fmt: skip
    _bays(spot, spot.cv + hv * 1.2)
    u, v = spot.lattice(8.0)
    r = np.hypot((u - spot.cu) / hu, (v - spot.cv) / hv)
    keep = (r > 1.2) & (v < spot.cv) & (spot.clear(u, v) > 1.5)
    keep &= spot.rng.uniform(0, 1, u.shape) < 0.5
    plant(spot.bag, spot.rng, *spot.world(u[keep], v[keep]), 0.9)


def _bays(spot: Spot, south: float, share: float = 0.55, taken: F64 | None = None) -> None:
    """Cars in the marked bays of a car park laid out around the plot's middle."""
    wide, deep = D.BAY
    m = np.arange(-105, 105)
    for k in range(-16, 17):
        for side in (-1.0, 1.0):
            u = spot.cu + (m + 0.5) * wide
            v = np.full(u.shape, spot.cv + k * D.PARKING_PERIOD + side * deep / 2)
            keep = (spot.rng.uniform(0, 1, u.shape) < share) & (spot.clear(u, v) > 2.6) & (v > south)
            lane = u - spot.cu
            keep &= np.abs(lane - np.round(lane / 52.0) * 52.0) > 4.4
            if taken is not None:
                keep &= (np.abs(u - taken[0]) > taken[2]) | (np.abs(v - taken[1]) > taken[3])
            x, y = spot.world(u[keep], v[keep])
            turned = spot.plot.angle + math.pi / 2
            park_cars(spot.bag, spot.rng, x, y, np.full(len(x), turned))


def parking(spot: Spot) -> None:
    """A large car park in front of a supermarket."""
    hall = np.array([spot.cu, spot.cv + 56.0, 46.0, 26.0])
    if spot.fits(hall[:1], hall[1:2], hall[2], hall[3], 3.0)[0]:
        color = tinted(spot.rng, np.array([[206, 206, 202], [170, 172, 176], [186, 178, 160]]), 1)
        spot.build(Shape.FLAT, hall[0], hall[1], hall[2], hall[3], 9.0, color)
    else:
        hall = np.array([0.0, 0.0, -1.0, -1.0])
    _bays(spot, -1e9, 0.35 + 0.4 * spot.plot.rnd[2], hall + np.array([0, 0, 3.0, 3.0]))
    u, v = spot.lattice(14.0, 0.2)
    keep = (spot.clear(u, v) > 0.5) & (spot.clear(u, v) < 8.0)
    plant(spot.bag, spot.rng, *spot.world(u[keep], v[keep]), 0.6)


def athletic(spot: Spot) -> None:
    """Trees around the track and the courts, a low club house, a small stand."""
    spot.build(Shape.FLAT, spot.cu, spot.cv + 66.0, 24.0, 4.0, 5.0, tinted(spot.rng, BITUMEN, 1))
    _rim_trees(spot, 92.0, 82.0, 7.5, 0.6)


def cemetery(spot: Spot) -> None:
    """Old trees over the graves, a chapel."""
    if spot.fits(np.array([spot.cu]), np.array([spot.cv]), 9, 9, 2.0)[0]:
        spot.build(Shape.GABLE, spot.cu, spot.cv, 8.0, 4.5, 6.0, [96, 120, 110], 3.0)
        spot.build(Shape.DOME, spot.cu, spot.cv, 2.2, 2.2, 15.0, [206, 168, 74])
    scatter_trees(spot, 13.0, 0.42, 1.05, 1.0, 0.25)


@compiled
def clumps(u: F64, v: F64) -> F64:
    """Where trees stand together: noise in [0, 1) at points of a park's frame."""
    out = np.empty(u.size)
    for n in range(u.size):
        out[n] = value_noise(u[n], v[n], 55.0, 5)
    return out


def park(spot: Spot) -> None:
    """Groups of old trees between lawns."""
    u, v = spot.lattice(7.5)
    noise = clumps(u, v)
    winding = v - 16.0 * np.sin(u / 37.0)
    across = u - 13.0 * np.sin(v / 43.0)
    off = np.minimum(
        np.abs(winding - np.round(winding / 82.0) * 82.0),
        np.abs(across - np.round(across / 108.0) * 108.0),
    )
    keep = (noise + spot.rng.uniform(-0.25, 0.25, u.shape) > 0.48) & (off > 2.5)
    ru, rv = u - 30.0 * spot.plot.rnd[0], v + 20.0 * spot.plot.rnd[0]
    ring = np.hypot(ru - np.round(ru / 290.0) * 290.0, rv - np.round(rv / 250.0) * 250.0)
    keep &= (spot.clear(u, v) > 2.0) & (ring > 36.0)
    plant(spot.bag, spot.rng, *spot.world(u[keep], v[keep]), 1.15, 0.12)


def rail_yard(spot: Spot) -> None:
    """Freight wagons on the tracks, a shed and a signal box beside them."""
    rng = spot.rng
    for k in rows(spot, D.TRACKS):
        v = k * D.TRACKS
        band = v - round(v / D.YARD) * D.YARD
        if abs(band) > D.YARD_HALF - 3.0:
            continue
        u = np.arange(math.floor((spot.cu - 290) / 15.2), (spot.cu + 290) / 15.2) * 15.2
        taken = np.repeat(rng.uniform(0, 1, u.size // 9 + 1) < 0.42, 9)[: u.size]
        keep = taken & spot.fits(u, np.full(u.shape, v), 7.0, 1.5, 2.0)
        n = int(keep.sum())
        if n:
            x, y = spot.world(u[keep], np.full(n, v))
            color = np.repeat(tinted(rng, _WAGONS, 1), n, axis=0) * rng.uniform(0.75, 1.15, (n, 1))
            spot.bag.add(Shape.PLAIN, x, y, spot.plot.angle, 6.9, 1.5, 4.0, color, Material.METAL)
    base = round(spot.cv / D.YARD) * D.YARD
    for u in (-70.0, 10.0, 80.0):
        where = np.array([spot.cu + u]), np.array([base + D.YARD_HALF + 14.0])
        if spot.fits(*where, 22.0, 8.0, 2.0)[0]:
            spot.build(Shape.GABLE, *where, 22.0, 7.0, 6.5, tinted(rng, WALLS, 1), 2.2)


_WAGONS = np.array([[112, 70, 58], [86, 84, 84], [126, 112, 92], [72, 86, 100], [150, 148, 140]], float)


def forest(spot: Spot) -> None:
    """A closed canopy of broadleaf trees with gaps along the ride."""
    u, v = spot.lattice(5.6, 0.4)
    ride = v - spot.cv - 9.0 * np.sin((u - spot.cu) / 47.0 + 6.0 * spot.plot.rnd[0])
    keep = (spot.clear(u, v) > 0.5) & (np.abs(ride) > 3.2)
    keep &= spot.rng.uniform(0, 1, u.shape) < 0.94
    plant(spot.bag, spot.rng, *spot.world(u[keep], v[keep]), 1.35, 0.05)


def pasture(spot: Spot) -> None:
    """Bushes, single trees, a few bales."""
    scatter_trees(spot, 34.0, 0.22, 0.7)
    scatter_trees(spot, 17.0, 0.10, 0.3, 1.0, 0.0)


def wheat(spot: Spot) -> None:
    """Round bales on a part of the strips, in some fields."""
    if spot.plot.rnd[3] < 0.5:
        return
    u, v = spot.lattice(26.0)
    keep = (spot.clear(u, v) > 6.0) & (spot.rng.uniform(0, 1, u.shape) < 0.35)
    x, y = spot.world(u[keep], v[keep])
    turn = spot.rng.uniform(0, 3.1, len(x))
    spot.bag.add(Shape.PLAIN, x, y, turn, 0.8, 0.75, 1.5, [206, 180, 116], Material.CROP)


def lake(spot: Spot) -> None:
    """Willows and bushes around the shore."""
    edges = spot.clear(*(grid := spot.lattice(9.0)))
    keep = (edges > 1.0) & (edges < 17.0) & (spot.rng.uniform(0, 1, edges.shape) < 0.5)
    plant(spot.bag, spot.rng, *spot.world(grid[0][keep], grid[1][keep]), 0.9, 0.0)


FURNISH: dict[int, Callable[[Spot], None]] = {
    D.WHEAT: wheat, D.PASTURE: pasture, D.FOREST: forest, D.LAKE: lake, D.PARK: park,
    D.HOUSES: houses, D.ESTATE: estate, D.INDUSTRY: industry, D.SCHOOL: school,
    D.STADIUM: stadium, D.ATHLETIC: athletic, D.RAILWAY: rail_yard, D.VILLAGE: village,
    D.PARKING: parking, D.DOWNTOWN: downtown, D.CEMETERY: cemetery,
}  # fmt: skip


def furnish(layout: Layout, plot: Plot) -> F64:
    """Objects ``(n, COLUMNS)`` of a plot and of its side of the roads around it."""
    from .roadside import line_edges

    spot = Spot(layout, plot)
    FURNISH.get(plot.landuse, lambda _: None)(spot)
    line_edges(spot)
    return spot.bag.array()
