"""The objects in each kind of plot: houses, trees, parked cars, wagons."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from . import districts as D  # noqa: N812
from .buildings import downtown, estate, industry
from .compiling import compiled
from .layout import Layout, Plot
from .noise import value_noise
from .objects import Shape
from .placing import (
    BITUMEN,
    ROOFS,
    WALLS,
    Spot,
    columns,
    park_cars,
    plant,
    rows,
    scatter_trees,
    street_rows,
    tinted,
)
from .roadside import line_edges
from .scene import Material

F64 = NDArray[np.float64]


def line_houses(spot: Spot, lot: float, row: float, setback: float, share: float) -> None:
    """Houses along the streets of the plot, one per lot, with sheds behind and trees around."""
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
                shape,
                u[chosen],
                v[chosen],
                hu[chosen],
                hv[chosen],
                eave[chosen],
                color[chosen],
                rise,
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
    street_rows(spot, 4.6, 9.0, 0.8)
    u, v = spot.lattice(8.5)
    keep = (spot.rng.uniform(0, 1, u.shape) < 0.5) & (spot.clear(u, v) > 1.5)
    keep &= spot.street(u, v) > 21.0
    plant(spot.bag, spot.rng, *spot.world(u[keep], v[keep]), 0.62, 0.06)


def village(spot: Spot) -> None:
    """Village streets: houses, sheds, orchards at the head of long gardens."""
    line_houses(spot, D.VILLAGE_LOT, D.STREETS[D.VILLAGE, 1], 11.0, 0.88)
    street_rows(spot, 5.0, 14.0, 0.45)
    u, v = spot.lattice(8.0)
    chance = spot.rng.uniform(0, 1, u.shape)
    depth = spot.street(u, v)
    keep = (spot.clear(u, v) > 1.5) & (depth > 20.0) & (chance < np.where(depth < 45.0, 0.42, 0.07))
    plant(spot.bag, spot.rng, *spot.world(u[keep], v[keep]), 0.58, 0.03)


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
    _rim_trees(spot, 60.0, 62.0, 9.0, 0.34)


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


def _bays(spot: Spot, south: float, share: float = 0.55, hall: F64 | None = None) -> None:
    """Cars in the marked bays of a car park laid out around the plot's middle."""
    wide, deep = D.BAY
    m = np.arange(-105, 105)
    for k in range(-16, 17):
        for side in (-1.0, 1.0):
            u = spot.cu + (m + 0.5) * wide
            v = np.full(u.shape, spot.cv + k * D.PARKING_PERIOD + side * deep / 2)
            keep = (
                (spot.rng.uniform(0, 1, u.shape) < share) & (spot.clear(u, v) > 2.6) & (v > south)
            )
            lane = u - spot.cu
            keep &= np.abs(lane - np.round(lane / 52.0) * 52.0) > 4.4
            if hall is not None:
                keep &= (np.abs(u - hall[0]) > hall[2]) | (np.abs(v - hall[1]) > hall[3])
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
    u, v = np.meshgrid(np.arange(-6, 7) * 52.0 + 4.2, np.arange(-16, 17) * D.PARKING_PERIOD)
    u, v = spot.cu + np.append(u, u - 8.4), spot.cv + np.append(v, v)
    keep = (spot.clear(u, v) > 1.0) & (spot.rng.uniform(0, 1, u.shape) < 0.8)
    keep &= (np.abs(u - hall[0]) > hall[2] + 4.0) | (np.abs(v - hall[1]) > hall[3] + 4.0)
    plant(spot.bag, spot.rng, *spot.world(u[keep], v[keep]), 0.6, 0.0)


def athletic(spot: Spot) -> None:
    """Trees around the track and the courts, a low club house, a small stand."""
    spot.build(Shape.FLAT, spot.cu, spot.cv + 66.0, 24.0, 4.0, 5.0, tinted(spot.rng, BITUMEN, 1))
    _rim_trees(spot, 92.0, 86.0, 8.0, 0.40)


def cemetery(spot: Spot) -> None:
    """Old trees over the graves, a chapel."""
    if spot.fits(spot.cu, spot.cv, 9, 9, 2.0)[0]:
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
        wagons = np.repeat(rng.uniform(0, 1, u.size // 9 + 1) < 0.42, 9)[: u.size]
        keep = wagons & spot.fits(u, np.full(u.shape, v), 7.0, 1.5, 2.0)
        n = int(keep.sum())
        if n:
            x, y = spot.world(u[keep], np.full(n, v))
            color = np.repeat(tinted(rng, _WAGONS, 1), n, axis=0) * rng.uniform(0.75, 1.15, (n, 1))
            spot.bag.add(Shape.PLAIN, x, y, spot.plot.angle, 6.9, 1.5, 4.0, color, Material.METAL)
    base = round(spot.cv / D.YARD) * D.YARD
    for off in (-70.0, 10.0, 80.0):
        where = np.array([spot.cu + off]), np.array([base + D.YARD_HALF + 14.0])
        if spot.fits(*where, 22.0, 8.0, 2.0)[0]:
            spot.build(Shape.GABLE, *where, 22.0, 7.0, 6.5, tinted(rng, WALLS, 1), 2.2)


_WAGONS = np.array(
    [[112, 70, 58], [86, 84, 84], [126, 112, 92], [72, 86, 100], [150, 148, 140]], float
)


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
    u, v = spot.lattice(9.0)
    shore = spot.shore(u, v)
    keep = (spot.clear(u, v) > 0.0) & (shore > 1.0) & (shore < 17.0)
    keep &= spot.rng.uniform(0, 1, u.shape) < 0.5
    plant(spot.bag, spot.rng, *spot.world(u[keep], v[keep]), 0.9, 0.0)


FURNISH: dict[int, Callable[[Spot], None]] = {
    D.WHEAT: wheat, D.PASTURE: pasture, D.FOREST: forest, D.LAKE: lake, D.PARK: park,
    D.HOUSES: houses, D.ESTATE: estate, D.INDUSTRY: industry, D.SCHOOL: school,
    D.STADIUM: stadium, D.ATHLETIC: athletic, D.RAILWAY: rail_yard, D.VILLAGE: village,
    D.PARKING: parking, D.DOWNTOWN: downtown, D.CEMETERY: cemetery,
}  # fmt: skip


def place_objects(layout: Layout, plot: Plot) -> F64:
    """Objects ``(n, COLUMNS)`` of a plot and of its side of the roads around it."""
    spot = Spot(layout, plot)
    if plot.landuse in FURNISH:
        FURNISH[plot.landuse](spot)
    line_edges(spot)
    return spot.bag.array()
