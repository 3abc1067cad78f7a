"""The places of photos of a world: on and beside its roads, in every kind of land use."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from pyproj import Transformer

from ..domain import Grid
from ..errors import GeolocError
from .camera import Camera, Frame
from .raycast import LEAF_HIT, SIDE_HIT, TRUNK_HIT, cast_rays
from .relief import BASE, GROUND, O_MAT, TOP, USE, Relief
from .scene import Material
from .sky import Light, make_light, sun_direction
from .view import WALKED, Rasterizer, eye_height

BESIDE = 25.0
"""Farthest from the middle of a road that a photo is taken, m."""
_SPACING = 12.0  # m between the places considered along a road
_TILE = 500.0
_STEP = 4.0
_MAX_TILES = 200  # of a large world, as many drawn at random
_FORMATS = ((1280, 960), (960, 1280), (1280, 720), (720, 1280), (1280, 854))
_FORMAT_SHARES = (0.46, 0.16, 0.20, 0.08, 0.10)


class Way(Protocol):
    """A road: ``points (n, 2)``, m."""

    @property
    def points(self) -> NDArray[np.float64]: ...


class Town(Rasterizer, Protocol):
    """The part of a world that photos need."""

    seed: int

    def __hash__(self) -> int: ...

    @property
    def bounds(self) -> tuple[float, float, float, float]: ...

    @property
    def roads(self) -> Sequence[Way]: ...


@dataclass(frozen=True)
class Spots:
    """Places along roads: ``points (n, 4)`` x, y, unit direction of the road; land use beside."""

    points: NDArray[np.float64]
    landuse: NDArray[np.uint8]

    def draw(self, rng: np.random.Generator) -> NDArray[np.float64]:
        """A place ``(4,)``; rare kinds of land use are drawn more often than they occur."""
        kinds, counts = np.unique(self.landuse, return_counts=True)
        shares = 0.6 / len(kinds) + 0.4 * counts / counts.sum()
        use = rng.choice(kinds, p=shares)
        return np.asarray(self.points[rng.choice(np.flatnonzero(self.landuse == use))])


@dataclass(frozen=True)
class Moment:
    """The time and light of a photo."""

    when: datetime
    light: Light


@lru_cache(maxsize=8)
def find_spots(world: Town) -> Spots:
    """Places along the roads of a world, with the land use to one side of each."""
    rng = np.random.default_rng([world.seed, 41])
    lines = [_along(np.asarray(road.points)) for road in world.roads]
    points = np.concatenate([np.zeros((0, 4)), *lines])
    if len(points) == 0:
        raise GeolocError(f"no road inside {list(world.bounds)}: make the world larger")
    side = rng.choice([-18.0, 0.0, 18.0], len(points))
    aside = points[:, :2] + side[:, None] * points[:, [3, 2]] * (1, -1)
    tiles = np.floor(aside / _TILE).astype(int)
    names = np.unique(tiles, axis=0)
    names = names[rng.permutation(len(names))[:_MAX_TILES]]
    keep, uses = [], []
    for name in names:
        inside = np.flatnonzero((tiles == name).all(axis=1))
        keep.append(inside)
        uses.append(_landuse(world, name, aside[inside]))
    return Spots(points[np.concatenate(keep)], np.concatenate(uses))


def _along(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points every few metres of a polyline, with the direction there."""
    vectors = np.diff(points, axis=0)
    lengths = np.hypot(*vectors.T)
    ends = np.concatenate([[0], np.cumsum(lengths)])
    s = np.arange(_SPACING / 2, ends[-1], _SPACING)
    part = np.clip(np.searchsorted(ends, s, side="right") - 1, 0, len(lengths) - 1)
    unit = vectors[part] / np.maximum(lengths[part], 1e-9)[:, None]
    return np.column_stack([points[part] + unit * (s - ends[part])[:, None], unit])


def _landuse(world: Town, tile: NDArray[np.int_], points: NDArray[np.float64]) -> NDArray[np.uint8]:
    n = round(_TILE / _STEP)
    grid = Grid(world.crs, tile[0] * _TILE, (tile[1] + 1) * _TILE, _STEP, n, n)
    scene = world.rasterize(grid)
    cols = ((points[:, 0] - grid.left) / _STEP).astype(int).clip(0, n - 1)
    rows = ((grid.top - points[:, 1]) / _STEP).astype(int).clip(0, n - 1)
    return np.asarray(scene.landuse[rows, cols])


