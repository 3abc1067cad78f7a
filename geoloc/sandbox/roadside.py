"""Objects along roads and lines: trees, cars, trains, masts."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from .districts import VILLAGE
from .layout import FIELDS, HALF_WIDTH, NONE, PRIMARY, RURAL, STREET, TRACK, Layout, Neighbor
from .lines import (
    AVENUE,
    MOTORWAY,
    RAIL,
    RIVER,
    RIVER_HALF,
    distances,
    exists,
    point,
    stretches_near,
)  # fmt: skip
from .objects import Bag, Shape
from .placing import PAINT, Spot, park_cars, plant, tinted
from .roads import local
from .scene import Material
from .terrain import DECK_END

F64 = NDArray[np.float64]
Bounds = tuple[float, float, float, float]
CHUNK = 200.0
"""Metres of a line on which objects are placed at once."""


def line_edges(spot: Spot) -> None:
    """Trees and cars on the plot's own side of the roads along its edges."""
    for other in spot.plot.neighbors:
        if other.kind >= STREET:
            _street_side(spot, other)
        elif _is_windbreak(spot, other):
            _windbreak(spot, other)


def _is_windbreak(spot: Spot, other: Neighbor) -> bool:
    fields = spot.plot.landuse in FIELDS and other.landuse in FIELDS
    return fields and other.chance < 0.62 and (other.kind == TRACK or other.chance > 0.4)


def _along(spot: Spot, other: Neighbor, spacing: float, d: float, jitter: float) -> tuple[F64, F64]:
    """World points every ``spacing`` metres along an edge, ``d`` metres inside the plot."""
    (ax, ay), (bx, by) = sorted(other.vertices)
    long = math.hypot(bx - ax, by - ay)
    t = np.arange(6.0, long - 6.0, spacing)
    t = t + spot.rng.uniform(-jitter, jitter, t.shape)
    tx, ty = (bx - ax) / long, (by - ay) / long
    dx, dy = spot.plot.x - other.x, spot.plot.y - other.y
    norm = math.hypot(dx, dy)
    return spot.layout.unwarp(ax + t * tx + d * dx / norm, ay + t * ty + d * dy / norm)


def _off_lines(layout: Layout, x: F64, y: F64, margin: float) -> NDArray[np.bool_]:
    """Points that are on none of the lines."""
    half = np.array([RIVER_HALF + 18.0, 16.0, 8.0, 16.0]) + margin
    return np.asarray((distances(layout.lines, x.copy(), y.copy()) > half).all(axis=1))


def _street_side(spot: Spot, other: Neighbor) -> None:
    half, primary = HALF_WIDTH[other.kind], other.kind == PRIMARY
    if spot.plot.landuse not in RURAL or spot.plot.landuse == VILLAGE:
        x, y = _along(spot, other, 8.5, half + (1.7 if primary else 1.0), 1.2)
        u, v = local(spot.plot, x, y)
        keep = _off_lines(spot.layout, x, y, 3.0) & (spot.street(u, v) > 1.5)
        keep &= spot.rng.uniform(0, 1, x.shape) < 0.72
        plant(spot.bag, spot.rng, x[keep], y[keep], 0.8, 0.0)
    x, y = _along(spot, other, 14.0, 3.0 if primary else 1.8, 5.0)
    keep = _off_lines(spot.layout, x, y, 2.0)
    keep &= spot.rng.uniform(0, 1, x.shape) < (0.38 if primary else 0.14)
    (ax, ay), (bx, by) = sorted(other.vertices)
    park_cars(spot.bag, spot.rng, x[keep], y[keep], math.atan2(by - ay, bx - ax), 0.06)


def _windbreak(spot: Spot, other: Neighbor) -> None:
    for d in (5.0, 9.0):
        x, y = _along(spot, other, 5.5, d if other.kind != NONE else d - 3.0, 1.5)
        keep = _off_lines(spot.layout, x, y, 6.0) & (spot.rng.uniform(0, 1, x.shape) < 0.9)
        plant(spot.bag, spot.rng, x[keep], y[keep], 1.05, 0.0)


def line_chunks(layout: Layout, bounds: Bounds) -> Iterator[tuple[int, int, int]]:
    """Line, repetition and number of every chunk that may touch ``bounds``, in order."""
    for number, line in enumerate(layout.lines):
        repetitions, along, until = stretches_near(line, bounds, 60.0)
        low = math.floor((along - 60.0) / CHUNK) - 1
        high = math.floor((until + 60.0) / CHUNK) + 1
        for index in repetitions:
            yield from (
                (number, index, chunk)
                for chunk in range(low, high + 1)
                if exists(line, chunk * CHUNK, index) and exists(line, (chunk + 1) * CHUNK, index)
            )


