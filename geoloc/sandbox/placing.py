"""Free room in a plot, and the objects that occur in many kinds of plot."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .compiling import compiled
from .districts import STREETS
from .layout import MARGIN, NONE, Layout, Plot, bend
from .lines import CORRIDOR, FAR, distance, is_near
from .objects import Bag, Shape
from .roads import local, middle, world
from .scene import Material

F64 = NDArray[np.float64]
Mask = NDArray[np.bool_]

TREE_GREENS = np.array(
    [[70, 94, 46], [82, 106, 52], [60, 84, 44], [96, 112, 54], [74, 100, 60], [104, 108, 50]], float
)
CONIFER = np.array([44, 68, 46], float)
ROOFS = np.array(
    [[158, 84, 62], [136, 74, 58], [120, 94, 76], [150, 148, 142], [122, 122, 120], [70, 104, 82],
     [84, 106, 140], [86, 62, 54], [176, 108, 78], [96, 98, 104]], float
)  # fmt: skip
BITUMEN = np.array([[92, 92, 94], [112, 110, 108], [132, 130, 126], [150, 148, 142]], float)
PAINT = np.array(
    [[236, 236, 234], [200, 202, 204], [142, 146, 150], [44, 46, 50], [30, 32, 36], [164, 36, 34],
     [40, 70, 130], [96, 110, 120], [190, 176, 140], [60, 84, 66], [210, 180, 60]], float
)  # fmt: skip
WALLS = np.array(
    [[196, 190, 178], [176, 170, 160], [150, 158, 166], [128, 146, 168], [180, 150, 122],
     [214, 214, 210], [138, 126, 116], [120, 142, 130]], float
)  # fmt: skip


def tinted(rng: np.random.Generator, palette: F64, count: int, spread: float = 0.1) -> F64:
    """``(count, 3)`` colours of a palette, each a little lighter or darker than the rest."""
    chosen = palette[rng.integers(0, len(palette), count)]
    return np.clip(chosen * rng.uniform(1 - spread, 1 + spread, (count, 1)), 0, 255)


def _edge_table(plot: Plot) -> F64:
    """Edges of a plot: inward normal, offset along it, metres to keep from it ``(edge, 4)``."""
    table = []
    for other in plot.neighbors:
        dx, dy = other.x - plot.x, other.y - plot.y
        norm = math.hypot(dx, dy)
        offset = (dx * (plot.x + other.x) + dy * (plot.y + other.y)) / (2 * norm)
        joined = other.kind == NONE and other.landuse == plot.landuse
        table.append((dx / norm, dy / norm, offset, 0.0 if joined else MARGIN[other.kind]))
    return np.array(table)


@compiled
def room(x: F64, y: F64, edges: F64, lines: F64, center: F64, phase: F64) -> F64:
    """Metres from points (world) to the nearest edge of a plot or the corridor of a line."""
    out = np.empty(x.size)
    if x.size == 0:
        return out
    mx, my = 0.5 * (x.min() + x.max()), 0.5 * (y.min() + y.max())
    half = math.hypot(x.max() - mx, y.max() - my)
    near = np.empty(lines.shape[0], np.bool_)
    for k in range(lines.shape[0]):
        near[k] = is_near(lines[k], mx, my, half)
    for n in range(x.size):
        px, py = bend(x[n], y[n], center, phase)
        best = 1e9
        for e in range(edges.shape[0]):
            d = edges[e, 2] - edges[e, 0] * px - edges[e, 1] * py - edges[e, 3]
            best = min(best, d)
        for k in range(lines.shape[0]):
            away = abs(distance(lines[k], x[n], y[n])[0]) if near[k] else FAR
            best = min(best, away - CORRIDOR[k])
        out[n] = best
    return out


class Spot:
    """A plot being filled: frames, free room, random numbers, and the objects so far."""

    def __init__(self, layout: Layout, plot: Plot) -> None:
        self.layout, self.plot, self.bag = layout, plot, Bag()
        self.rng = plot.rng(layout.seed + 77)
        self.x, self.y = middle(layout, plot)
        cu, cv = local(plot, np.array(self.x), np.array(self.y))
        self.cu, self.cv = float(cu), float(cv)
        self._edges = _edge_table(plot)
        self._bend = np.array(layout.center), np.array(layout.phase)
        self._count = 0

    def clear(self, u: ArrayLike, v: ArrayLike) -> F64:
        """Metres from points of the cluster's frame to the building limit (negative outside)."""
        x, y = self.world(u, v)
        rooms = room(x.ravel(), y.ravel(), self._edges, self.layout.lines, *self._bend)
        return rooms.reshape(x.shape)

    def shore(self, u: ArrayLike, v: ArrayLike) -> F64:
        """As `clear`, but looking through edges to plots of the same kind without a road."""
        x, y = self.world(u, v)
        outer = self._edges[self._edges[:, 3] > 0.0]
        return room(x.ravel(), y.ravel(), outer, self.layout.lines, *self._bend).reshape(x.shape)

    def street(self, u: ArrayLike, v: ArrayLike) -> F64:
        """Metres from points of the cluster's frame to the kerb of an inner street."""
        half, row, cross = STREETS[self.plot.landuse]
        uu, vv = np.broadcast_arrays(np.asarray(u, float), np.asarray(v, float))
        if half == 0.0:
            return np.full(uu.shape, 1e6)
        d = np.abs(vv - np.round(vv / row) * row)
        if cross > 0:
            d = np.minimum(d, np.abs(uu - np.round(uu / cross) * cross))
        return np.asarray(d - half)

    def fits(
        self, u: ArrayLike, v: ArrayLike, hu: ArrayLike, hv: ArrayLike, margin: float = 2.0,
        turn: float = 0.0,
    ) -> Mask:  # fmt: skip
        """Whether rectangles, turned by ``turn`` in the cluster's frame, lie in the plot."""
        arrays = np.broadcast_arrays(*(np.atleast_1d(np.asarray(a, float)) for a in (u, v, hu, hv)))
        cu, cv, wide, deep = arrays
        cos, sin = math.cos(turn), math.sin(turn)
        su = np.array([0, 1, 1, -1, -1])[:, None] * wide
        sv = np.array([0, 1, -1, 1, -1])[:, None] * deep
        rooms = self.clear(cu + su * cos - sv * sin, cv + su * sin + sv * cos)
        return np.asarray(rooms.min(axis=0) > margin)

    def world(self, u: ArrayLike, v: ArrayLike) -> tuple[F64, F64]:
        """World coordinates of points of the cluster's frame."""
        uu, vv = np.broadcast_arrays(np.asarray(u, float), np.asarray(v, float))
        return world(self.plot, uu, vv)

    def ids(self, count: int) -> NDArray[np.int64]:
        """Numbers of new buildings, unique in some 300 km."""
        i, j = self.plot.key
        first = self._count + 1
        self._count += count
        cell = ((i & 0x3FF) << 22) | ((j & 0x3FF) << 12)
        return np.asarray(cell | (np.arange(first, first + count) & 0xFFF))

    def build(
        self, shape: Shape, u: ArrayLike, v: ArrayLike, hu: ArrayLike, hv: ArrayLike,
        top: ArrayLike, color: ArrayLike, aux: ArrayLike = 0.0, turn: ArrayLike = 0.0,
        material: Material = Material.ROOF,
    ) -> NDArray[np.int64]:  # fmt: skip
        """Add numbered buildings in the cluster's frame."""
        x, y = self.world(np.atleast_1d(u), np.atleast_1d(v))
        ids = self.ids(len(x))
        angle = self.plot.angle + np.asarray(turn, float)
        self.bag.add(shape, x, y, angle, hu, hv, top, color, material, building=ids, aux=aux)
        return ids

    def lattice(
        self, spacing: float, jitter: float = 0.35, reach: float = 290.0
    ) -> tuple[F64, F64]:
        """Jittered points of the plot's surroundings, in the cluster's frame."""
        line = np.arange(-reach, reach, spacing)
        u, v = np.meshgrid(self.cu + line, self.cv + line)
        u = u + self.rng.uniform(-jitter, jitter, u.shape) * spacing
        v = v + self.rng.uniform(-jitter, jitter, v.shape) * spacing
        return u.ravel(), v.ravel()


