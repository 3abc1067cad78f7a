"""Blocks of flats, terraced town houses, factories: the objects in dense plots of the town."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .objects import Shape
from .placing import (
    BITUMEN,
    PAINT,
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
from .scene import Material

F64 = NDArray[np.float64]


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
        front = np.full(bays.shape, k * 88.0 + 5.4)
        keep = (rng.uniform(0, 1, bays.shape) < 0.5) & (spot.clear(bays, front) > 3.0)
        keep &= spot.street(bays, front) > 0.5
        x, y = spot.world(bays[keep], front[keep])
        park_cars(spot.bag, rng, x, y, spot.plot.angle + math.pi / 2)
    scatter = spot.lattice(9.0)
    _yard_trees(spot, *scatter)


def _slab(spot: Spot, u: float, v: float, hu: float, hv: float, top: float, turn: float) -> None:
    """One block of flats with lift rooms on its roof, if there is room."""
    rng = spot.rng
    color = tinted(rng, BITUMEN, 1)
    pots = rng.uniform(-0.1, 0.1, 3)
    if not spot.fits(u, v, hu, hv, 3.0, turn)[0]:
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
    if spot.fits(u, v, 20.0, 3.0, 1.5)[0]:
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
    """Blocks of terraced houses around courtyards; an occasional church or square."""
    rng = spot.rng
    for k in rows(spot, 84.0):
        for m in columns(spot, 108.0):
            middle = (m + 0.5) * 108.0, (k + 0.5) * 84.0
            lucky = rng.uniform()
            if lucky < 0.10:
                _church(spot, *middle)
            elif lucky > 0.17:
                _block(spot, *middle, 45.0, 33.0, 6.2)
    u, v = spot.lattice(8.0)
    dv, du = v - np.floor(v / 84.0) * 84.0 - 42.0, u - np.floor(u / 108.0) * 108.0 - 54.0
    inner = (np.abs(dv) < 18.0) & (np.abs(du) < 30.0)
    chance = spot.rng.uniform(0, 1, u.shape)
    free = spot.clear(u, v) > 2.0
    keep = inner & free & (chance < 0.30)
    plant(spot.bag, rng, *spot.world(u[keep], v[keep]), 0.8, 0.03)
    cars = inner & free & (chance > 0.80)
    park_cars(spot.bag, rng, *spot.world(u[cars], v[cars]), spot.plot.angle)
    street_rows(spot, 7.4, 10.0, 0.5)


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
    if gap < 0.07 or not spot.fits(u, v, hu, hv, 1.0, turn)[0]:
        return
    shape = Shape.GABLE if kind < 0.62 else (Shape.HIP if kind < 0.75 and hu >= hv else Shape.FLAT)
    spot.build(shape, u, v, hu, hv, top, color, 2.0 + 2.0 * rise, turn)


def _church(spot: Spot, u: float, v: float) -> None:
    """A church with green or golden domes on a square with trees."""
    if not spot.fits(u, v, 18.0, 12.0, 2.0)[0]:
        return
    roof_color = [92, 128, 104] if spot.plot.rnd[2] < 0.5 else [120, 122, 128]
    spot.build(Shape.GABLE, u, v, 16.0, 6.5, 11.0, roof_color, 4.0)
    spot.build(Shape.GABLE, u, v, 11.0, 5.0, 11.0, roof_color, 4.0, math.pi / 2)
    for du, dv, r, h in (
        (0, 0, 4.6, 26),
        (9, 0, 2.4, 20),
        (-9, 0, 2.4, 20),
        (0, 7, 2.4, 20),
        (0, -7, 2.4, 20),
    ):
        spot.build(Shape.DOME, u + du, v + dv, r, r, h, [206, 168, 74])
    angle = np.arange(0, 2 * math.pi, 0.35)
    x, y = spot.world(u + 34 * np.cos(angle), v + 25 * np.sin(angle))
    plant(spot.bag, spot.rng, x, y, 1.0, 0.0)


def industry(spot: Spot) -> None:
    """Halls, tanks, containers, a chimney, lorries."""
    rng = spot.rng
    for k in rows(spot, 118.0):
        for m in columns(spot, 164.0):
            for du in (-38.0, 38.0):
                for dv in (-27.0, 27.0):
                    at = (m + 0.5) * 164.0 + du, (k + 0.5) * 118.0 + dv
                    _works(spot, *at, rng.uniform(), rng.uniform(0, 1, 6))
    u, v = spot.lattice(24.0)
    free = (spot.clear(u, v) > 6.0) & (spot.street(u, v) > 1.0)
    cars = free & (rng.uniform(0, 1, u.shape) < 0.35)
    x, y = spot.world(u[cars], v[cars])
    park_cars(spot.bag, rng, x, y, spot.plot.angle + rng.choice([0, math.pi / 2], len(x)), 0.5)
    scatter_trees(spot, 15.0, 0.10, 0.7)


def _works(spot: Spot, u: float, v: float, chance: float, r: F64) -> None:
    """One quarter of an industrial block: a hall, tanks or stacked containers."""
    if chance < 0.62:
        _hall(spot, u, v, r)
    elif chance < 0.80:
        _tanks(spot, u, v, r)
    else:
        _containers(spot, u, v)


def _hall(spot: Spot, u: float, v: float, r: F64) -> None:
    hu, hv = 20.0 + 14.0 * r[0], 13.0 + 9.0 * r[1]
    if not spot.fits(u, v, hu, hv, 4.0)[0]:
        hu, hv = 13.0, 9.0
    if not spot.fits(u, v, hu, hv, 3.0)[0]:
        return
    shape = (Shape.FLAT, Shape.GABLE, Shape.SAW)[int(r[2] * 2.999)]
    rise = 0.0 if shape == Shape.FLAT else 2.6
    color = tinted(spot.rng, WALLS, 1, 0.12)
    spot.build(shape, u, v, hu, hv, 7.0 + 6.0 * r[3], color, rise)
    if r[4] < 0.35:
        spot.build(Shape.PLAIN, u, v - hv - 3.0, hu * 0.5, 3.0, 5.0, color * 0.9)


def _tanks(spot: Spot, u: float, v: float, r: F64) -> None:
    radius = 5.0 + 4.5 * r[0]
    du, dv = np.meshgrid(np.array([-2.5, 0.0, 2.5]) * radius, np.array([-1.2, 1.2]) * radius)
    tu, tv = u + du.ravel(), v + dv.ravel()
    free = spot.fits(tu, tv, radius, radius, 3.0)
    if free.any():
        tone = [208, 208, 202] if r[1] < 0.6 else [150, 120, 100]
        spot.build(
            Shape.CYLINDER, tu[free], tv[free], radius, radius, 7.0 + 8.0 * r[2], tone,
            material=Material.METAL,
        )  # fmt: skip
    if r[3] < 0.5 and spot.clear(u + 26.0, v + 20.0) > 4.0:
        spot.build(Shape.CYLINDER, u + 26.0, v + 20.0, 2.0, 2.0, 46.0, [150, 96, 82])


def _containers(spot: Spot, u: float, v: float) -> None:
    du, dv = np.meshgrid(np.arange(-3, 4) * 6.4, np.arange(-3, 4) * 3.4)
    bu, bv = u + du.ravel(), v + dv.ravel()
    free = spot.fits(bu, bv, 3.0, 1.2, 3.0) & (spot.rng.uniform(0, 1, bu.shape) < 0.7)
    n = int(free.sum())
    if n == 0:
        return
    x, y = spot.world(bu[free], bv[free])
    top = 2.6 * spot.rng.integers(1, 4, n)
    color = tinted(spot.rng, PAINT, n, 0.2)
    spot.bag.add(Shape.PLAIN, x, y, spot.plot.angle, 3.0, 1.2, top, color, Material.METAL)