class _Stretch:
    """One chunk of a line: points beside it, clear of the other lines."""

    def __init__(self, layout: Layout, number: int, index: int, chunk: int) -> None:
        self.layout, self.number, self.index = layout, number, index
        self.start = chunk * CHUNK
        key = [layout.seed, 8, number, index & 0xFFFF, chunk & 0xFFFFFF]
        self.rng = np.random.default_rng(key)
        self.bag = Bag()

    def points(self, s: F64, across: F64 | float) -> tuple[F64, F64, F64]:
        """World ``x, y`` and direction."""
        line, index = self.layout.lines[self.number], float(self.index)
        side = np.broadcast_to(across, s.shape)
        p = np.array([point(line, a, index, b) for a, b in zip(s, side, strict=True)])
        p = p.reshape(-1, 4)
        return p[:, 0], p[:, 1], np.arctan2(p[:, 3], p[:, 2])

    def dry(self, x: F64, y: F64, margin: float) -> NDArray[np.bool_]:
        """Points away from the other lines' own ground and from decks."""
        half = np.array([RIVER_HALF + DECK_END, 16.0, 6.5, 17.0]) + margin
        half[self.number] = -1.0
        return np.asarray((distances(self.layout.lines, x.copy(), y.copy()) > half).all(axis=1))

    def places(self, spacing: float, jitter: float = 0.0) -> F64:
        s = np.arange(self.start + spacing / 2, self.start + CHUNK, spacing)
        return s + self.rng.uniform(-jitter, jitter, s.shape)


def place_along(layout: Layout, number: int, index: int, chunk: int) -> F64:
    """Objects ``(n, COLUMNS)`` along a chunk of a line."""
    stretch = _Stretch(layout, number, index, chunk)
    {RIVER: _river, MOTORWAY: _motorway, RAIL: _rail, AVENUE: _avenue}[number](stretch)
    return stretch.bag.array()


def _trees(stretch: _Stretch, spacing: float, across: float, share: float, size: float) -> None:
    s = stretch.places(spacing, spacing * 0.2)
    x, y, _ = stretch.points(s, across + stretch.rng.uniform(-0.8, 0.8, s.shape))
    keep = stretch.dry(x, y, 4.0) & (stretch.rng.uniform(0, 1, s.shape) < share)
    plant(stretch.bag, stretch.rng, x[keep], y[keep], size, 0.0)


def _cars(stretch: _Stretch, across: float, share: float, lorries: float) -> None:
    """Traffic on one lane; it keeps to the right."""
    s = stretch.places(20.0, 7.0)
    x, y, angle = stretch.points(s, across)
    keep = stretch.rng.uniform(0, 1, s.shape) < share
    if stretch.number == AVENUE:
        others = distances(stretch.layout.lines, x.copy(), y.copy())
        keep &= (others[:, RAIL] > 8.0) & (others[:, MOTORWAY] > 17.0)
    heading = angle + (math.pi if across > 0 else 0.0)
    park_cars(stretch.bag, stretch.rng, x[keep], y[keep], heading[keep], lorries)


def _river(stretch: _Stretch) -> None:
    for side in (-1.0, 1.0):
        for d in (8.0, 14.0, 20.0):
            _trees(stretch, 9.0, side * (RIVER_HALF + d), 0.32, 1.0)


def _motorway(stretch: _Stretch) -> None:
    for across in (4.4, 8.2, -4.4, -8.2):
        _cars(stretch, across, 0.42 if abs(across) > 5 else 0.25, 0.3)
    for side in (-1.0, 1.0):
        _trees(stretch, 7.0, side * 26.0, 0.5, 0.9)
        _trees(stretch, 8.0, side * 30.0, 0.4, 0.9)


def _avenue(stretch: _Stretch) -> None:
    for across in (3.3, 6.7, -3.3, -6.7):
        _cars(stretch, across, 0.5, 0.08)
    _trees(stretch, 8.0, 0.0, 0.55, 0.5)
    for side in (-1.0, 1.0):
        _trees(stretch, 8.0, side * 11.9, 0.85, 0.95)
        _cars(stretch, side * 9.4, 0.35, 0.0)


def _rail(stretch: _Stretch) -> None:
    rng = stretch.rng
    s = stretch.places(50.0)
    for side in (-1.0, 1.0):
        x, y, angle = stretch.points(s, side * 4.4)
        stretch.bag.add(Shape.PLAIN, x, y, angle, 0.3, 0.3, 7.5, [120, 122, 124], Material.METAL)
    track = 2.1 if rng.uniform() < 0.5 else -2.1
    if rng.uniform() < 0.35:
        s = stretch.places(15.4)
        x, y, angle = stretch.points(s, track)
        color = np.repeat(tinted(rng, PAINT[[2, 5, 6, 8]] * 0.85, 1), len(s), axis=0)
        color = color * rng.uniform(0.8, 1.15, (len(s), 1))
        stretch.bag.add(Shape.PLAIN, x, y, angle, 7.2, 1.5, 4.1, color, Material.METAL)
    for side in (-1.0, 1.0):
        _trees(stretch, 10.0, side * 14.0, 0.3, 0.7)