def plant(
    bag: Bag, rng: np.random.Generator, x: F64, y: F64, size: float = 1.0, conifers: float = 0.08
) -> None:
    """Trees at world coordinates; ``size`` 1 is a street tree of some 9 m."""
    n = len(x)
    if n == 0:
        return
    height = rng.uniform(6.0, 13.0, n) * size
    radius = height * rng.uniform(0.26, 0.40, n)
    color = tinted(rng, TREE_GREENS, n, 0.18)
    base = np.clip(height * 0.24, 0.6, 3.2)
    cone = rng.uniform(0, 1, n) < conifers
    for shape, chosen in ((Shape.CROWN, ~cone), (Shape.CONE, cone)):
        if chosen.any():
            wide = 1.0 if shape == Shape.CROWN else 0.62
            hue = color if shape == Shape.CROWN else CONIFER * rng.uniform(0.85, 1.15, (n, 1))
            bag.add(
                shape, x[chosen], y[chosen], 0.0, radius[chosen] * wide, radius[chosen] * wide,
                height[chosen], hue[chosen], Material.TREE, base[chosen],
            )  # fmt: skip


def park_cars(
    bag: Bag, rng: np.random.Generator, x: F64, y: F64, angle: ArrayLike, lorries: float = 0.0
) -> None:
    """Cars (and some lorries) at world coordinates, heading along ``angle``."""
    n = len(x)
    if n == 0:
        return
    angle = np.broadcast_to(np.asarray(angle, float), (n,))
    lorry = rng.uniform(0, 1, n) < lorries
    color = tinted(rng, PAINT, n, 0.08)
    length, width = rng.uniform(1.95, 2.45, n), rng.uniform(0.86, 0.98, n)
    top = rng.uniform(1.4, 1.75, n)
    small, big = ~lorry, lorry
    bag.add(
        Shape.CAR, x[small], y[small], angle[small], length[small], width[small], top[small],
        color[small], Material.CAR,
    )  # fmt: skip
    if big.any():
        bag.add(Shape.PLAIN, x[big], y[big], angle[big], 6.0, 1.25, 3.6, color[big], Material.CAR)
        cx, cy = x[big] + 7.3 * np.cos(angle[big]), y[big] + 7.3 * np.sin(angle[big])
        bag.add(Shape.PLAIN, cx, cy, angle[big], 1.0, 1.2, 3.0, color[big] * 0.8, Material.CAR)


