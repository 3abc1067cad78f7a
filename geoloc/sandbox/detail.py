"""Repeatable noise over the world: the same point always shows the same grain."""

# mypy: disable-error-code="no-untyped-def,untyped-decorator"

from __future__ import annotations

import math

from numba import njit


@njit(cache=True, nogil=True, inline="always")
def hash3(i, j, k):
    """A number in [0, 1) for three integers."""
    h = i * 374761393 + j * 668265263 + k * 2147483647
    h = (h ^ ((h >> 13) & 0x7FFFF)) * 1274126177
    h = h ^ ((h >> 16) & 0xFFFF)
    return (h & 0xFFFFFF) / 16777216.0


@njit(cache=True, nogil=True)
def noise2(x, y, seed):
    """Smooth value noise in [0, 1) with unit cells."""
    fx, fy = math.floor(x), math.floor(y)
    i, j = int(fx), int(fy)
    a, b = x - fx, y - fy
    a, b = a * a * (3 - 2 * a), b * b * (3 - 2 * b)
    low = hash3(i, j, seed) * (1 - a) + hash3(i + 1, j, seed) * a
    high = hash3(i, j + 1, seed) * (1 - a) + hash3(i + 1, j + 1, seed) * a
    return low * (1 - b) + high * b


@njit(cache=True, nogil=True)
def noise3(x, y, z, seed):
    """Smooth value noise in [0, 1) with unit cells, in space."""
    fz = math.floor(z)
    k = int(fz)
    c = z - fz
    c = c * c * (3 - 2 * c)
    return noise2(x, y, seed + 131 * k) * (1 - c) + noise2(x, y, seed + 131 * (k + 1)) * c


@njit(cache=True, nogil=True)
def fbm2(x, y, seed, octaves):
    """Octaves of `noise2`, each of half the size and weight; in [0, 1)."""
    total, weight, norm = 0.0, 1.0, 0.0
    for octave in range(octaves):
        total += weight * noise2(x, y, seed + 17 * octave)
        norm += weight
        weight *= 0.5
        x, y = 2 * x + 11.3, 2 * y + 7.7
    return total / norm
