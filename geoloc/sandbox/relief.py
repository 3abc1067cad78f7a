"""Scenes prepared for ray casting: levels of detail, solid bodies, trunks and shadows.

A `Scene` has one surface per cell. A ray needs more: the ground under a crown, walls that
are straight although cells are square, and where the trunks stand. A `Level` adds that.
"""

# mypy: disable-error-code="no-untyped-def,untyped-decorator,no-untyped-call"

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .compiling import compiled
from .scene import LANDUSE, Material, Scene

GROUND, TOP, BASE, COVER, SOLID, DEPTH = range(6)
"""Planes of `Level.heights`: absolute z of ground, object's top and base; cover 0-1 of the
object, smoothed so that its 0.5 contour is the wall; z of whatever stops the sun; m from
inside an object to the open."""

G_MAT, O_MAT, USE, G_RED, O_RED = 0, 1, 2, 3, 6
"""Planes of `Level.looks`: materials of ground and object, land use, their colours."""

CX, CY, COS, SIN, HALF_A, HALF_B, STRAIGHT, SEED, HEIGHT, BOX_MAT, BOX_USE, BOX_RED = range(12)
"""Columns of `Level.boxes`: a body's fitted rectangle; STRAIGHT: it fills that rectangle;
from BOX_RED on its paint, the brightest colour seen from above (0-1)."""

NOTHING = 255
_NESTED = 5
_LOW = 0.4  # m: an object lower than this is a step in the ground, not a body with walls
_FLOOR_COLOR = (112, 98, 66)  # leaf litter, where a wood hides its ground from above
_FOREST = LANDUSE.index("forest-broadleaf")


@dataclass(frozen=True)
class Level:
    """One resolution of the surroundings; arrays are ``(y, x)`` on the scene's grid.

    lattice: left, top, step. heights: float32 ``(y, x, 6)``. looks: uint8 ``(y, x, 9)``.
    body: int32, row in ``boxes`` or -1. boxes: float64 ``(body, 14)``.
    """

    lattice: NDArray[np.float64]
    heights: NDArray[np.float32]
    looks: NDArray[np.uint8]
    body: NDArray[np.int32]
    boxes: NDArray[np.float64]


@dataclass(frozen=True)
class Relief:
    """Nested levels, finest first, each used out to its radius (m) from the camera."""

    levels: tuple[Level, ...]
    radii: tuple[float, ...]
    trunks: NDArray[np.float64]

    @property
    def nested(self) -> tuple[tuple[Level, ...], NDArray[np.float64]]:
        """Levels and radii, the last repeated: kernels are compiled for one number of levels."""
        more = _NESTED - len(self.levels)
        radii = np.array((*self.radii, *self.radii[-1:] * more))
        return (*self.levels, *self.levels[-1:] * more), radii

    @classmethod
    def of(cls, scenes: Sequence[Scene], radii: Sequence[float]) -> Relief:
        """Prepare scenes, finest first."""
        levels = tuple(make_level(scene) for scene in scenes)
        return cls(levels, tuple(float(radius) for radius in radii), find_trunks(scenes[0]))


def make_level(scene: Scene) -> Level:
    """Add what rays need to one scene."""
    solid = (scene.top >= _LOW) & (scene.material != Material.CROP)
    ground = (scene.terrain + np.where(solid, 0, scene.top)).astype(np.float32)
    ids, seeds = _bodies(scene, solid)
    cover = _cover(solid)
    top = scene.terrain + scene.top
    base = scene.terrain + scene.base
    heights = np.stack([ground, top, base, cover, top, cover], axis=-1).astype(np.float32)
    looks = np.empty((*scene.grid.shape, 9), np.uint8)
    looks[..., G_MAT] = scene.material
    looks[..., O_MAT] = np.where(solid, scene.material, NOTHING)
    looks[..., USE] = scene.landuse
    looks[..., G_RED : G_RED + 3] = scene.color
    looks[..., O_RED : O_RED + 3] = scene.color
    grid = scene.grid
    lattice = np.array([grid.left, grid.top, grid.step])
    boxes = _fit_boxes(ids, seeds, scene, cover)
    floor = np.array(_FLOOR_COLOR, np.uint8)
    away = _spread_ground(solid, looks, scene.landuse == _FOREST, floor)
    heights[..., DEPTH] = np.minimum(away, 255) * np.float32(grid.step)
    _close_woods(scene, heights)
    _spread_bodies(solid, heights, looks, ids)
    return Level(lattice, heights, looks, ids, boxes)


