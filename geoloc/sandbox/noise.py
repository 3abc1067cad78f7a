"""Noise that depends only on world coordinates, so that every tiling gets the same world."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .compiling import compiled, compiled_for


@compiled_for("float64(int64, int64, int64)")
def hash2(i: int, j: int, seed: int) -> float:
    """Uniform in [0, 1) for integer coordinates."""
    h = (i * 374761393 + j * 668265263 + seed * 144665371) & 0xFFFFFFFF
    h = ((h ^ (h >> 13)) * 1274126177) & 0xFFFFFFFF
    h = ((h ^ (h >> 15)) * 739982445) & 0xFFFFFFFF
    return (h ^ (h >> 16)) / 4294967296.0


@compiled
def smooth(t: float) -> float:
    """Cubic step from 0 at t <= 0 to 1 at t >= 1."""
    if t <= 0.0:
        return 0.0
    if t >= 1.0:
        return 1.0
    return t * t * (3.0 - 2.0 * t)


@compiled
def value_noise(x: float, y: float, size: float, seed: int) -> float:
    """Smooth noise in [0, 1) with features of ``size`` metres."""
    fx, fy = x / size, y / size
    i, j = math.floor(fx), math.floor(fy)
    tx, ty = fx - i, fy - j
    tx, ty = tx * tx * (3.0 - 2.0 * tx), ty * ty * (3.0 - 2.0 * ty)
    a, b = hash2(i, j, seed), hash2(i + 1, j, seed)
    c, d = hash2(i, j + 1, seed), hash2(i + 1, j + 1, seed)
    return (a + (b - a) * tx) * (1.0 - ty) + (c + (d - c) * tx) * ty


@compiled
def noise_axis(
    first: float, step: float, count: int, size: float
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Of the middles of pixels along a side: their squares of ``size`` metres, and how far in."""
    squares, within = np.empty(count, np.int64), np.empty(count)
    for n in range(count):
        f = (first + (n + 0.5) * step) / size
        squares[n] = math.floor(f)
        t = f - squares[n]
        within[n] = t * t * (3.0 - 2.0 * t)
    return squares, within


@compiled
def row_noise(i: int, tx: float, j: int, ty: float, seed: int, kept: NDArray[np.float64]) -> float:
    """`value_noise` of a pixel, by its places on `noise_axis` of both sides.

    kept: ``(5,)``, for a row, NaN at first: a square, and the noise at its corners.
    """
    if kept[0] != i:
        kept[0] = i
        kept[1], kept[2] = hash2(i, j, seed), hash2(i + 1, j, seed)
        kept[3], kept[4] = hash2(i, j + 1, seed), hash2(i + 1, j + 1, seed)
    a, b, c, d = kept[1], kept[2], kept[3], kept[4]
    return float((a + (b - a) * tx) * (1.0 - ty) + (c + (d - c) * tx) * ty)


@compiled
def grain(x: float, y: float, size: float, seed: int) -> float:
    """Blocky noise in [-0.5, 0.5) with cells of ``size`` metres: the texture of a surface."""
    return hash2(math.floor(x / size), math.floor(y / size), seed) - 0.5
