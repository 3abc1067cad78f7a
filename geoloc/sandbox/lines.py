"""The four lines that run through the whole world: river, motorway, railway, avenue.

Each is a smooth curve ``w = f(s)`` in a frame turned by the world's angle, repeated every few
kilometres, so that a distance to it is arithmetic per pixel. River and motorway run along the
frame's first axis, railway and avenue along its second: they cross at steep angles only.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .noise import compiled

RIVER, MOTORWAY, RAIL, AVENUE = range(4)
PERIOD = 6000.0
"""Metres between two rivers (motorways, ...) of a large world."""
FAR = 1.0e6

_AXIS, _OFFSET, _A1, _K1, _P1, _A2, _K2, _P2, _COS, _SIN, _X0, _Y0, _REACH = range(13)

RIVER_HALF = 36.0
CORRIDOR = np.array([RIVER_HALF + 24.0, 34.0, 17.0, 19.0])
"""Metres either side of each line that no plot may build on."""


def make_lines(rng: np.random.Generator, center: tuple[float, float]) -> NDArray[np.float64]:
    """Parameters ``(4, 13)`` of the lines of one world, drawn from ``rng``."""
    angle = rng.uniform(0, 2 * math.pi)
    side = rng.choice([-1.0, 1.0], 2)
    offsets = (
        rng.uniform(-350, 350),
        side[0] * rng.uniform(980, 1200),
        side[1] * rng.uniform(500, 900),
        -side[1] * rng.uniform(0, 350),
    )
    shapes = ((150, 1900, 55, 720), (90, 3300, 20, 1300), (70, 3600, 15, 1700), (60, 2600, 18, 900))
    reach = (720.0, 300.0, 200.0, 200.0)
    lines = np.zeros((4, 13))
    for row, offset, (a1, l1, a2, l2), far in zip(lines, offsets, shapes, reach, strict=True):
        stretch = rng.uniform(0.8, 1.2, 2)
        row[_OFFSET], row[_REACH] = offset, far
        row[_A1], row[_K1], row[_P1] = a1, 2 * math.pi / (l1 * stretch[0]), rng.uniform(0, 6.3)
        row[_A2], row[_K2], row[_P2] = a2, 2 * math.pi / (l2 * stretch[1]), rng.uniform(0, 6.3)
        row[_COS], row[_SIN], row[_X0], row[_Y0] = math.cos(angle), math.sin(angle), *center
    lines[RAIL:, _AXIS] = 1.0
    return lines


@compiled
def frame(line: NDArray[np.float64], x: float, y: float) -> tuple[float, float]:
    """Along and across coordinates of a point in the frame of a line."""
    dx, dy = x - line[_X0], y - line[_Y0]
    u = dx * line[_COS] + dy * line[_SIN]
    v = dy * line[_COS] - dx * line[_SIN]
    if line[_AXIS] > 0.5:
        return v, -u
    return u, v


@compiled
def sway(line: NDArray[np.float64], s: float, index: float) -> tuple[float, float]:
    """``f(s)`` and ``f'(s)`` of the ``index``-th repetition of a line."""
    t1 = line[_K1] * s + line[_P1] + 1.7 * index
    t2 = line[_K2] * s + line[_P2] + 2.9 * index
    value = line[_A1] * math.sin(t1) + line[_A2] * math.sin(t2)
    slope = line[_A1] * line[_K1] * math.cos(t1) + line[_A2] * line[_K2] * math.cos(t2)
    return value, slope


@compiled
def distance(line: NDArray[np.float64], x: float, y: float) -> tuple[float, float, float]:
    """Signed metres across, metres along, index of the repetition; `FAR` beyond reach."""
    s, w = frame(line, x, y)
    w -= line[_OFFSET]
    index = math.floor(w / PERIOD + 0.5)
    w -= index * PERIOD
    if abs(w) > line[_A1] + line[_A2] + line[_REACH]:
        return FAR, s, index
    value, slope = sway(line, s, index)
    return (w - value) / math.sqrt(1.0 + slope * slope), s, index


@compiled
def point(
    line: NDArray[np.float64], s: float, index: float, across: float
) -> tuple[float, float, float, float]:
    """World ``x, y`` and unit direction of the line ``s`` metres along, ``across`` beside it."""
    value, slope = sway(line, s, index)
    norm = math.sqrt(1.0 + slope * slope)
    u = s - across * slope / norm
    v = line[_OFFSET] + index * PERIOD + value + across / norm
    du, dv = 1.0 / norm, slope / norm
    if line[_AXIS] > 0.5:
        u, v, du, dv = -v, u, -dv, du
    cos, sin = line[_COS], line[_SIN]
    return (
        line[_X0] + u * cos - v * sin,
        line[_Y0] + u * sin + v * cos,
        du * cos - dv * sin,
        du * sin + dv * cos,
    )


@compiled
def distances(
    lines: NDArray[np.float64], x: NDArray[np.float64], y: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Absolute metres ``(point, line)`` of points to every line."""
    out = np.empty((x.size, lines.shape[0]))
    for n in range(x.size):
        for k in range(lines.shape[0]):
            out[n, k] = abs(distance(lines[k], x[n], y[n])[0])
    return out
