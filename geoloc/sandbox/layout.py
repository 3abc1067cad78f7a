"""The map of districts: Voronoi plots with a land use each, and the roads between them.

Sites of the plots lie on a jittered lattice of 300 m. Ten by ten of them make a section, which
is planned on its own, seeded by its position: a complete town, or a stretch of countryside. The
section at the world's centre is always a town, so a world of 3 km has every land use.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import Voronoi

from .compiling import compiled
from .lines import CORRIDOR, RAIL, distance, distances, make_lines, point
from .noise import hash2
from .scene import LANDUSE
from .terrain import plain

F64 = NDArray[np.float64]

SPACING = 300.0
"""Metres between the sites of plots."""
SIDE = 10
"""Plots along each side of a section."""
NONE, TRACK, STREET, PRIMARY = range(4)
HALF_WIDTH = (0.0, 2.0, 3.6, 6.8)
"""Half the carriageway of each kind of road between plots, m."""
MARGIN = (1.5, 4.5, 8.6, 13.5)
"""From the middle of such a road to where a plot may be built on, m."""

CLASS = {name: number for number, name in enumerate(LANDUSE)}
FIELDS = frozenset(CLASS[n] for n in ("field-cultivated", "wheat_field", "pasture"))
RURAL = FIELDS | {CLASS[n] for n in ("forest-broadleaf", "lake-natural", "village")}
OPEN = FIELDS | {CLASS[n] for n in ("forest-broadleaf", "park", "railroad_track")}
LAKE, FOREST, VILLAGE = (CLASS[n] for n in ("lake-natural", "forest-broadleaf", "village"))

# class, sizes of the clusters, metres from the town's centre, how much it shuns the lines
_TOWN: tuple[tuple[str, tuple[int, ...], float, float], ...] = (
    ("downtown", (6,), 0, 400),
    ("stadium-soccer", (1, 1), 750, 3000),
    ("railroad_track", (2,), 700, 0),
    ("lake-natural", (4,), 1300, 3000),
    ("schoolhouse", (1, 1, 1, 1), 650, 3000),
    ("apartment_building-outdoor", (4, 4, 3), 800, 500),
    ("industrial_area", (3, 3), 1100, 300),
    ("park", (3, 2), 500, 0),
    ("parking_lot", (1, 1, 1, 1), 600, 1500),
    ("athletic_field-outdoor", (1, 1, 1), 950, 3000),
    ("cemetery", (1, 2), 1250, 1500),
    ("residential_neighborhood", (4, 4, 4), 950, 200),
    ("village", (3, 3), 1600, 400),
    ("forest-broadleaf", (3, 3, 3), 1600, 0),
    ("wheat_field", (3, 3, 3), 1500, 0),
    ("field-cultivated", (4, 3), 1500, 0),
    ("pasture", (4, 3), 1400, 0),
)
_COUNTRY: tuple[tuple[str, tuple[int, ...], float, float], ...] = (
    ("village", (5, 4), 300, 400),
    ("lake-natural", (4,), 900, 3000),
    ("industrial_area", (2,), 800, 500),
    ("cemetery", (1,), 600, 1500),
    ("schoolhouse", (1,), 300, 1500),
    ("forest-broadleaf", (8, 6, 5), 1200, 0),
    ("wheat_field", (8, 7, 7, 6), 1100, 0),
    ("field-cultivated", (7, 6, 5), 1000, 0),
    ("pasture", (7, 6, 5), 900, 0),
)
assert sum(sum(sizes) for _, sizes, _, _ in _TOWN) == SIDE * SIDE
assert sum(sum(sizes) for _, sizes, _, _ in _COUNTRY) == SIDE * SIDE


@compiled
def bend(x: float, y: float, center: F64, phase: F64) -> tuple[float, float]:
    """World to plot coordinates, which bends the plots' straight edges slightly."""
    return (
        x + 11.0 * math.sin((y - center[1]) / 63.0 + phase[0]),
        y + 11.0 * math.sin((x - center[0]) / 57.0 + phase[1]),
    )