def _close_woods(scene: Scene, heights: NDArray[np.float32]) -> None:
    """Let crowns reach down where trunks and undergrowth hide the view: in woods, far away."""
    crown = scene.material == Material.TREE
    inner = crown & (scene.landuse == _FOREST) & (heights[..., DEPTH] > 5)
    share = np.where(inner | (scene.grid.step >= 2), 0.2, 1.0)
    low = scene.terrain + share * scene.base
    heights[..., BASE] = np.where(crown, low, heights[..., BASE])


def _bodies(
    scene: Scene, solid: NDArray[np.bool_]
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Number of the body (building, vehicle) of each cell, -1 elsewhere, and a seed for each."""
    ids = np.full(scene.grid.shape, -1, np.int32)
    built = solid & (scene.building > 0)
    seeds, inverse = np.unique(scene.building[built], return_inverse=True)
    ids[built] = inverse
    rides = np.isin(scene.material, (Material.CAR, Material.METAL))
    cars, n_cars = ndimage.label(solid & rides & (scene.building == 0))
    ids = np.where(cars > 0, cars - 1 + len(seeds), ids).astype(np.int32)
    car_seeds = np.arange(n_cars) * 7919 + 13
    return ids, np.concatenate([seeds.astype(float), car_seeds.astype(float)])


@compiled
def _cover(solid):
    """Share of the 3 x 3 cells around that are solid; thin things keep their own cell."""
    ny, nx = solid.shape
    cover = np.zeros((ny, nx), np.float32)
    for i in range(ny):
        for j in range(nx):
            n, total = 0, 0
            for ii in range(max(i - 1, 0), min(i + 2, ny)):
                for jj in range(max(j - 1, 0), min(j + 2, nx)):
                    total += 1
                    n += solid[ii, jj]
            share = n / total
            cover[i, j] = max(share, 0.75) if solid[i, j] and share < 0.5 else share
    return cover


def _fit_boxes(
    ids: NDArray[np.int32], seeds: NDArray[np.float64], scene: Scene, cover: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Rectangle of every body, by the orientation of its outline and its second moments."""
    grid = scene.grid
    boxes = np.zeros((max(len(seeds), 1), 14))
    boxes[: len(seeds), SEED] = seeds
    _measure(ids, cover, scene.top - scene.base, scene.material, scene.landuse, scene.color,
             grid.left, grid.top, grid.step, boxes)  # fmt: skip
    return boxes


@compiled
def _measure(ids, cover, tall, material, landuse, color, left, north, step, boxes):
    """Fill ``boxes``: a uniform rectangle of side L has variance L^2 / 12 along that side."""
    n = boxes.shape[0]
    ny, nx = ids.shape
    count, border = np.zeros(n), np.zeros(n)
    turn = np.zeros((n, 2))
    for i in range(ny):
        for j in range(nx):
            b = ids[i, j]
            if b < 0:
                continue
            count[b] += 1
            boxes[b, CX] += left + (j + 0.5) * step
            boxes[b, CY] += north - (i + 0.5) * step
            boxes[b, HEIGHT] = max(boxes[b, HEIGHT], tall[i, j])
            paint = color[i, j] / 255.0
            if paint.sum() > boxes[b, BOX_RED:].sum():
                boxes[b, BOX_RED:] = paint
            boxes[b, BOX_MAT], boxes[b, BOX_USE] = material[i, j], landuse[i, j]
            if i == 0 or j == 0 or i == ny - 1 or j == nx - 1:
                border[b] = 1
                continue
            gx = cover[i, j + 1] - cover[i, j - 1]
            gy = cover[i - 1, j] - cover[i + 1, j]
            angle = 4 * math.atan2(gy, gx)  # walls at right angles add up instead of cancel
            turn[b, 0] += math.hypot(gx, gy) * math.cos(angle)
            turn[b, 1] += math.hypot(gx, gy) * math.sin(angle)
    for b in range(n):
        boxes[b, CX] /= max(count[b], 1)
        boxes[b, CY] /= max(count[b], 1)
        angle = math.atan2(turn[b, 1], turn[b, 0]) / 4
        boxes[b, COS], boxes[b, SIN] = math.cos(angle), math.sin(angle)
    _extents(ids, left, north, step, boxes, count)
    inside = np.zeros(n)
    for i in range(ny):
        for j in range(nx):
            b = ids[i, j]
            if b >= 0:
                inside[b] += in_box(boxes[b], left + (j + 0.5) * step, north - (i + 0.5) * step, 0)
    for b in range(n):
        area = 4 * boxes[b, HALF_A] * boxes[b, HALF_B]
        fills = count[b] * step * step / max(area, 1e-9)
        car = boxes[b, BOX_MAT] == 14
        straight = count[b] >= 6 and 0.9 < fills < 1.1 and inside[b] > 0.93 * count[b]
        boxes[b, STRAIGHT] = border[b] == 0 and (straight or car)


@compiled
def _extents(ids, left, north, step, boxes, count):
    """Half lengths of the rectangles along their own axes."""
    for i in range(ids.shape[0]):
        for j in range(ids.shape[1]):
            b = ids[i, j]
            if b >= 0:
                s, t = along(boxes[b], left + (j + 0.5) * step, north - (i + 0.5) * step)
                boxes[b, HALF_A] += s * s
                boxes[b, HALF_B] += t * t
    for b in range(boxes.shape[0]):
        for k in (HALF_A, HALF_B):
            boxes[b, k] = math.sqrt(3 * boxes[b, k] / max(count[b], 1) + step * step / 12)
        if boxes[b, HALF_A] < boxes[b, HALF_B]:  # the first axis is the long one
            boxes[b, HALF_A], boxes[b, HALF_B] = boxes[b, HALF_B], boxes[b, HALF_A]
            boxes[b, COS], boxes[b, SIN] = -boxes[b, SIN], boxes[b, COS]


@compiled
def along(box, x, y):
    """Coordinates of a point along the two axes of a box, m from its centre."""
    dx, dy = x - box[CX], y - box[CY]
    return dx * box[COS] + dy * box[SIN], -dx * box[SIN] + dy * box[COS]


@compiled
def in_box(box, x, y, margin):
    """Whether the point lies in the box, grown by ``margin`` m."""
    s, t = along(box, x, y)
    return abs(s) <= box[HALF_A] + margin and abs(t) <= box[HALF_B] + margin


@compiled
def _spread_ground(solid, looks, wood, floor):
    """Give cells under objects the look of the nearest open ground; how many cells that is."""
    ny, nx = solid.shape
    far = np.int32(1 << 20)
    distance = np.where(solid, far, np.int32(0))
    for sweep in range(2):
        for n in range(ny * nx):
            m = n if sweep == 0 else ny * nx - 1 - n
            i, j = m // nx, m % nx
            back = -1 if sweep == 0 else 1
            for di, dj in ((back, 0), (0, back)):
                ii, jj = i + di, j + dj
                inside = 0 <= ii < ny and 0 <= jj < nx
                if inside and distance[ii, jj] + 1 < distance[i, j]:
                    distance[i, j] = distance[ii, jj] + 1
                    looks[i, j, 0] = looks[ii, jj, 0]
                    looks[i, j, 3:6] = looks[ii, jj, 3:6]
    for i in range(ny):
        for j in range(nx):
            if wood[i, j] and distance[i, j] > 2:
                looks[i, j, 0] = 0
                looks[i, j, 3:6] = floor
    return distance


@compiled
def _spread_bodies(solid, heights, looks, ids):
    """Let objects reach two cells outwards, so that a wall can lie between cell centres."""
    ny, nx = solid.shape
    for i in range(ny):
        for j in range(nx):
            if solid[i, j]:
                continue
            best, bi, bj = 99, -1, -1
            for ii in range(max(i - 2, 0), min(i + 3, ny)):
                for jj in range(max(j - 2, 0), min(j + 3, nx)):
                    d = (ii - i) ** 2 + (jj - j) ** 2
                    if solid[ii, jj] and d < best:
                        best, bi, bj = d, ii, jj
            if bi >= 0:
                heights[i, j, 1:3] = heights[bi, bj, 1:3]
                looks[i, j, 1] = looks[bi, bj, 1]
                looks[i, j, 6:9] = looks[bi, bj, 6:9]
                ids[i, j] = ids[bi, bj]


def find_trunks(scene: Scene) -> NDArray[np.float64]:
    """Trunks ``(n, 5)``: x, y, radius, foot z, crown's base z; one under each local top."""
    crown = np.where(scene.material == Material.TREE, scene.top, 0)
    size = 2 * round(1.0 / scene.grid.step) + 1
    peak = (crown > 2.5) & (crown >= ndimage.maximum_filter(crown, size=max(size, 3)))
    label, n = ndimage.label(peak, np.ones((3, 3)))
    if n == 0:
        return np.zeros((0, 5))
    rows, cols = np.array(ndimage.center_of_mass(peak, label, np.arange(1, n + 1))).T
    i, j = np.rint(rows).astype(int), np.rint(cols).astype(int)
    grid, foot = scene.grid, scene.terrain[i, j]
    x, y = grid.left + (cols + 0.5) * grid.step, grid.top - (rows + 0.5) * grid.step
    radius = 0.05 + 0.014 * crown[i, j]
    return np.stack([x, y, radius, foot, foot + scene.base[i, j] + 1.0], axis=1)


@compiled
def shadow_heights(solid, step, east, north, climb, i0, i1, j0, j1):
    """Height (absolute z) below which a point of cell ``[i0:i1, j0:j1]`` lies in shadow.

    ``east, north``: unit vector towards the sun; ``climb``: m the sun's ray rises per m.
    One sweep away from the sun: each cell uses its neighbour on the sunny side, between two
    cells of which the ray passes.
    """
    out = np.full((i1 - i0, j1 - j0), -1e9, np.float32)
    steep = abs(north) > abs(east)
    major = max(abs(north), abs(east))
    drop = step / major * climb
    di, dj = -north / major, east / major
    outer = i1 - i0 if steep else j1 - j0
    inner = j1 - j0 if steep else i1 - i0
    backwards = (di > 0) if steep else (dj > 0)
    for n in range(outer):
        a = outer - 1 - n if backwards else n
        for b in range(inner):
            i, j = (a, b) if steep else (b, a)
            ii, jj = i + di, j + dj
            near = math.floor(jj if steep else ii)
            share = (jj if steep else ii) - near
            fixed = round(ii if steep else jj)
            low = _blocked(solid, out, i0, j0, fixed, near, steep)
            high = _blocked(solid, out, i0, j0, fixed, near + 1, steep)
            out[i, j] = low * (1 - share) + high * share - drop
    return out


@compiled
def _blocked(solid, out, i0, j0, fixed, free, steep):
    """Height up to which the sun is blocked at a cell of the window; none outside."""
    i, j = (fixed, free) if steep else (free, fixed)
    if i < 0 or j < 0 or i >= out.shape[0] or j >= out.shape[1]:
        return -1e4
    return max(solid[i0 + i, j0 + j], out[i, j])
