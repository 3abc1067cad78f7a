"""The plan of a country: its outline, places, lines, lakes and mountains, all from one seed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..layout import SIDE, SPACING
from ..lines import AVENUE, MOTORWAY, RAIL, RIVER, distances, make_lines, massif, point, spread
from ..terrain import plain
from . import zones as Z  # noqa: N812
from .cells import plan_block
from .names import draw_names

F64 = NDArray[np.float64]
Stretches = dict[int, tuple[float, float]]

CRS = "EPSG:32636"
CENTER = (721_000.0, 5_385_000.0)
"""Middle of every country: 36 degrees east, where two UTM zones meet, at 48.6 degrees north."""
LEAST_KM, MOST_KM = 10.0, 400.0

_DENSITY = (900.0, 2800.0, 4600.0, 5600.0)  # people per km2 of a place, by rank
_KINDS = ("village", "town", "city", "capital")
_VILLAGES = 0.62  # share of the squares that have one
_FREE = 400.0  # m between two places, lakes or lines


@dataclass(frozen=True)
class Place:
    """A named place; ``x, y`` of its middle in the country's CRS and its radius, m."""

    name: str
    rank: int
    x: float
    y: float
    radius: float
    population: int

    @property
    def kind(self) -> str:
        """``capital``, ``city``, ``town`` or ``village``."""
        return _KINDS[self.rank]


@dataclass(frozen=True, eq=False)
class Plan:
    """Everything that determines a country; arrays as `zones` describes them.

    ``ring (n, 2)``: its border, x and y; ``places``: largest first.
    """

    seed: int
    km: float
    ring: F64
    lines: F64
    towns: F64
    lakes: F64
    villages: F64
    corner: F64
    places: tuple[Place, ...]

    center = CENTER
    crs = CRS

    def __reduce__(self) -> tuple[object, tuple[int, float]]:
        return make_plan, (self.seed, self.km)

    def block(self, i0: int, j0: int, ni: int, nj: int) -> F64:
        """The plan of a rectangle of plots ``(j, i, 7)``; see `cells`."""
        return plan_block(
            i0, j0, ni, nj, self.seed, np.array(self.center), self.lines, self.towns, self.lakes,
            self.villages, self.corner,
        )  # fmt: skip

    def keys(self) -> tuple[int, int, int, int]:
        """First key ``i0, j0`` and number of plots ``ni, nj`` of a rectangle around the country."""
        low, high = self.ring.min(axis=0), self.ring.max(axis=0)
        half = SIDE * SPACING / 2
        i0, j0 = (math.floor((low[k] - CENTER[k] + half) / SPACING) - 1 for k in (0, 1))
        i1, j1 = (math.ceil((high[k] - CENTER[k] + half) / SPACING) + 1 for k in (0, 1))
        return i0, j0, i1 - i0, j1 - j0


@lru_cache(maxsize=4)
def make_plan(seed: int, km: float) -> Plan:
    """Plan a country that fits into a square of ``km`` kilometres."""
    rng = np.random.default_rng([seed & 0xFFFFFFFF, 301])
    ring = _outline(rng, km)
    network = _Network(rng, seed, km, ring)
    towns = network.towns
    lakes = _lakes(rng, ring, network.lines, towns, seed, km)
    villages, corner = _villages(rng, ring, network.lines, towns, lakes, km)
    return Plan(
        seed, km, ring, network.lines, towns, lakes, villages, corner,
        _named(rng, towns, villages),
    )  # fmt: skip


def _outline(rng: np.random.Generator, km: float) -> F64:
    """A ragged ring inside the square."""
    angle = np.linspace(0, 2 * math.pi, max(240, round(8 * km)), endpoint=False)
    wave = np.zeros(angle.size)
    for k in (2, 3, 4, 5, 7, 9, 13, 19, 31, 47):
        wave += rng.normal() / k**0.9 * np.sin(k * angle + rng.uniform(0, 6.3))
    square = np.maximum(np.abs(np.cos(angle)), np.abs(np.sin(angle))) ** 0.3
    reach = (1.0 + 0.17 * wave / np.abs(wave).max()) / square
    radius = reach / (reach * np.maximum(np.abs(np.cos(angle)), np.abs(np.sin(angle)))).max()
    return np.column_stack([
        CENTER[0] + 500 * km * radius * np.cos(angle), CENTER[1] + 500 * km * radius * np.sin(angle)
    ])  # fmt: skip


