"""From plots and objects to the pixels of a `Scene`."""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray

from . import districts as D  # noqa: N812
from . import ground as G  # noqa: N812
from . import surface as S  # noqa: N812
from .compiling import compiled, parallel
from .layout import SIDE, SPACING, bend
from .lines import (
    CORRIDOR,
    FAR,
    MOTORWAY,
    RAIL,
    RIVER,
    RIVER_HALF,
    distance,
    is_near,
    is_rough,
)
from .noise import noise_axis, row_noise, smooth
from .terrain import BROAD, EMBANKMENT, FINE, OVERPASS, built, hills, mountains, sunk

F64 = NDArray[np.float64]

_RUN = 32
"""Pixels of a row that are judged together: which lines may matter to any of them."""


@compiled
def base_cover(
    plot: int, px: float, py: float, x: float, y: float, border: tuple[float, float, float, int],
    d: F64, sites: F64, edges: F64, seed: int, step: float,
) -> S.Cover:  # fmt: skip
    """Cover of a point without the lines; ``border``: as `ground.borders` gives it."""
    inside, zone, road, which = border
    clear = inside
    for k in range(4):
        clear = min(clear, abs(d[k]) - CORRIDOR[k])
    site = sites[plot]
    landuse = int(site[G.CLS])
    dx, dy, mx, my = x - site[G.OX], y - site[G.OY], px - site[0], py - site[1]
    u, v = dx * site[G.COS] + dy * site[G.SIN], dy * site[G.COS] - dx * site[G.SIN]
    cu, cv = mx * site[G.COS] + my * site[G.SIN], my * site[G.COS] - mx * site[G.SIN]
    own = seed + int(site[G.SEED])
    if clear > 0.0 or landuse == D.LAKE:
        c = G.cover(landuse, u, v, cu, cv, x, y, inside, zone, own, site[G.R0], site[G.R1], step)
    else:
        c = S.grass(x, y, seed, 0.35)
    c = G.inner_street(c, landuse, u, v, x, y, own)
    if 0.0 <= clear < 0.5 and G._FENCED[landuse] > 0.0 and c[3] != S.ASPHALT:
        c = (126.0, 124.0, 118.0, S.FENCE, G._FENCED[landuse])
    if which >= 0 and road < G.ROAD_REACH:
        t = edges[which, G.NX] * py - edges[which, G.NY] * px
        urban = G._URBAN[landuse] > 0.0
        c = G.plot_road(c, int(edges[which, G.KIND]), road, t, urban, x, y, seed, step)
    return c


@compiled
def height_of(flat: float, landuse: int, level: float, zone: float, d: F64) -> float:
    """Height of the ground at a point, from that of the plain without valley."""
    height = sunk(flat, d[RIVER])
    if landuse == D.LAKE:
        height += (level - height) * smooth(zone / 26.0)
    return built(flat, height, d)


@compiled
def start(x: float, y: float, center: F64, lattice: NDArray[np.int64]) -> int:
    """Index of a plot near a point; ``lattice``: first key (i, j) and plots in a row."""
    half = SIDE * SPACING / 2
    i = math.floor((x - center[0] + half) / SPACING) - lattice[0]
    j = math.floor((y - center[1] + half) / SPACING) - lattice[1]
    return int(j * lattice[2] + i)


@compiled
def look_around(
    x: float, y: float, reach: float, lines: F64, near: NDArray[np.bool_], d: F64
) -> None:
    """Say which lines may be within reach of a point, and take all to be far."""
    for k in range(4):
        near[k] = is_near(lines[k], x, y, reach)
        d[k] = FAR


@compiled
def plot_at(
    plot: int, px: float, py: float, sites: F64, edges: F64
) -> tuple[int, tuple[float, float, float, int], float]:
    """The plot of a bent point, from one near it, its border, and how far inside it lies."""
    plot = G.walk(plot, px, py, sites, edges)
    border = G.borders(plot, px, py, sites, edges)
    inner = G.inner(plot, px, py, sites, edges)
    return plot, (G.NO_BORDER if inner > 0.0 else border), inner


