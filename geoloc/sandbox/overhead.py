"""The world from above: sunlight and shadows, seasons, haze, seams between flight lines."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

import numba
import numpy as np
from numpy.typing import NDArray

from ..domain import Grid
from .compiling import compiled, parallel
from .noise import hash2, noise_axis, row_noise, smooth, value_noise
from .scene import Material, Scene

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]

SHADOW_REACH = 100.0
"""Metres beyond a window from which shadows are traced into it."""
_GREEN = (int(Material.GRASS), int(Material.TREE), int(Material.CROP))
_GRASS, _TREE, _CROP = _GREEN
_WATER = int(Material.WATER)


class Rasterizer(Protocol):
    """The part of a world that a view needs."""

    seed: int

    def rasterize(self, window: Grid) -> Scene: ...

    def rise(self, window: Grid) -> float:
        """Metres that anything in a window rises above its lowest ground, at most."""
        ...


@dataclass(frozen=True)
class Acquisition:
    """The date and light of an overhead image.

    sun_azimuth: degrees clockwise from north; sun_elevation: degrees above the horizon.
    autumn: 0 in early summer to 1 in late autumn. gain: per colour. haze: 0 to about 0.3.
    """

    date: datetime
    sun_azimuth: float
    sun_elevation: float
    autumn: float
    gain: tuple[float, float, float]
    haze: float
    number: int


ACQUISITIONS = (
    Acquisition(
        datetime(2021, 6, 19, 8, 42, tzinfo=UTC), 142.0, 55.0, 0.05, (1.02, 1.0, 0.97), 0.10, 1
    ),
    Acquisition(
        datetime(2022, 9, 24, 9, 5, tzinfo=UTC), 161.0, 37.0, 0.62, (1.10, 1.05, 1.02), 0.15, 2
    ),
)
"""The two flights of a world's imagery."""


@compiled
def _season(
    r: float, g: float, b: float, material: int, autumn: float
) -> tuple[float, float, float]:
    """Colour of a plant in another season: leaves turn, grain is cut, grass dries."""
    if material == _TREE:
        t = autumn * smooth((g - 0.78 * r) / 40.0)
        return r + t * 34.0, g + t * 2.0, b - t * 8.0
    if material == _CROP:
        return r + autumn * 14.0, g - autumn * 4.0, b + autumn * 12.0
    if material == _GRASS:
        return r + autumn * 20.0, g + autumn * 4.0, b + autumn * 4.0
    return r, g, b


@compiled
def _cast(height: F32, dx: float, dz: float) -> F32:
    """Height up to which the air is in shadow, for a sun towards row 0.

    From one row to the next the shadow moves ``dx`` columns and sinks ``dz`` metres. It never
    lies below the surface, so what is outside the window is forgotten beyond its reach.
    """
    ny, nx = height.shape
    shadow = height.copy()
    whole = math.floor(dx)
    part = np.float32(dx - whole)
    for row in range(1, ny):
        for col in range(nx):
            a = min(max(col + whole, 0), nx - 1)
            b = min(max(col + whole + 1, 0), nx - 1)
            value = shadow[row - 1, a] * (1 - part) + shadow[row - 1, b] * part - np.float32(dz)
            if value > shadow[row, col]:
                shadow[row, col] = value
    return shadow


def shadow_height(surface: F32, step: float, azimuth: float, elevation: float) -> F32:
    """Height up to which each pixel ``(y, x)`` lies in shadow: its own where it is sunlit."""
    turns = math.floor((azimuth + 45.0) / 90.0) % 4
    turned = np.ascontiguousarray(np.rot90(surface, turns))
    offset = math.radians(azimuth - 90.0 * turns)
    dz = step / math.cos(offset) * math.tan(math.radians(elevation))
    shadow = _cast(turned, math.tan(offset), dz)
    return np.ascontiguousarray(np.rot90(shadow, -turns))


@parallel
def _light(
    color: U8, surface: F32, shadow: F32, material: U8, step: float, sun: NDArray[np.float64],
    autumn: float, out: F32,
) -> None:  # fmt: skip
    """Reflected light ``(y, x, 3)``: sun by the slope of the surface, sky, bounce in shadows."""
    ny, nx = surface.shape
    for row in numba.prange(ny):
        up, down = max(row - 1, 0), min(row + 1, ny - 1)
        for col in range(nx):
            west, east = max(col - 1, 0), min(col + 1, nx - 1)
            limit = np.float32(1.6 * step)
            zx = min(limit, max(-limit, surface[row, east] - surface[row, west])) / (2.0 * step)
            zy = min(limit, max(-limit, surface[up, col] - surface[down, col])) / (2.0 * step)
            facing = (sun[2] - zx * sun[0] - zy * sun[1]) / math.sqrt(1.0 + zx * zx + zy * zy)
            depth = (shadow[row, col] - surface[row, col]) / 0.6
            lit = 1.0 - min(1.0, max(0.0, depth))
            kind = material[row, col]
            r, g, b = _season(
                float(color[row, col, 0]), float(color[row, col, 1]), float(color[row, col, 2]),
                kind, autumn,
            )  # fmt: skip
            direct = 1.12 * max(facing, 0.0) / sun[2] * lit
            if kind == _WATER:
                direct = 0.9 * lit + 0.1
            out[row, col, 0] = r * (0.31 + 0.77 * direct)
            out[row, col, 1] = g * (0.34 + 0.74 * direct)
            out[row, col, 2] = b * (0.41 + 0.67 * direct)


