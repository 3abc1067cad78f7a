"""The ground view: the world as seen by a phone's camera at eye height.

scenes (finest first) -> Relief -> cast_rays -> shade -> warp -> sensor -> View
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..domain import Grid
from .camera import Camera, Frame
from .raycast import GROUND_HIT, Hits, cast_rays
from .relief import Relief
from .scene import LANDUSE, Material, Scene
from .shading import shade
from .sky import Light

NO_LANDUSE = 255
"""Land use of a pixel that shows sky or is beyond reach."""

_DETAIL = ((0.1, 11.0), (0.25, 40.0), (0.5, 140.0), (2.0, 600.0), (8.0, 2000.0))
_COARSE = ((0.5, 80.0), (2.0, 350.0), (8.0, 1600.0))
_TILE = {2.0: 250, 8.0: 125}
"""Cells along a tile of the levels that neighbouring cameras share."""
_PAVED = (Material.ASPHALT, Material.MARKING)
"""Materials of a carriageway."""
WALKED = (Material.ASPHALT, Material.MARKING, Material.CONCRETE, Material.RAIL, Material.GRAVEL)
"""Materials on which people can stand above the ground, as on a bridge."""


class Rasterizer(Protocol):
    """The part of a world that the ground view needs."""

    crs: str

    def rasterize(self, window: Grid) -> Scene:
        """The scene over a window."""


@dataclass(frozen=True)
class View:
    """A picture and its content.

    pixels: uint8 ``(y, x, 3)``. landuse: uint8 ``(y, x)``, 255 for sky. distance: float32
    ``(y, x)``, m along the ground, inf for sky. visible: float32 ``(class,)``, share of each
    land use of what is seen, summing to 1 (all 0 where nothing is).
    """

    pixels: NDArray[np.uint8]
    landuse: NDArray[np.uint8]
    distance: NDArray[np.float32]
    visible: NDArray[np.float32]


class Surroundings:
    """Reliefs of a world around cameras; the far levels are kept by tile and shared.

    ``reach``: how far the world is seen at most, m.
    """

    def __init__(self, world: Rasterizer, reach: float = math.inf) -> None:
        self.world = world
        self._reach = reach
        self._tile = lru_cache(maxsize=160)(self._rasterize)

    def relief(self, x: float, y: float, spread: float = 0.0, *, detail: bool = True) -> Relief:
        """Relief for cameras within ``spread`` m (each way) of a point.

        ``detail``: with the finest levels, which only a large photo shows.
        """
        levels = _DETAIL if detail else _COARSE
        plan = [(step, min(radius, self._reach)) for step, radius in levels]
        scenes = [self._scene(x, y, step, radius + spread + 4 * step) for step, radius in plan]
        return Relief.of(scenes, [radius for _, radius in plan])

    def nearby(self, x: float, y: float) -> Relief:
        """Relief of the next 60 m only, to judge a place before it is rendered."""
        return Relief.of([self._scene(x, y, 0.5, 62.0)], [60.0])

    def _scene(self, x: float, y: float, step: float, reach: float) -> Scene:
        """The world within ``reach`` m of a point, on the lattice of multiples of ``step``."""
        row, col = math.floor(-y / step), math.floor(x / step)
        n = math.ceil(reach / step)
        if step not in _TILE:
            crs = self.world.crs
            window = Grid(crs, (col - n) * step, (n - row) * step, step, 2 * n, 2 * n)
            return self.world.rasterize(window)
        return self._mosaic(step, row - n, col - n, 2 * n)

    def _mosaic(self, step: float, row: int, col: int, n: int) -> Scene:
        """``n x n`` cells from lattice position ``(row, col)`` on, cut from tiles."""
        side = _TILE[step]
        rows = range(row // side, (row + n - 1) // side + 1)
        cols = range(col // side, (col + n - 1) // side + 1)
        tiles = [[self._tile(step, i, j) for j in cols] for i in rows]
        i0, j0 = row - rows[0] * side, col - cols[0] * side

        def joined(name: str) -> NDArray[np.generic]:
            whole = [np.concatenate([getattr(t, name) for t in line], axis=1) for line in tiles]
            return np.ascontiguousarray(np.concatenate(whole)[i0 : i0 + n, j0 : j0 + n])

        grid = Grid(self.world.crs, col * step, -row * step, step, n, n)
        return Scene(grid, *(joined(field.name) for field in fields(Scene)[1:]))  # type: ignore[arg-type]

    def _rasterize(self, step: float, row: int, col: int) -> Scene:
        side = _TILE[step]
        window = Grid(self.world.crs, col * side * step, -row * side * step, step, side, side)
        return self.world.rasterize(window)


def eye_height(relief: Relief, camera: Camera) -> float:
    """Absolute z of the camera: above the ground, or above a deck that carries a way."""
    level = relief.levels[0]
    left, top, step = level.lattice
    i, j = int((top - camera.y) / step), int((camera.x - left) / step)
    deck = level.looks[i, j, 1] in WALKED and level.heights[i, j, 1] > level.heights[i, j, 0]
    return float(level.heights[i, j, 1 if deck else 0]) + camera.eye


def render(
    relief: Relief, camera: Camera, light: Light, seed: int = 0, oversample: float = 1.5
) -> View:
    """Take a picture. ``seed``: of the sensor's noise; ``oversample``: rays per px, each way."""
    frame = Frame.covering(camera, oversample)
    eye_z = eye_height(relief, camera)
    hits = cast_rays(relief, camera, eye_z, frame, relief.radii[-1])
    linear = shade(relief, camera, eye_z, frame, hits, light)
    colors = frame.warp(_tone(linear), camera)
    landuse = frame.pick(hits.use, camera).astype(np.uint8)
    distance = frame.pick(hits.distance, camera).astype(np.float32)
    paved = frame.pick(_paved(hits), camera).astype(np.bool_)
    visible = visible_shares(landuse, distance, paved)
    return View(_sensor(colors, seed), landuse, distance, visible)