@compiled
def bridge(deck: int, flat: float, d: F64) -> tuple[float, float, bool]:
    """Height of the ground below a line's deck and of its carriageway; whether on its parapet."""
    level = flat + 0.3
    if deck == MOTORWAY:
        return flat, level + OVERPASS, abs(d[deck]) > 14.2
    height = sunk(flat, d[RIVER])
    if deck == RAIL:
        return height, level + EMBANKMENT, abs(d[deck]) > 4.9
    return height, level, abs(d[deck]) > 15.7


@parallel
def paint_ground(
    left: float, top: float, step: float, center: F64, phase: F64, lines: F64, sites: F64,
    edges: F64, seed: int, lattice: NDArray[np.int64],
    terrain: NDArray[np.float32], tops: NDArray[np.float32],
    bases: NDArray[np.float32], material: NDArray[np.uint8], landuse: NDArray[np.uint8],
    color: NDArray[np.uint8],
) -> None:  # fmt: skip
    """Fill the arrays ``(y, x)`` of a scene with the ground, without any object."""
    ny, nx = terrain.shape
    aside = np.empty(nx)
    for col in range(nx):
        aside[col] = bend(left + (col + 0.5) * step, 0.0, center, phase)[1]
    broad_i, broad_x = noise_axis(left, step, nx, BROAD)
    broad_j, broad_y = noise_axis(top, -step, ny, BROAD)
    fine_i, fine_x = noise_axis(left, step, nx, FINE)
    fine_j, fine_y = noise_axis(top, -step, ny, FINE)
    for row in numba.prange(ny):
        y = top - (row + 0.5) * step
        d, s = np.full(4, FAR), np.zeros(4)
        near, rough = np.zeros(4, np.bool_), False
        kept, close = np.full(5, np.nan), np.full(5, np.nan)
        along = bend(0.0, y, center, phase)[0]
        plot, border, inner = start(left, y, center, lattice), G.NO_BORDER, -1.0
        for col in range(nx):
            x = left + (col + 0.5) * step
            if col % _RUN == 0:  # most pixels are far from every line, which is told at once
                middle, reach = x + 0.5 * (_RUN - 1) * step, 0.5 * _RUN * step
                look_around(middle, y, reach, lines, near, d)
                rough = is_rough(lines[RIVER], middle, y, reach)
            px, py = x + along, y + aside[col]
            inner -= 1.25 * step  # a bent pixel is at most so much nearer to an edge
            if inner < 0.0:
                plot, border, inner = plot_at(plot, px, py, sites, edges)
            for k in range(4):
                if near[k]:
                    d[k], s[k], _ = distance(lines[k], x, y)
            r, g, b, m, t = base_cover(plot, px, py, x, y, border, d, sites, edges, seed, step)
            own = int(sites[plot, G.CLS])
            broad = row_noise(broad_i[col], broad_x[col], broad_j[row], broad_y[row], seed, kept)
            fine = row_noise(fine_i[col], fine_x[col], fine_j[row], fine_y[row], seed + 1, close)
            flat = hills(broad, fine, d[RIVER]) + (mountains(x, y, seed, lines) if rough else 0.0)
            height = height_of(flat, own, sites[plot, G.LEVEL], border[1], d)
            low = 0.0
            if abs(d[RIVER]) < RIVER_HALF + 16.0:
                r, g, b, m, t = G.river(d[RIVER], x, y, seed)
            line = G.line_at(d)
            if line >= 0:
                r, g, b, m, t = G.line_cover(line, d, s, x, y, seed, step)
            deck = G.crossing(d)
            if deck >= 0:
                height, level, parapet = bridge(deck, flat, d)
                if parapet:
                    r, g, b, m, t = 158.0, 156.0, 150.0, S.CONCRETE, 1.1
                t += level - height
                low = t - 1.5 - (1.1 if parapet else 0.0)
            terrain[row, col], tops[row, col], bases[row, col] = height, t, low
            material[row, col] = m
            landuse[row, col] = G.landuse_at(own, d)
            for band, value in enumerate((r, g, b)):
                color[row, col, band] = min(255.0, max(0.0, value))