def inside_ring(ring: F64, x: F64, y: F64, margin: float = 0.0) -> NDArray[np.bool_]:
    """Which points lie in the border, at least ``margin`` m from its middle's side of it."""
    dx, dy = x - CENTER[0], y - CENTER[1]
    corners = ring - np.array(CENTER)
    angle = np.arctan2(corners[:, 1], corners[:, 0])
    order = np.argsort(angle)
    a, r = angle[order], corners[order]
    at = np.arctan2(dy, dx)
    k = np.searchsorted(a, at) % len(a)
    p, q = r[k - 1], r[k]
    # where the ray meets the chord between the corners beside it
    cos, sin = np.cos(at), np.sin(at)
    ex, ey = q[..., 0] - p[..., 0], q[..., 1] - p[..., 1]
    limit = (p[..., 0] * ey - p[..., 1] * ex) / (cos * ey - sin * ex)
    return np.asarray(np.hypot(dx, dy) < limit - margin)


class _Network:
    """Places where lines may cross, and the lines that join them."""

    def __init__(self, rng: np.random.Generator, seed: int, km: float, ring: F64) -> None:
        self.rng, self.km, self.ring = rng, km, ring
        self.period = float(np.clip(km / 13.0, 6.0, 15.0)) * 1000
        lean = np.array([
            [0.14 * self.period, 2 * math.pi / (self.period * rng.uniform(2.8, 3.6)), p]
            for p in rng.uniform(0, 6.3, 2)
        ])  # fmt: skip
        self._base = make_lines(np.random.default_rng([seed & 0xFFFFFFFF, 1]), CENTER)
        every = math.ceil(1.5 * km * 1000 / self.period)
        whole = dict.fromkeys(range(-every, every + 1), (-10000000.0, 10000000.0))
        self._all = spread(self._base, self.period, lean, (whole,) * 4)
        self._lean = lean
        self._nodes = dict(self._crossings(every))
        ranks = self._ranks()
        self._mountains = self._range()
        stretches = self._stretches(ranks)
        self.lines = spread(self._base, self.period, lean, stretches, self._mountains)
        nodes = [self._town(self._nodes[key][0], rank) for key, rank in ranks.items()]
        self.towns = np.array(nodes + self._wayside(nodes)).reshape(-1, 4)

    def _crossings(self, every: int) -> Iterator[tuple[tuple[int, int], tuple[F64, float, float]]]:
        """Where the ``i``-th river and the ``j``-th railway would cross, were they straight.

        The point, and the metres along either.
        """
        for i in range(-every, every + 1):
            for j in range(-every, every + 1):
                u, v = -j * self.period, i * self.period
                for _ in range(12):
                    u = -(j * self.period + self._leans(1, v))
                    v = i * self.period + self._leans(0, u)
                cos, sin = self._base[0, 8], self._base[0, 9]
                xy = np.array([CENTER[0] + u * cos - v * sin, CENTER[1] + u * sin + v * cos])
                if inside_ring(self.ring, xy[:1], xy[1:], 1500.0 + 0.01 * self.km * 1000)[0]:
                    yield (i, j), (xy, u, v)

    def _leans(self, axis: int, s: float) -> float:
        high, k, phase = self._lean[axis]
        return float(high * math.sin(k * s + phase))

    def _ranks(self) -> dict[tuple[int, int], int]:
        """The rank of the place at each crossing that has one."""
        ranks = {(0, 0): Z.CAPITAL}
        keys = [key for key in self._nodes if key != (0, 0)]
        wanted = max(1, round((self.km / 200.0) ** 2 * 8))
        for n in self.rng.permutation(len(keys)):
            key = keys[n]
            near = min(math.dist(key, other) for other in ranks)
            if wanted and near >= 2.2:
                ranks[key] = Z.CITY
                wanted -= 1
        for key in keys:
            if key not in ranks and self.rng.uniform() < 0.45:
                ranks[key] = Z.TOWN
        return ranks

    def _range(self) -> tuple[float, float, float]:
        """Mountains between two rivers, near one side of the country."""
        outer = max((abs(i) for i, _ in self._nodes), default=0)
        side = int(self.rng.choice([-1, 1]))
        middle = side * (max(outer, 1) - 0.5) * self.period
        broad = self.period / 2 - 1400.0
        return middle, broad, min(700.0, 0.09 * broad)

    def _stretches(self, ranks: dict[tuple[int, int], int]) -> tuple[Stretches, ...]:
        """From where to where each line runs; those through the capital cross the country."""
        whole = (-1000 * self.km, 1000 * self.km)
        rivers: Stretches = {0: whole}
        lines: dict[int, Stretches] = {MOTORWAY: {0: whole}, RAIL: {0: whole}, AVENUE: {0: whole}}
        for i in {i for i, _ in self._nodes} - {0}:
            if self.rng.uniform() < 0.4:
                rivers[i] = whole
        for line, axis in ((MOTORWAY, 0), (RAIL, 1), (AVENUE, 1)):
            for index in {key[axis] for key in ranks} - {0}:
                nodes = [key for key in ranks if key[axis] == index]
                grand = any(ranks[key] >= Z.CITY for key in nodes)
                if len(nodes) > 1 and (grand or line == AVENUE):
                    s = [self._nodes[key][1:][axis] for key in nodes]
                    lines[line][index] = (min(s) - 900.0, max(s) + 900.0)
        return rivers, lines[MOTORWAY], lines[RAIL], lines[AVENUE]

    def _town(self, xy: F64, rank: int) -> tuple[float, float, float, float]:
        scale = float(np.clip(self.km / 120.0, 0.5, 1.0))
        low, high = ((300, 600), (750, 1500), (2300, 4300), (6000, 6800))[rank]
        x, y = xy + self.rng.uniform(-250, 250, 2)
        return float(x), float(y), float(self.rng.uniform(low, high) * scale), float(rank)

    def _wayside(
        self, towns: Sequence[tuple[float, ...]]
    ) -> list[tuple[float, float, float, float]]:
        """Towns beside the roads between the crossings."""
        line = self.lines[AVENUE]
        wayside: list[tuple[float, float, float, float]] = []
        low = round(-2.0 * self.km * 1000 / self.period)
        for _ in range(max(3, round((self.km / 200.0) ** 2 * 60))):
            index = int(self.rng.integers(low, -low + 1))
            s = float(self.rng.uniform(-500, 500) * self.km)
            town = self._town(np.array(point(line, s, float(index), 0.0)[:2]), Z.TOWN)
            x, y, radius = town[:3]
            near = distances(self.lines, np.array([x]), np.array([y]))[0]
            apart = [math.hypot(x - t[0], y - t[1]) - t[2] for t in (*towns, *wayside)]
            free = min(apart) > radius + 3 * _FREE and near[AVENUE] < 900.0
            free = free and massif(self.lines[RIVER], x, y)[0] == 0.0
            if free and inside_ring(self.ring, np.array([x]), np.array([y]), radius + 900.0)[0]:
                wayside.append(town)
        return wayside