@parallel
def _develop(light: F32, pad: int, air: F32, gain: F32, out: U8) -> None:
    """Blur a little as a lens does, add haze, scale the colours."""
    ny, nx, _ = out.shape
    for row in numba.prange(ny):
        for col in range(nx):
            i, j = row + pad, col + pad
            haze = air[row, col]
            for k in range(3):
                near = (
                    light[i - 1, j, k]
                    + light[i + 1, j, k]
                    + light[i, j - 1, k]
                    + light[i, j + 1, k]
                )
                value = 0.64 * light[i, j, k] + 0.09 * near
                value = value * (1 - haze) + haze * (178.0 + 12.0 * k)
                value = value * gain[row, col, k]
                out[row, col, k] = np.uint8(min(255.0, max(1.0, value)))


def shade(
    scene: Scene,
    azimuth: float = 150.0,
    elevation: float = 48.0,
    autumn: float = 0.0,
) -> U8:
    """A scene from above in plain sunlight, without air: uint8 RGB ``(y, x, 3)``."""
    light = np.pad(_lit(scene, azimuth, elevation, autumn), ((1, 1), (1, 1), (0, 0)), mode="edge")
    out = np.zeros((*scene.grid.shape, 3), np.uint8)
    _develop(light, 1, np.zeros(out.shape[:2], np.float32), np.ones(out.shape, np.float32), out)
    return out


def _lit(scene: Scene, azimuth: float, elevation: float, autumn: float) -> F32:
    surface = scene.terrain + scene.top
    shadow = shadow_height(surface, scene.grid.step, azimuth, elevation)
    a, e = math.radians(azimuth), math.radians(elevation)
    sun = np.array([math.sin(a) * math.cos(e), math.cos(a) * math.cos(e), math.sin(e)])
    light = np.zeros((*surface.shape, 3), np.float32)
    _light(scene.color, surface, shadow, scene.material, scene.grid.step, sun, autumn, light)
    return light


@parallel
def _air(
    left: float, top: float, step: float, seed: int, strength: float, balance: NDArray[np.float64],
    haze: F32, gain: F32,
) -> None:  # fmt: skip
    """Haze ``(y, x)`` in drifting patches and colour gains ``(y, x, 3)`` per flight line."""
    ny, nx = haze.shape
    broad_i, broad_x = noise_axis(left, step, nx, 900.0)
    broad_j, broad_y = noise_axis(top, -step, ny, 900.0)
    fine_i, fine_x = noise_axis(left, step, nx, 260.0)
    fine_j, fine_y = noise_axis(top, -step, ny, 260.0)
    for row in numba.prange(ny):
        y = top - (row + 0.5) * step
        bend = 60.0 * value_noise(0.0, y, 500.0, seed + 2)
        kept, kept_fine, last = np.full(5, np.nan), np.full(5, np.nan), np.nan
        tones = np.empty(3)
        for col in range(nx):
            x = left + (col + 0.5) * step
            broad = row_noise(broad_i[col], broad_x[col], broad_j[row], broad_y[row], seed, kept)
            fine = row_noise(
                fine_i[col], fine_x[col], fine_j[row], fine_y[row], seed + 1, kept_fine
            )  # fmt: skip
            patch = broad * 0.7 + fine * 0.3
            haze[row, col] = strength * (0.25 + 1.5 * smooth((patch - 0.42) * 2.6))
            strip = math.floor((x + 0.09 * y + bend) / 1150.0)
            if strip != last:
                last, common = strip, hash2(strip, 9, seed + 4) - 0.5
                for k in range(3):
                    tone = hash2(strip, k, seed + 3) - 0.5
                    tones[k] = balance[k] * (1.0 + 0.07 * tone + 0.16 * common)
            for k in range(3):
                gain[row, col, k] = tones[k]


def render_overhead(world: Rasterizer, window: Grid, date: Acquisition = ACQUISITIONS[0]) -> U8:
    """The image of ``window`` on one flight: uint8 RGB ``(y, x, 3)``, never 0.

    Pixels are identical through any window.
    """
    wide = _widened(window, _margins(window.step, date.sun_azimuth, SHADOW_REACH))
    longest = world.rise(wide) / math.tan(math.radians(date.sun_elevation))
    margins = _margins(window.step, date.sun_azimuth, min(SHADOW_REACH, longest))
    north, east, south, west = margins
    wide = _widened(window, margins)
    light = _lit(world.rasterize(wide), date.sun_azimuth, date.sun_elevation, date.autumn)
    seen = slice(north - 1, 1 - south or None), slice(west - 1, 1 - east or None)
    light = np.ascontiguousarray(light[seen])
    haze, gain = np.zeros(window.shape, np.float32), np.zeros((*window.shape, 3), np.float32)
    seed = world.seed * 7919 + 1000 * date.number
    balance = np.array(date.gain)
    _air(window.left, window.top, window.step, seed, date.haze, balance, haze, gain)
    out = np.zeros((*window.shape, 3), np.uint8)
    _develop(light, 1, haze, gain, out)
    return out


def _widened(window: Grid, margins: tuple[int, int, int, int]) -> Grid:
    north, east, south, west = margins
    return window.window(slice(-north, window.ny + south), slice(-west, window.nx + east))


def _margins(step: float, azimuth: float, reach: float) -> tuple[int, int, int, int]:
    """Pixels north, east, south and west of a window that its light depends on.

    Shadows of ``reach`` metres at most come from the sun's side alone; on the others a slope and
    the lens see two pixels.
    """
    north, east = math.cos(math.radians(azimuth)), math.sin(math.radians(azimuth))
    reach = reach / step / max(abs(north), abs(east))
    sides = (north, east, -north, -east)
    return tuple(max(2, math.ceil(reach * side)) for side in sides)  # type: ignore[return-value]
