"""The four lines that run through the whole world: river, motorway, railway, avenue.

Each is a smooth curve ``w = f(s)`` in a frame turned by the world's angle, repeated every few
kilometres, so that a distance to it is arithmetic per pixel. River and motorway run along the
frame's first axis, railway and avenue along its second: they cross at steep angles only.

A country (`spread`) has fewer of them, which lean this way and that together, and each repetition
of which runs from one place to another and no further.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from .compiling import compiled

RIVER, MOTORWAY, RAIL, AVENUE = range(4)
PERIOD = 6000.0
"""Metres between two rivers (motorways, ...) of a large world."""
FAR = 1.0e6

_AXIS, _OFFSET, _A1, _K1, _P1, _A2, _K2, _P2, _COS, _SIN, _X0, _Y0, _REACH = range(13)
_PERIOD, _LEAN, _KL, _PL, _FIRST, _MOUNTAINS, _BROAD, _HIGH = range(13, 21)
_STRETCHES = 21
"""From this column on: where each repetition begins and ends, the ``_FIRST`` one first; a line
without further columns has them all, and they have no end."""

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
    lines = np.zeros((4, _STRETCHES))
    lines[:, _PERIOD] = PERIOD
    for row, offset, (a1, l1, a2, l2), far in zip(lines, offsets, shapes, reach, strict=True):
        stretch = rng.uniform(0.8, 1.2, 2)
        row[_OFFSET], row[_REACH] = offset, far
        row[_A1], row[_K1], row[_P1] = a1, 2 * math.pi / (l1 * stretch[0]), rng.uniform(0, 6.3)
        row[_A2], row[_K2], row[_P2] = a2, 2 * math.pi / (l2 * stretch[1]), rng.uniform(0, 6.3)
        row[_COS], row[_SIN], row[_X0], row[_Y0] = math.cos(angle), math.sin(angle), *center
    lines[RAIL:, _AXIS] = 1.0
    return lines


def spread(
    lines: NDArray[np.float64],
    period: float,
    lean: NDArray[np.float64],
    stretches: tuple[Mapping[int, tuple[float, float]], ...],
    mountains: tuple[float, float, float] = (0.0, 1.0, 0.0),
) -> NDArray[np.float64]:
    """The lines of a country: every ``period`` metres, leaning, and only where they are wanted.

    ``lean (2, 3)``: amplitude (m), wave number (1/m) and phase of the common lean of the lines
    along the first and the second axis. ``stretches``: for each line, by the number of a
    repetition, the metres along it from which and to which it runs; others do not exist.
    ``mountains``: metres across the first axis to the middle of a range that runs along it, from
    there to its foot, and up to its tops.
    """
    last = max((abs(index) for of in stretches for index in of), default=0) + 1
    out = np.zeros((len(lines), _STRETCHES + 2 * (2 * last + 1)))
    out[:, :_STRETCHES] = lines
    out[:, _PERIOD], out[:, _FIRST] = period, -last
    out[:, _MOUNTAINS : _HIGH + 1] = mountains
    out[:, _STRETCHES::2], out[:, _STRETCHES + 1 :: 2] = np.inf, -np.inf
    for row, of in zip(out, stretches, strict=True):
        row[_LEAN : _PL + 1] = lean[int(row[_AXIS])]
        for index, ends in of.items():
            at = _STRETCHES + 2 * (index + last)
            row[at : at + 2] = ends
    return out


@compiled
def exists(line: NDArray[np.float64], s: float, index: float) -> bool:
    """Whether a repetition of a line has a point ``s`` metres along."""
    if line.size == _STRETCHES:
        return True
    at = _STRETCHES + 2 * int(index - line[_FIRST])
    if at < _STRETCHES or at + 1 >= line.size:
        return False
    return bool(line[at] <= s <= line[at + 1])


@compiled
def lean_of(line: NDArray[np.float64], s: float) -> tuple[float, float]:
    """Metres that all repetitions are moved sideways ``s`` metres along, and their slope there."""
    if line[_LEAN] == 0.0:
        return 0.0, 0.0
    t = line[_KL] * s + line[_PL]
    return line[_LEAN] * math.sin(t), line[_LEAN] * line[_KL] * math.cos(t)


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
    aside, slant = lean_of(line, s)
    w -= line[_OFFSET] + aside
    index = math.floor(w / line[_PERIOD] + 0.5)
    w -= index * line[_PERIOD]
    if abs(w) > line[_A1] + line[_A2] + line[_REACH] or not exists(line, s, index):
        return FAR, s, index
    value, slope = sway(line, s, index)
    slope += slant
    return (w - value) / math.sqrt(1.0 + slope * slope), s, index


@compiled
def is_near(line: NDArray[np.float64], x: float, y: float, half: float) -> bool:
    """Whether `distance` may be anything but `FAR` within ``half`` metres of a point."""
    s, w = frame(line, x, y)
    moved = half * (1.0 + abs(line[_LEAN] * line[_KL])) + 1e-3  # across, at most
    w -= line[_OFFSET] + lean_of(line, s)[0]
    index = math.floor(w / line[_PERIOD] + 0.5)
    off = abs(w - index * line[_PERIOD])
    if off - moved > line[_A1] + line[_A2] + line[_REACH]:
        return False
    if line.size == _STRETCHES or off + moved >= 0.5 * line[_PERIOD]:
        return True
    at = _STRETCHES + 2 * int(index - line[_FIRST])
    if at < _STRETCHES or at + 1 >= line.size:
        return False
    return bool(line[at] <= s + half + 1e-3 and s - half - 1e-3 <= line[at + 1])


@compiled
def point(
    line: NDArray[np.float64], s: float, index: float, across: float
) -> tuple[float, float, float, float]:
    """World ``x, y`` and unit direction of the line ``s`` metres along, ``across`` beside it."""
    value, slope = sway(line, s, index)
    aside, slant = lean_of(line, s)
    slope += slant
    norm = math.sqrt(1.0 + slope * slope)
    u = s - across * slope / norm
    v = line[_OFFSET] + aside + index * line[_PERIOD] + value + across / norm
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
def trace(line: NDArray[np.float64], s: NDArray[np.float64], index: float) -> NDArray[np.float64]:
    """World ``(n, 2)`` of a repetition of a line at metres ``s`` along it, where it exists."""
    out = np.empty((s.size, 2))
    n = 0
    for at in s:
        if exists(line, at, index):
            out[n, 0], out[n, 1], _, _ = point(line, at, index, 0.0)
            n += 1
    return out[:n]


@compiled
def off_range(line: NDArray[np.float64], x: float, y: float) -> float:
    """Metres from a point to the middle of the range of mountains."""
    s, w = frame(line, x, y)
    return float(abs(w - line[_OFFSET] - lean_of(line, s)[0] - line[_MOUNTAINS]))


@compiled
def massif(line: NDArray[np.float64], x: float, y: float) -> tuple[float, float]:
    """How far a point lies inside the range of mountains (0 at its foot, 1 in its middle); its
    height, m. ``line``: one along the first axis."""
    if line[_HIGH] == 0.0:
        return 0.0, 0.0
    return max(0.0, 1.0 - off_range(line, x, y) / line[_BROAD]), line[_HIGH]


@compiled
def is_rough(line: NDArray[np.float64], x: float, y: float, half: float) -> bool:
    """Whether a point within ``half`` metres may lie in the mountains; ``line`` as `massif`."""
    moved = half * (1.0 + abs(line[_LEAN] * line[_KL])) + 1e-3
    return bool(line[_HIGH] != 0.0 and off_range(line, x, y) - moved < line[_BROAD])


def stretches_near(
    line: NDArray[np.float64], bounds: tuple[float, float, float, float], beside: float
) -> tuple[range, float, float]:
    """Repetitions that may come within ``beside`` metres of ``bounds``, and from where to where.

    The latter in metres along the line: those between which the box lies.
    """
    left, bottom, right, top = bounds
    corners = [(left, bottom), (left, top), (right, bottom), (right, top)]
    along, across = np.array([frame(line, *corner) for corner in corners]).T
    low, high = float(along.min()), float(along.max())
    aside = [lean_of(line, s)[0] for s in np.linspace(low, high, _LEANS)]
    between = abs(line[_LEAN] * line[_KL]) * (high - low) / (_LEANS - 1)
    reach = line[_A1] + line[_A2] + beside + between
    first = math.ceil((across.min() - reach - line[_OFFSET] - max(aside)) / line[_PERIOD])
    last = math.floor((across.max() + reach - line[_OFFSET] - min(aside)) / line[_PERIOD])
    return range(first, last + 1), low, high


_LEANS = 9  # points along a box at which the lean is looked at


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