@dataclass(frozen=True)
class Neighbor:
    """The plot across an edge, and the road along that edge."""

    key: tuple[int, int]
    x: float
    y: float
    landuse: int
    kind: int
    chance: float  # uniform in [0, 1), the same seen from both sides
    vertices: tuple[tuple[float, float], tuple[float, float]]


@dataclass(frozen=True)
class Plot:
    """A Voronoi cell with one land use, in warped coordinates, and its local frame."""

    key: tuple[int, int]
    x: float
    y: float
    landuse: int
    cluster: int
    origin: tuple[float, float]
    angle: float
    rnd: tuple[float, float, float, float]
    level: float  # height of the water of a lake
    neighbors: tuple[Neighbor, ...]

    def touches(self, bounds: tuple[float, float, float, float], margin: float) -> bool:
        """Whether the plot's bounding box comes within ``margin`` metres of ``bounds``."""
        xs, ys = zip(*(vertex for n in self.neighbors for vertex in n.vertices), strict=True)
        left, bottom, right, top = bounds
        across = min(xs) - margin < right and max(xs) + margin > left
        return bool(across and min(ys) - margin < top and max(ys) + margin > bottom)

    def rng(self, salt: int) -> np.random.Generator:
        """A generator of this plot's own."""
        return _rng(salt, self.cluster, *self.key)


def _rng(*key: int) -> np.random.Generator:
    return np.random.default_rng([value & 0xFFFFFFFF for value in key])


