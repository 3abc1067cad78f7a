"""Repeatable noise over the world, and the fine structure of grounds, leaves and bark."""

# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator"

from __future__ import annotations

import math

from .compiling import compiled, compiled_for

_GRASS, _CROP, _SOIL, _ASPHALT, _, _GRAVEL, _SAND = range(7)
_RAIL, _PITCH, _TRACK, _MARKING = 10, 11, 12, 16


@compiled
def hash3(i, j, k):
    """A number in [0, 1) for three integers."""
    h = i * 374761393 + j * 668265263 + k * 2147483647
    h = (h ^ ((h >> 13) & 0x7FFFF)) * 1274126177
    h = h ^ ((h >> 16) & 0xFFFF)
    return (h & 0xFFFFFF) / 16777216.0


@compiled_for("float64(float64, float64, int64)")
def noise2(x, y, seed):
    """Smooth value noise in [0, 1) with unit cells."""
    fx, fy = math.floor(x), math.floor(y)
    i, j = int(fx), int(fy)
    a, b = x - fx, y - fy
    a, b = a * a * (3 - 2 * a), b * b * (3 - 2 * b)
    low = hash3(i, j, seed) * (1 - a) + hash3(i + 1, j, seed) * a
    high = hash3(i, j + 1, seed) * (1 - a) + hash3(i + 1, j + 1, seed) * a
    return low * (1 - b) + high * b


@compiled_for("float64(float64, float64, float64, int64)")
def noise3(x, y, z, seed):
    """Smooth value noise in [0, 1) with unit cells, in space."""
    fz = math.floor(z)
    k = int(fz)
    c = z - fz
    c = c * c * (3 - 2 * c)
    return noise2(x, y, seed + 131 * k) * (1 - c) + noise2(x, y, seed + 131 * (k + 1)) * c


@compiled_for("float64(float64, float64, int64, int64)")
def fbm2(x, y, seed, octaves):
    """Octaves of `noise2`, each of half the size and weight; in [0, 1)."""
    total, weight, norm = 0.0, 1.0, 0.0
    for octave in range(octaves):
        total += weight * noise2(x, y, seed + 17 * octave)
        norm += weight
        weight *= 0.5
        x, y = 2 * x + 11.3, 2 * y + 7.7
    return total / norm


@compiled
def fade(size, px):
    """Share of a detail of ``size`` m that is visible in a pixel of ``px`` m."""
    return min(max((size / px - 0.7) / 1.3, 0.0), 1.0)


@compiled
def ground_tone(material, x, y, t, lateral, px, eye):
    """Factor on the albedo of a ground, from its fine structure near the camera."""
    if material in (_GRASS, _CROP, _PITCH):
        blade = 0.016 if material != _CROP else 0.03
        tone = 0.86 + 0.28 * fbm2(x * 1.7, y * 1.7, 3, 3)
        near = fade(blade, px)
        deep = 0.5 if material == _PITCH else 0.95
        if near > 0:
            n = noise2(lateral / blade, math.log(t) * 110.0 * eye / 1.6, 41)
            m = hash3(int(x / 0.021), int(y / 0.021), 43)
            k = noise2(x / 0.11, y / 0.11, 45)
            tone *= 1 + near * deep * (0.42 * n + 0.42 * m + 0.4 * k - 0.62)
        far = fade(0.09, px) * (1 - near) * 0.5
        return tone * (1 + far * (noise2(x * 11, y * 11, 47) - 0.5))
    if material in (_ASPHALT, _MARKING, _TRACK):
        tone = 0.92 + 0.16 * fbm2(x * 0.5, y * 0.5, 5, 3)
        tone *= 1 + 0.34 * fade(0.012, px) * (noise2(x / 0.012, y / 0.012, 7) - 0.5)
        crack = abs(noise2(x * 0.22, y * 0.22, 9) + 0.1 * fbm2(x * 2.5, y * 2.5, 10, 3) - 0.66)
        return tone * (0.78 if material == _ASPHALT and crack < 0.0018 and px < 0.03 else 1.0)
    if material in (_GRAVEL, _RAIL):
        near = fade(0.05, px)
        tone = 0.9 + 0.2 * fbm2(x * 1.3, y * 1.3, 15, 2)
        grit = 0.55 * noise2(x * 26, y * 26, 11) + 0.45 * hash3(int(x / 0.017), int(y / 0.017), 12)
        return tone * (1 + near * 1.0 * (grit - 0.5))
    if material in (_SOIL, _SAND):
        rough = 1.0 if material == _SOIL else 0.35
        tone = 0.88 + 0.24 * fbm2(x * 1.1, y * 1.1, 17, 3)
        clods = fade(0.09, px) * (noise2(x * 8, y * 8, 19) + noise2(x * 19, y * 19, 20) - 1)
        fine = fade(0.02, px) * (hash3(int(x / 0.016), int(y / 0.016), 21) - 0.5)
        return tone * (1 + rough * (0.5 * clods + 0.3 * fine))
    tone = 0.92 + 0.16 * fbm2(x * 0.8, y * 0.8, 23, 3)
    return tone * (1 + 0.14 * fade(0.015, px) * (noise2(x / 0.015, y / 0.015, 25) - 0.5))


@compiled
def leaf_tone(x, y, z, t, px):
    """Factor on a crown's albedo: clusters of leaves, lit rims and dark gaps."""
    tone = 0.62 + 0.5 * noise3(x * 1.3, y * 1.3, z * 1.3, 51)
    near = fade(0.24, px)
    if near > 0:
        tone *= 1 + near * 0.8 * (noise3(x * 4.1, y * 4.1, z * 4.1, 53) - 0.5)
    for size in (0.16, 0.07, 0.03, 0.013):
        near = fade(size, px) * min(1.0, 14 * px / size)  # no large squares near by
        if near > 0:
            sway = 0.7 * noise2(x * 3 + z * 5, y * 3 - z * 4, 55)
            i, j = math.floor(x / size + sway), math.floor(y / size - sway)
            k = math.floor(z / size + sway)
            tone *= 1 + near * 0.75 * (hash3(i, j, 977 * k) - 0.5)
    return tone * (1.0 if t < 300 else 0.95)


@compiled
def bark(x, y, z, offset):
    """Albedo of a trunk; some are birches."""
    kind = hash3(int(x * 0.5), int(y * 0.5), 61)
    rough = noise2(offset * 9, z * 2.2, 63)
    if kind < 0.18:
        dark = 0.35 if noise2(offset * 2, z * 7, 65) > 0.68 else 1.0
        return 0.8 * dark, 0.79 * dark, 0.75 * dark
    return 0.30 + 0.16 * rough, 0.25 + 0.13 * rough, 0.20 + 0.10 * rough