def _paved(hits: Hits) -> NDArray[np.bool_]:
    return np.asarray((hits.kind == GROUND_HIT) & np.isin(hits.material, _PAVED))


def visible_shares(
    landuse: NDArray[np.uint8], distance: NDArray[np.float32], paved: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Share of each land use ``(class,)`` of a picture ``(y, x)``, by weighted pixels.

    A carriageway counts a tenth, since it fills the lower half of most pictures and tells
    little; the ground within 6 m counts a third; beyond 400 m weight falls with distance.
    """
    seen = landuse != NO_LANDUSE
    weight = np.where(paved, 0.1, 1.0) * np.where(distance < 6, 0.35, 1.0)
    weight *= np.minimum(1.0, 400.0 / np.maximum(distance, 1.0))
    shares = np.bincount(landuse[seen], weight[seen], len(LANDUSE))[: len(LANDUSE)]
    return np.asarray(shares / max(shares.sum(), 1e-9), np.float32)


def _tone(linear: NDArray[np.float32], exposure: float = 1.75) -> NDArray[np.float32]:
    """Linear light to sRGB values 0-255, highlights rolled off as a camera does."""
    return np.asarray(255 * (1 - np.exp(-exposure * linear)) ** np.float32(1 / 2.2), np.float32)


def _sensor(colors: NDArray[np.float32], seed: int) -> NDArray[np.uint8]:
    """White balance, contrast, vignetting and noise of a small camera."""
    rng = np.random.default_rng([seed, 77])
    h, w = colors.shape[:2]
    y, x = np.mgrid[-1 : 1 : h * 1j, -1 : 1 : w * 1j].astype(np.float32)
    vignette = 1 - rng.uniform(0.03, 0.12) * (x * x + y * y)
    balance = (1 + rng.normal(0, 0.025, 3)).astype(np.float32)
    gain = np.float32(rng.uniform(0.94, 1.06))
    contrast = np.float32(rng.uniform(1.02, 1.16))
    out = (colors * balance * gain - 118) * contrast + 118
    noise = rng.standard_normal(colors.shape, np.float32) * np.float32(rng.uniform(1.0, 3.5))
    return np.asarray(np.clip(out * vignette[..., None] + noise, 0, 255), np.uint8)


__all__ = ["NO_LANDUSE", "WALKED", "Surroundings", "View", "eye_height", "render"]