class Layout:
    """The plots of a world: planned by section on demand, identical in any order."""

    def __init__(self, seed: int, center: tuple[float, float]) -> None:
        self.seed = seed
        self.center = center
        rng = _rng(seed, 1)
        self.lines = make_lines(rng, center)
        self.phase = tuple(rng.uniform(0, 6.28, 2))
        self.section = lru_cache(maxsize=128)(self._section)
        self._plan = lru_cache(maxsize=256)(self._make_plan)

    def __reduce__(self) -> tuple[type[Layout], tuple[int, tuple[float, float]]]:
        return Layout, (self.seed, self.center)

    def warp(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[
        NDArray[np.float64], NDArray[np.float64]
    ]:  # fmt: skip
        """`bend` for arrays."""
        return (
            x + 11.0 * np.sin((y - self.center[1]) / 63.0 + self.phase[0]),
            y + 11.0 * np.sin((x - self.center[0]) / 57.0 + self.phase[1]),
        )

    def unwarp(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[
        NDArray[np.float64], NDArray[np.float64]
    ]:  # fmt: skip
        """Inverse of `warp`, by fixed-point iteration (its slope is below 0.2)."""
        wx, wy = x, y
        for _ in range(12):
            fx, fy = self.warp(wx, wy)
            wx, wy = wx + x - fx, wy + y - fy
        return wx, wy

    def plots(self, bounds: tuple[float, float, float, float], margin: float) -> list[Plot]:
        """Plots whose sites lie within ``margin`` metres of ``bounds``, in order of their keys."""
        left, bottom, right, top = bounds
        i0, j0 = self._lattice(left - margin, bottom - margin)
        i1, j1 = self._lattice(right + margin, top + margin)
        keys = [(i, j) for j in range(j0, j1 + 1) for i in range(i0, i1 + 1)]
        return [self.plot(i, j) for i, j in keys]

    def plot(self, i: int, j: int) -> Plot:
        """The plot of a site."""
        return self.section(i // SIDE, j // SIDE)[(i, j)]

    def _lattice(self, x: float, y: float) -> tuple[int, int]:
        half = SIDE * SPACING / 2
        return (
            math.floor((x - self.center[0] + half) / SPACING),
            math.floor((y - self.center[1] + half) / SPACING),
        )

    def site(self, i: int, j: int) -> tuple[float, float]:
        """Plot coordinates of a site."""
        jx, jy = (0.54 * hash2(i, j, self.seed * 97 + salt) - 0.27 for salt in (2, 3))
        half = SIDE * SPACING / 2
        return (
            self.center[0] - half + (i + 0.5 + jx) * SPACING,
            self.center[1] - half + (j + 0.5 + jy) * SPACING,
        )

    def _section(self, row: int, col: int) -> dict[tuple[int, int], Plot]:
        """Plots of a section by key; Voronoi neighbours are found with a margin of sites."""
        i0, j0, ring = row * SIDE, col * SIDE, 4
        span = range(-ring, SIDE + ring)
        keys = [(i0 + i, j0 + j) for j in span for i in span]
        points = np.array([self.site(*key) for key in keys])
        local = points - points[0]
        voronoi = Voronoi(local)
        edges: dict[int, list[tuple[int, NDArray[np.float64]]]] = {}
        for (a, b), ridge in zip(voronoi.ridge_points, voronoi.ridge_vertices, strict=True):
            if min(ridge) >= 0:
                ends = voronoi.vertices[ridge] + points[0]
                edges.setdefault(int(a), []).append((int(b), ends))
                edges.setdefault(int(b), []).append((int(a), ends))
        plots = {}
        for n, (i, j) in enumerate(keys):
            if i0 <= i < i0 + SIDE and j0 <= j < j0 + SIDE:
                near = [self._neighbor((i, j), keys[m], points[m], ends) for m, ends in edges[n]]
                plots[(i, j)] = self._plot((i, j), points[n], tuple(sorted(near, key=_by_key)))
        return plots

    def _plot(
        self, key: tuple[int, int], xy: NDArray[np.float64], near: tuple[Neighbor, ...]
    ) -> Plot:
        landuse, cluster, origin, angle = self._planned(key)
        rnd = tuple(hash2(*key, self.seed * 97 + salt) for salt in (5, 6, 7, 8))
        river = abs(distance(self.lines[0], *origin)[0])
        level = plain(*origin, river, self.seed, self.lines) - 2.5 if landuse == LAKE else 0.0
        x, y = float(xy[0]), float(xy[1])
        return Plot(key, x, y, landuse, cluster, origin, angle, rnd, level, near)  # type: ignore[arg-type]

    def _neighbor(
        self,
        key: tuple[int, int],
        other: tuple[int, int],
        xy: NDArray[np.float64],
        ends: NDArray[np.float64],
    ) -> Neighbor:
        low, high = min(key, other), max(key, other)
        chance = hash2(low[0] * 7919 + low[1], high[0] * 7919 + high[1], self.seed * 97 + 4)
        mine, its = self._planned(key), self._planned(other)
        kind = road_kind(mine[0], its[0], mine[1] == its[1], chance)
        (ax, ay), (bx, by) = ends.tolist()
        return Neighbor(
            other, float(xy[0]), float(xy[1]), its[0], kind, chance, ((ax, ay), (bx, by))
        )

    def _planned(self, key: tuple[int, int]) -> tuple[int, int, tuple[float, float], float]:
        i, j = key
        return self._plan(i // SIDE, j // SIDE)[j % SIDE][i % SIDE]

    def is_town(self, row: int, col: int) -> bool:
        """Whether a section is a town; the one at the world's centre is."""
        return (row, col) == (0, 0) or bool(_rng(self.seed, 5, row, col).uniform() < 0.4)

    def _make_plan(
        self, row: int, col: int
    ) -> list[list[tuple[int, int, tuple[float, float], float]]]:
        """Land use, cluster, origin and angle of the frame for ``[j][i]`` of a section."""
        rng = _rng(self.seed, 6, row, col)
        keys = [(row * SIDE + i, col * SIDE + j) for j in range(SIDE) for i in range(SIDE)]
        sites = np.array([self.site(*key) for key in keys])
        near = distances(self.lines, sites[:, 0].copy(), sites[:, 1].copy())
        middle = sites.mean(axis=0) + rng.uniform(-420, 420, 2)
        plan: list[tuple[int, int, tuple[float, float], float]] = [(0, 0, (0.0, 0.0), 0.0)] * 100
        free = np.ones(len(sites), bool)
        cluster = ((row & 0x3FF) * 1024 + (col & 0x3FF)) * 100
        for name, sizes, radius, shy in _TOWN if self.is_town(row, col) else _COUNTRY:
            for size in sizes:
                cluster += 1
                cost = _cost(name, sites, middle, radius, shy, near, rng)
                chosen = _grow(cost, sites, free, size)
                free[chosen] = False
                frame = self._frame(name, sites[chosen], rng)
                for n in chosen:
                    plan[n] = (CLASS[name], cluster, *frame)
        return [plan[j * SIDE : (j + 1) * SIDE] for j in range(SIDE)]

    def _frame(
        self, name: str, sites: NDArray[np.float64], rng: np.random.Generator
    ) -> tuple[tuple[float, float], float]:
        """Origin (world) and angle of a cluster's frame; a rail yard lies along the railway."""
        x, y = self.unwarp(sites[:1, 0], sites[:1, 1])
        if name == "lake-natural":
            x, y = self.unwarp(sites[:, 0].mean(keepdims=True), sites[:, 1].mean(keepdims=True))
        angle = float(rng.uniform(0, math.pi))
        if name == "railroad_track":
            _, s, index = distance(self.lines[RAIL], float(x[0]), float(y[0]))
            _, _, dx, dy = point(self.lines[RAIL], s, index, 0.0)
            angle = math.atan2(dy, dx)
        return (float(x[0]), float(y[0])), angle


def _by_key(neighbor: Neighbor) -> tuple[int, int]:
    return neighbor.key


def _cost(
    name: str,
    sites: NDArray[np.float64],
    middle: NDArray[np.float64],
    radius: float,
    shy: float,
    near: NDArray[np.float64],
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """How unfit each site is for a class: lower is better."""
    away = np.hypot(*(sites - middle).T)
    cost = np.abs(away - radius) + rng.uniform(0, 500 if radius else 50, len(sites))
    cost += shy * np.clip(1.0 - (near - CORRIDOR).min(axis=1) / 130.0, 0.0, None)
    if shy >= 1500:  # one large thing needs a wide plot
        gaps = np.hypot(*(sites[:, None] - sites[None]).transpose(2, 0, 1))
        cost += 8.0 * np.clip(270.0 - np.sort(gaps, axis=1)[:, 1], 0.0, None)
    if name == "railroad_track":
        cost = np.abs(near[:, RAIL] - 110.0) + rng.uniform(0, 60, len(sites))
        cost += 2.0 * np.clip(220.0 - np.delete(near, RAIL, axis=1).min(axis=1), 0.0, None)
    return np.asarray(cost)


def _grow(
    cost: NDArray[np.float64], sites: NDArray[np.float64], free: NDArray[np.bool_], size: int
) -> list[int]:
    """The best free site, and around it the best of the nearest free ones."""
    cost = np.where(free, cost, np.inf)
    first = int(cost.argmin())
    away = np.hypot(*(sites - sites[first]).T)
    order = np.argsort(np.where(free, away * 3.0 + cost, np.inf))
    rest = [int(n) for n in order if n != first and free[n]]
    return [first, *rest[: size - 1]]


def _members(classes: Iterable[int]) -> NDArray[np.bool_]:
    """Whether each class belongs to a set, for compiled code."""
    return np.isin(np.arange(len(LANDUSE)), list(classes))


_IS_OPEN, _IS_RURAL = _members(OPEN), _members(RURAL)
_PARK = CLASS["park"]


@compiled
def road_kind(a: int, b: int, same_cluster: bool, chance: float) -> int:
    """The road along the edge between two plots, by their land use."""
    if a == LAKE and b == LAKE:
        return NONE
    if same_cluster and _IS_OPEN[a]:
        return TRACK if a != _PARK and chance < 0.3 else NONE
    rural = int(_IS_RURAL[a]) + int(_IS_RURAL[b])
    if rural == 2:
        if a == VILLAGE and b == VILLAGE:
            return STREET
        return TRACK if chance < 0.7 else NONE
    if rural == 1:
        return STREET if chance < 0.6 else TRACK
    if same_cluster:
        return STREET
    return PRIMARY if chance < 0.42 else STREET
