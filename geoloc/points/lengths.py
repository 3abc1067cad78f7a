"""Lengths along the ellipsoid (WGS84), and places at a given length.

Geodesics after C. F. F. Karney, "Algorithms for geodesics" (2013), as PROJ computes them: exact
to nanometres.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from ..arrays import F64
from .lines import HALF_TURN, Lines

if TYPE_CHECKING:
    from pyproj import Geod


@cache
def _ellipsoid() -> Geod:
    from pyproj import Geod

    return Geod(ellps="WGS84")


def edge_lengths(lines: Lines) -> F64:
    """Float64 ``(node,)``: metres from each node to the next of its line; 0 from a line's last."""
    lengths = np.zeros(len(lines.coordinates))
    first = lines.edges()
    lengths[first] = distances(lines.coordinates[first], lines.coordinates[first + 1])
    return lengths


def distances(start: F64, end: F64) -> F64:
    """Metres between places ``(n, 2)``, longitude and latitude in degrees."""
    return np.asarray(_ellipsoid().inv(*start.T, *end.T)[2], np.float64)


def along(start: F64, end: F64, metres: F64) -> F64:
    """Float64 ``(n, 2)``: the places ``metres`` (n,) from ``start`` on the way to ``end``."""
    azimuth = np.asarray(_ellipsoid().inv(*start.T, *end.T)[0])
    lon, lat, _ = _ellipsoid().fwd(start[:, 0], start[:, 1], azimuth, metres)
    return np.column_stack([around(np.asarray(lon)), lat])


def around(lon: F64) -> F64:
    """Longitudes within +-180 degrees."""
    return np.where(np.abs(lon) > HALF_TURN, (lon + HALF_TURN) % 360 - HALF_TURN, lon)