def scatter_trees(
    spot: Spot,
    spacing: float,
    share: float,
    size: float = 1.0,
    margin: float = 1.0,
    conifers: float = 0.08,
) -> None:
    """Trees on a jittered lattice over the plot, off its streets."""
    u, v = spot.lattice(spacing)
    keep = spot.rng.uniform(0, 1, u.shape) < share
    keep &= (spot.clear(u, v) > margin) & (spot.street(u, v) > 1.5)
    x, y = spot.world(u[keep], v[keep])
    plant(spot.bag, spot.rng, x, y, size, conifers)


def rows(spot: Spot, period: float, reach: float = 290.0) -> range:
    """Numbers of the streets (every ``period`` metres of ``v``) that may touch the plot."""
    return range(math.ceil((spot.cv - reach) / period), math.floor((spot.cv + reach) / period) + 1)


def columns(spot: Spot, period: float, reach: float = 290.0) -> range:
    """Numbers of the columns (every ``period`` metres of ``u``) that may touch the plot."""
    return range(math.ceil((spot.cu - reach) / period), math.floor((spot.cu + reach) / period) + 1)


def street_rows(spot: Spot, off: float, spacing: float, share: float) -> None:
    """Trees on both verges of the plot's streets, and a few parked cars."""
    half, row, _ = STREETS[spot.plot.landuse]
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
