"""Points, boxes and lengths between coordinate reference systems."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS, Geod, Transformer
from pyproj.exceptions import ProjError

from ..area import Bounds

LONLAT = "EPSG:4326"

_EDGE_POINTS = 21  # along each side of a box; sides are curves in another CRS


@lru_cache(maxsize=256)
def to_crs(source: str, target: str) -> Callable[..., tuple[NDArray[np.float64], ...]]:
    """A function from (x, y) in one CRS to (x, y) in another."""
    if source == target:
        return lambda x, y: (x, y)
    transformer = _transformer(source, target)
    return lambda x, y: transformer.transform(x, y)


@lru_cache(maxsize=65536)
def box_in(box: Bounds, crs: str, target: str) -> Bounds:
    """The box around a box in another CRS; not finite where it cannot be mapped."""
    if crs == target:
        return box
    try:
        moved = _transformer(crs, target).transform_bounds(*box, densify_pts=_EDGE_POINTS)
    except ProjError:
        return (math.inf,) * 4
    left, bottom, right, top = moved
    return left, bottom, right, top


def pixel_side(crs: str, x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """m on the ground along a pixel's side, whatever its CRS.

    ``x``, ``y``: a corner, and the two corners next to it.
    """
    lonlat, geod = _ground(crs)
    lon, lat = to_crs(crs, lonlat)(x, y)
    _, _, sides = geod.inv(lon[[0, 0]], lat[[0, 0]], lon[1:], lat[1:])
    return math.sqrt(sides[0] * sides[1])


@lru_cache(maxsize=256)
def _ground(crs: str) -> tuple[str, Geod]:
    system = CRS.from_user_input(crs)
    lonlat = system.geodetic_crs
    geod = (lonlat and lonlat.get_geod()) or Geod(ellps="WGS84")
    return (lonlat.to_wkt() if lonlat else LONLAT), geod


@lru_cache(maxsize=256)
def _transformer(source: str, target: str) -> Transformer:
    return Transformer.from_crs(source, target, always_xy=True)
