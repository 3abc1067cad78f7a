"""What is to be known of a file of points of any size before it is worked on, read in parts.

Held are 8 bytes a point, to count those that lie at one place once.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..arrays import F64
from .file import read_in_parts

_DRAWN = 4096
_SEED = 0
_COPIES = 8  # of a place that may stand in a file's part beside others as near
_MIXED = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F], np.uint64)  # odd, and without pattern


@dataclass(frozen=True, eq=False)
class Survey:
    """count: of points at places of their own; bounds: west, south, east, north, degrees; drawn:
    float64 ``(n, 2)``, longitude and latitude of some of them, drawn evenly."""

    count: int
    bounds: tuple[float, float, float, float]
    drawn: F64


def survey_points(path: str | Path) -> Survey:
    """Read a file once. Raises UsageError as `read_points`."""
    low, high, start = np.full(2, np.inf), np.full(2, -np.inf), 0
    keys, rows, drawn = np.zeros(0, np.uint64), np.zeros(0, np.int64), list[F64]()
    for lonlat, count in read_in_parts(path):
        if not start:
            keys = np.empty(count, np.uint64)
            rng = np.random.default_rng(_SEED)
            rows = np.sort(rng.choice(count, min(count, _DRAWN), replace=False))
        stop = start + len(lonlat)
        keys[start:stop] = _key(lonlat)
        drawn.append(lonlat[rows[(rows >= start) & (rows < stop)] - start])
        low, high = np.minimum(low, lonlat.min(axis=0)), np.maximum(high, lonlat.max(axis=0))
        start = stop
    keys.sort()
    copies = sum(int((part[1:] == part[:-1]).sum()) for part in _overlapping(keys))
    west, south, east, north = [*low.tolist(), *high.tolist()]
    return Survey(len(keys) - copies, (west, south, east, north), np.concatenate(drawn))


def neighbours(path: str | Path, lonlat: F64, most: int) -> F64:
    """The ``most`` points ``(n, 2)`` of a file nearest to one ``(2,)``, each place once."""
    found, away = np.zeros((0, 2)), np.zeros(0)
    across = np.array([np.cos(np.radians(lonlat[1])), 1.0])
    for part, _ in read_in_parts(path):
        distance = np.square((part - lonlat) * across).sum(axis=1)
        if len(found) == most:
            near = distance < away.max()
            part, distance = part[near], distance[near]
        found, away = np.concatenate([found, part]), np.concatenate([away, distance])
        nearest = np.argsort(away, kind="stable")[: _COPIES * most]
        first = np.unique(found[nearest], axis=0, return_index=True)[1]
        nearest = nearest[np.sort(first)][:most]
        found, away = found[nearest], away[nearest]
    return found


def _key(lonlat: F64) -> NDArray[np.uint64]:
    """A number of each place, which in practice no other has."""
    bits = (np.ascontiguousarray(lonlat) + 0.0).view(np.uint64) * _MIXED  # -0 is 0
    bits ^= bits >> np.uint64(29)
    mixed = bits[:, 0] * _MIXED[1] + bits[:, 1]
    return np.asarray(mixed ^ (mixed >> np.uint64(32)), np.uint64)


def _overlapping(keys: NDArray[np.uint64], size: int = 1 << 20) -> list[NDArray[np.uint64]]:
    """Parts that share one at each seam."""
    return [keys[start : start + size + 1] for start in range(0, len(keys), size)]