def _random_points(rng: np.random.Generator, km: float, count: int) -> F64:
    return np.array(CENTER) + rng.uniform(-500 * km, 500 * km, (count, 2))


def _lakes(
    rng: np.random.Generator, ring: F64, lines: F64, towns: F64, seed: int, km: float
) -> F64:
    """Lakes on free ground; each one's frame lies at its lowest shore, which sets its level."""
    lakes: list[F64] = []
    wanted = max(2, round((km / 200.0) ** 2 * 36))
    angles = np.linspace(0, 2 * math.pi, 24, endpoint=False)
    for x, y in _random_points(rng, km, 40 * wanted):
        lake = np.array([x, y, min(550.0 * rng.pareto(1.6) + 500.0, 3600.0, 30.0 * km),
                         *rng.uniform(0, 6.3, 2), 0.0, 0.0])  # fmt: skip
        reach = np.array([Z.shore(lake, a) for a in angles])
        rx, ry = x + (reach + _FREE) * np.cos(angles), y + (reach + _FREE) * np.sin(angles)
        apart = np.hypot(towns[:, 0] - x, towns[:, 1] - y) - towns[:, 2] - 1.4 * lake[2]
        others = [math.hypot(x - o[0], y - o[1]) - 1.4 * (o[2] + lake[2]) for o in lakes]
        dry = distances(lines, rx, ry).min(axis=1) > _FREE
        line_free = dry.all() and _clear_middle(lines, lake, angles)
        flat = massif(lines[RIVER], x, y)[0] == 0.0
        if not (line_free and flat and apart.min() > _FREE and min(others, default=1e9) > _FREE):
            continue
        if not inside_ring(ring, rx, ry).all():
            continue
        sx, sy = x + reach * np.cos(angles), y + reach * np.sin(angles)
        heights = [plain(a, b, 1e6, seed, lines) for a, b in zip(sx, sy, strict=True)]
        low = int(np.argmin(heights))
        lake[Z.LAKE_OX :] = sx[low], sy[low]
        lakes.append(lake)
        if len(lakes) == wanted:
            break
    return np.array(lakes).reshape(-1, 7)


