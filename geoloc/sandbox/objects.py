"""Objects on the ground: buildings, trees, cars. Placed by plot, drawn by height."""

from __future__ import annotations

import math
from enum import IntEnum

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

from .compiling import compiled, parallel
from .noise import grain, value_noise
from .scene import Material

F64 = NDArray[np.float64]
X, Y, COS, SIN, HX, HY, SHAPE, BASE, TOP, MATERIAL, RED, GREEN, BLUE, BUILDING, AUX, REACH = range(
    16
)
COLUMNS = 16
"""Columns of an object; colours 0 to 255, lengths in metres, heights above the ground."""


class Shape(IntEnum):
    """Form of an object inside its rectangle of half sides ``hx`` and ``hy``."""

    FLAT = 0  # flat roof with a parapet
    GABLE = 1  # ridge along x, ``aux`` metres above the eaves
    HIP = 2
    CROWN = 3  # of a broadleaf tree
    CYLINDER = 4
    DOME = 5
    STAND = 6  # ring of seats from ``aux`` of the half axes outwards
    SAW = 7  # saw-tooth roof of a factory, ``aux`` metres high
    CAR = 8
    CONE = 9  # conifer
    PLAIN = 10  # box without detail


FLAT, GABLE, HIP, CROWN, CYLINDER, DOME, STAND, SAW, CAR, CONE, PLAIN = (int(s) for s in Shape)
_TREE = int(Material.TREE)
_CAR, _METAL = int(Material.CAR), int(Material.METAL)


class Bag:
    """Collects objects; every argument may be a number or an array."""

    def __init__(self) -> None:
        self._parts: list[F64] = []

    def add(
        self,
        shape: Shape,
        x: ArrayLike,
        y: ArrayLike,
        angle: ArrayLike,
        hx: ArrayLike,
        hy: ArrayLike,
        top: ArrayLike,
        color: ArrayLike,
        material: Material = Material.ROOF,
        base: ArrayLike = 0.0,
        building: ArrayLike = 0,
        aux: ArrayLike = 0.0,
    ) -> None:
        """Add objects at world ``x, y``, turned by ``angle``; ``color (3,)`` or ``(n, 3)``."""
        rgb = np.atleast_2d(np.asarray(color, float))
        part = np.zeros((np.broadcast_shapes(np.shape(x) or (1,), rgb.shape[:1])[0], COLUMNS))
        part[:, X], part[:, Y], part[:, HX], part[:, HY] = x, y, hx, hy
        part[:, COS], part[:, SIN] = np.cos(angle), np.sin(angle)
        part[:, SHAPE], part[:, BASE], part[:, TOP] = int(shape), base, top
        part[:, MATERIAL], part[:, BUILDING], part[:, AUX] = int(material), building, aux
        part[:, RED : BLUE + 1] = rgb
        part[:, REACH] = np.hypot(part[:, HX], part[:, HY]) + 1.0
        self._parts.append(part)

    def array(self) -> F64:
        """All objects ``(n, COLUMNS)``."""
        return np.concatenate(self._parts) if self._parts else np.zeros((0, COLUMNS))


@compiled
def roof(
    shape: int, lu: float, lv: float, hx: float, hy: float, top: float, aux: float, seed: int
) -> tuple[float, float]:
    """Height of a roof at a point of its frame, and how much lighter it is there."""
    rim = min(hx - abs(lu), hy - abs(lv))
    if shape == FLAT:
        if rim < 0.5 and min(hx, hy) > 3.0:
            return top + 0.5, 0.16
        seam = -0.07 if abs(lu / 5.0 - math.floor(lu / 5.0 + 0.5)) * 5.0 < 0.3 else 0.0
        patch = 0.22 * (value_noise(lu + top, lv, 7.0, seed) - 0.5)
        return top, seam + patch + 0.08 * grain(lu, lv, 0.5, seed)
    if shape == GABLE:
        ridge = 1.0 - abs(lv) / hy
        row = 0.06 * math.sin(lu * 5.5) + 0.07 * grain(lu, lv, 0.5, seed)
        return top + aux * ridge, row - (0.12 if ridge > 0.95 else 0.0)
    if shape == HIP:
        slope = min(rim, hy) / hy
        return top + aux * slope, 0.08 * grain(lu, lv, 0.5, seed) + 0.04 * math.sin(lv * 5.5)
    if shape == SAW:
        part = lu / 9.0 - math.floor(lu / 9.0)
        return top + aux * part, -0.35 if part > 0.84 else 0.05 * grain(lu, lv, 1.0, seed)
    return top, 0.05 * grain(lu, lv, 0.5, seed)


@compiled
def car(lu: float, lv: float, hx: float, hy: float, top: float) -> tuple[float, float]:
    """Bonnet, windows, roof of a car; ``k`` is -1 where there is glass."""
    a = lu / hx
    if abs(a) > 0.97 or abs(lv) > 0.95 * hy:
        return top * 0.5, -0.15
    if -0.75 < a < 0.42:
        glass = a > 0.18 or a < -0.52
        return top, -0.75 if glass else 0.04
    return top * 0.62, 0.0