def place(spot: NDArray[np.float64], rng: np.random.Generator) -> tuple[float, float]:
    """A point beside a place on a road: mostly close to it, at most `BESIDE` away."""
    across = rng.choice([-1, 1]) * (rng.uniform(0, 7) if rng.random() < 0.6 else
                                    rng.uniform(0, BESIDE))  # fmt: skip
    along = rng.uniform(-_SPACING / 2, _SPACING / 2)
    return (
        float(spot[0] + along * spot[2] + across * spot[3]),
        float(spot[1] + along * spot[3] - across * spot[2]),
    )


def hold(
    x: float, y: float, rng: np.random.Generator, size: tuple[int, int] | None = None
) -> Camera:
    """A phone held at a point, looking anywhere; ``size``: px ``(width, height)``."""
    width, height = size or _FORMATS[rng.choice(len(_FORMATS), p=_FORMAT_SHARES)]
    widest = 90.0 if width >= height else 62.0
    return Camera(
        x, y, float(rng.uniform(0, 360)), float(rng.uniform(50, widest)),
        pitch=float(np.clip(rng.normal(1.0, 2.5), -7, 8)),
        roll=float(np.clip(rng.normal(0, 1.0), -3, 3)),
        eye=float(rng.uniform(1.5, 1.75)), width=int(width), height=int(height),
    )  # fmt: skip


def moment(lon: float, lat: float, rng: np.random.Generator, clouds: float | None = None) -> Moment:
    """A day of the warm half of the year, between morning and evening; its sky and haze."""
    day = datetime(2025, 5, 1, tzinfo=UTC) + timedelta(days=int(rng.integers(0, 150)))
    when = day + timedelta(minutes=int(rng.integers(5 * 60, 16 * 60)))
    sun = sun_direction(when, lon, lat)
    while sun[2] < 0.17:  # too low: move towards noon, which is about 10 UTC here
        when += timedelta(minutes=20 if when.hour < 10 else -20)
        sun = sun_direction(when, lon, lat)
    cover = float(rng.beta(1.1, 1.5)) if clouds is None else clouds
    light = make_light(sun, cover, float(rng.uniform(2200, 9000)), int(rng.integers(9000)))
    return Moment(when.replace(second=int(rng.integers(60))), light)


def stands_free(relief: Relief, camera: Camera) -> bool:
    """Whether someone can stand there: not in a body, in water, or in high crops."""
    level = relief.levels[0]
    left, top, step = level.lattice
    i, j = int((top - camera.y) / step), int((camera.x - left) / step)
    reach = max(round(0.5 / step), 1)
    near = (slice(i - reach, i + reach + 1), slice(j - reach, j + reach + 1))
    if (level.looks[near][..., 0] == Material.WATER).any():
        return False
    heights, objects = level.heights[near], level.looks[near][..., O_MAT]
    rise = float(np.ptp(heights[..., GROUND]))
    low = (objects != 255) & ~np.isin(objects, WALKED)
    low &= heights[..., BASE] - heights[..., GROUND] < 2.0
    low &= heights[..., TOP] > heights[..., GROUND] + 0.4
    return not low.any() and rise < 0.7


def shows_place(relief: Relief, camera: Camera) -> bool:
    """Whether the picture shows a place and not a wall, a hedge or a car in front of the lens."""
    small = Camera(camera.x, camera.y, camera.heading, camera.fov, camera.pitch, camera.roll,
                   camera.eye, 40, max(round(40 * camera.height / camera.width), 8))  # fmt: skip
    frame = Frame.covering(small, 1.0)
    hits = cast_rays(relief, small, eye_height(relief, small), frame, min(150.0, relief.radii[-1]))
    close = np.isin(hits.kind, (SIDE_HIT, LEAF_HIT, TRUNK_HIT))
    very = (close & (hits.distance < 3.5)).mean()
    near = (close & (hits.distance < 9)).mean()
    return bool(very < 0.06 and near < 0.42)


def landuse_here(relief: Relief, x: float, y: float) -> int:
    """Land use at a point, an index into `scene.LANDUSE`."""
    level = relief.levels[0]
    left, top, step = level.lattice
    return int(level.looks[int((top - y) / step), int((x - left) / step), USE])


def to_lonlat(crs: str) -> Transformer:
    """Transformer from the world's CRS to degrees (lon, lat)."""
    return Transformer.from_crs(crs, "EPSG:4326", always_xy=True)


def heading_of(spot: NDArray[np.float64]) -> float:
    """Degrees clockwise from north along the road at a spot."""
    return math.degrees(math.atan2(spot[2], spot[3])) % 360