def _clear_middle(lines: F64, lake: F64, angles: F64) -> bool:
    """Whether no line runs through a lake."""
    share = np.linspace(0.0, 0.9, 10)[:, None]
    reach = 1.3 * lake[Z.LAKE_R] * share
    x, y = (lake[0] + reach * np.cos(angles)).ravel(), (lake[1] + reach * np.sin(angles)).ravel()
    return bool((distances(lines, x, y) > 200.0).all())


def _villages(
    rng: np.random.Generator, ring: F64, lines: F64, towns: F64, lakes: F64, km: float
) -> tuple[F64, F64]:
    """Villages ``(cell, 3)`` x, y, radius (0: none), and the lattice of the cells."""
    side = math.ceil(km * 1000 / Z.VILLAGE_CELL) + 1
    corner = np.array([CENTER[0] - side * Z.VILLAGE_CELL / 2, CENTER[1] - side * Z.VILLAGE_CELL / 2,
                       side, side])  # fmt: skip
    out = np.zeros((side * side, 3))
    for n in range(side * side):
        radius = rng.uniform(260, 640)
        row, col = divmod(n, side)
        room = rng.uniform(radius, Z.VILLAGE_CELL - radius, 2)
        x, y = (
            corner[0] + col * Z.VILLAGE_CELL + room[0],
            corner[1] + row * Z.VILLAGE_CELL + room[1],
        )
        wanted = rng.uniform() < _VILLAGES
        apart = np.hypot(towns[:, 0] - x, towns[:, 1] - y) - 1.25 * towns[:, 2] - radius
        wet = np.hypot(lakes[:, 0] - x, lakes[:, 1] - y) - 1.4 * lakes[:, 2] - radius
        free = apart.min() > _FREE and min(wet, default=1e9) > 0
        free = free and massif(lines[RIVER], x, y)[0] < 0.5
        if wanted and free and inside_ring(ring, np.array([x]), np.array([y]), radius + 300)[0]:
            out[n] = x, y, radius
    return out, corner


def _named(rng: np.random.Generator, towns: F64, villages: F64) -> tuple[Place, ...]:
    """All places with names of their own and people, the largest first."""
    large, small = draw_names(rng, large=True), draw_names(rng, large=False)
    places = []
    peopled = villages[villages[:, 2] > 0]
    rows = [*towns.tolist(), *((*village, float(Z.VILLAGE)) for village in peopled.tolist())]
    for x, y, radius, rank in rows:
        people = math.pi * (radius / 1000) ** 2 * _DENSITY[int(rank)] * rng.uniform(0.75, 1.25)
        name = next(large if rank >= Z.CITY else small)
        places.append(
            Place(name, int(rank), x, y, radius, int(round(people, -1 if people < 10_000 else -2)))
        )
    return tuple(sorted(places, key=lambda place: -place.population))