@compiled
def round_shape(
    shape: int, lu: float, lv: float, hx: float, hy: float, base: float, top: float, aux: float,
    x: float, y: float, seed: int,
) -> tuple[float, float]:  # fmt: skip
    """Height and lightness of a round object at a point; height -1 outside of it."""
    r = math.sqrt((lu / hx) ** 2 + (lv / hy) ** 2)
    if shape == CROWN:
        r *= 1.0 + 0.55 * (value_noise(x, y, 1.7, seed) - 0.35)
        if r >= 1.0:
            return -1.0, 0.0
        lump = value_noise(x, y, 1.1, seed + 1)
        height = base + (top - base) * math.sqrt(1.0 - r * r) * (0.72 + 0.28 * lump)
        return height, 0.5 * (lump - 0.5) + 0.22 * grain(x, y, 0.5, seed) - 0.22 * r * r
    if r >= 1.0:
        return -1.0, 0.0
    if shape == CONE:
        return base + (top - base) * (1.0 - r), 0.4 * grain(x, y, 0.5, seed) - 0.15 * r
    if shape == DOME:
        return base + (top - base) * math.sqrt(1.0 - r * r), 0.0
    if shape == STAND:
        gate = abs(lv) < 4.0 or abs(lu) < 3.0
        if r < aux or (gate and r < 0.93):
            return -1.0, 0.0
        t = (r - aux) / (1.0 - aux)
        row = 0.14 if math.floor(t * 14.0) % 2 == 0 else -0.10
        return 2.0 + (top - 2.0) * t, row + 0.2 * grain(x, y, 0.5, seed)
    return top, 0.10 if r > 0.9 else 0.05 * grain(x, y, 1.0, seed)


@compiled
def draw_one(
    o: F64, left: float, north: float, step: float, row0: int, row1: int, seed: int,
    tops: NDArray[np.float32], bases: NDArray[np.float32], deck: NDArray[np.float32],
    material: NDArray[np.uint8], color: NDArray[np.uint8], building: NDArray[np.uint32],
) -> None:  # fmt: skip
    """Draw one object into rows ``row0`` to ``row1``; the higher object wins a pixel."""
    nx = tops.shape[1]
    c0 = max(0, math.floor((o[X] - o[REACH] - left) / step))
    c1 = min(nx, math.ceil((o[X] + o[REACH] - left) / step) + 1)
    r0 = max(row0, math.floor((north - o[Y] - o[REACH]) / step))
    r1 = min(row1, math.ceil((north - o[Y] + o[REACH]) / step) + 1)
    shape, kind = int(o[SHAPE]), int(o[MATERIAL])
    rides = kind in (_CAR, _METAL)
    for row in range(r0, r1):
        y = north - (row + 0.5) * step
        for col in range(c0, c1):
            x = left + (col + 0.5) * step
            dx, dy = x - o[X], y - o[Y]
            lu, lv = dx * o[COS] + dy * o[SIN], dy * o[COS] - dx * o[SIN]
            if abs(lu) > o[HX] or abs(lv) > o[HY]:
                continue
            if shape == CAR:
                top, k = car(lu, lv, o[HX], o[HY], o[TOP])
            elif shape in (CROWN, CYLINDER, DOME, STAND, CONE):
                top, k = round_shape(
                    shape, lu, lv, o[HX], o[HY], o[BASE], o[TOP], o[AUX], x, y, seed
                )
            else:
                top, k = roof(shape, lu, lv, o[HX], o[HY], o[TOP], o[AUX], seed)
            low = o[BASE]
            if rides and deck[row, col] > 0.0:
                top += deck[row, col]
                low = deck[row, col] - 1.5
            if top <= tops[row, col]:
                continue
            tops[row, col], bases[row, col], material[row, col] = top, low, kind
            building[row, col] = np.uint32(int(o[BUILDING]))
            for band in range(3):
                value = o[RED + band] * (1.0 + k)
                color[row, col, band] = min(255.0, max(0.0, value))


STRIP = 64


@parallel
def draw(
    objects: F64, left: float, north: float, step: float, seed: int, tops: NDArray[np.float32],
    bases: NDArray[np.float32], deck: NDArray[np.float32], material: NDArray[np.uint8],
    color: NDArray[np.uint8], building: NDArray[np.uint32],
) -> None:  # fmt: skip
    """Draw all objects, strips of rows in parallel, in the order given."""
    ny = tops.shape[0]
    for strip in numba.prange((ny + STRIP - 1) // STRIP):
        row0, row1 = strip * STRIP, min(ny, strip * STRIP + STRIP)
        high, low = north - row0 * step, north - row1 * step
        for n in range(objects.shape[0]):
            o = objects[n]
            if o[Y] - o[REACH] > high or o[Y] + o[REACH] < low:
                continue
            draw_one(
                o, left, north, step, row0, row1, seed,
                tops, bases, deck, material, color, building,
            )  # fmt: skip
