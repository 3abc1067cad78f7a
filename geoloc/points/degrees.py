"""Coordinates of any CRS as longitude and latitude of WGS 84."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..arrays import F64

if TYPE_CHECKING:
    from pyproj import CRS


def in_degrees(xy: F64, crs: CRS) -> F64:
    """Longitude and latitude ``(n, 2)`` of places ``(n, 2)``, x or longitude first.

    Degrees of another datum lie up to some hundred metres elsewhere: they are moved too.
    """
    from pyproj import CRS, Transformer

    target = CRS.from_epsg(4326)
    if crs.equals(target, ignore_axis_order=True):
        return xy
    lonlat = Transformer.from_crs(crs, target, always_xy=True).transform(*xy.T)
    return np.column_stack(lonlat)
