"""Points, boxes and lengths between coordinate reference systems."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from pyproj import CRS, Geod, Transformer
from pyproj.exceptions import ProjError

from ..area import Bounds
from ..arrays import F64
from ..errors import ImageryError

LONLAT = "EPSG:4326"

_EDGE_POINTS = 21  # along each side of a box; sides are curves in another CRS
_ORIGIN = "Longitude of natural origin"
_EASTING = "False easting"
_ROUND = ("mercator", "equidistant cylindrical", "cylindrical equal area", "plate")
"""Words in the names of projection methods under which x is linear in longitude."""


@lru_cache(maxsize=256)
def to_crs(source: str, target: str) -> Callable[..., tuple[F64, ...]]:
    """A function from (x, y) in one CRS to (x, y) in another."""
    if source == target:
        return lambda x, y: (x, y)
    transformer = _transformer(source, target)
    return lambda x, y: transformer.transform(x, y)


def operation_at(source: str, target: str, x: float, y: float) -> str | None:
    """The operation from one CRS to another, as a PROJ string, that `to_crs` uses at a point
    ``(x, y)`` of the target, for GDAL; None if it has none to give, or needs a file of shifts.

    GDAL's warper chooses one for a whole image, and may do without a shift of datum, some 100 m.
    Like GDAL's own, it takes and gives coordinates in the order of the CRSs' axes.
    """
    u, v = to_crs(target, source)(x, y)
    transformer = _by_axes(source, target)
    try:
        transformer.transform(*((v, u) if _begins_north(source) else (u, v)), errcheck=True)
        text = str(transformer.get_last_used_operation().to_proj4() or "")
    except ProjError:
        return None
    return text if text.startswith("+proj=pipeline") and "grids=" not in text else None


@lru_cache(maxsize=256)
def _by_axes(source: str, target: str) -> Transformer:
    return Transformer.from_crs(source, target)


@lru_cache(maxsize=256)
def _begins_north(crs: str) -> bool:
    axes = [axis.direction for axis in CRS.from_user_input(crs).axis_info[:2]]
    return axes == ["north", "east"]


@lru_cache(maxsize=65536)
def box_in(box: Bounds, crs: str, target: str) -> Bounds:
    """The box around a box in another CRS; not finite if it cannot be projected."""
    if crs == target:
        return box
    try:
        moved = _transformer(crs, target).transform_bounds(*box, densify_pts=_EDGE_POINTS)
    except ProjError:
        return (math.inf,) * 4
    left, bottom, right, top = moved
    return left, bottom, right, top


def pixel_side(crs: str, x: F64, y: F64) -> float:
    """m on the ground along a pixel's side, for any CRS.

    ``x``, ``y``: a corner and its two neighbours.
    """
    lonlat, geod = _ground(crs)
    lon, lat = to_crs(crs, lonlat)(x, y)
    _, _, sides = geod.inv(lon[[0, 0]], lat[[0, 0]], lon[1:], lat[1:])
    return math.sqrt(sides[0] * sides[1])


@lru_cache(maxsize=256)
def same_crs(one: str, other: str) -> bool:
    """Whether two texts mean one CRS."""
    return one == other or bool(CRS.from_user_input(one) == CRS.from_user_input(other))


def on_earth(crs: str) -> bool:
    """Whether a CRS describes places on the Earth and can be transformed to others."""
    return not off_earth(crs)


@lru_cache(maxsize=256)
def off_earth(crs: str) -> str:
    """Why a CRS is not on the Earth: its kind and name; empty if it is."""
    try:
        system = CRS.from_user_input(crs)
    except ProjError:
        return "which is unknown"
    if system.is_engineering:
        return f"local {system.name!r}"
    try:
        return "" if _transformer(crs, LONLAT) else repr(system.name)
    except ProjError:
        return repr(system.name)


@lru_cache(maxsize=256)
def turn_of(crs: str) -> float | None:
    """The period of x around the Earth, in units of the CRS; None if x is not periodic.

    Longitudes are periodic, and so are cylindrical projections.
    """
    system = _horizontal(crs)
    if system.is_geographic:
        return 2 * math.pi / system.axis_info[0].unit_conversion_factor
    if system.is_bound:
        return turn_of(system.source_crs.to_wkt()) if system.source_crs else None
    if not (system.is_projected and _is_cylindrical(system) and system.geodetic_crs):
        return None
    x, _ = to_crs(system.geodetic_crs.to_wkt(), system.to_wkt())(np.array([-1.0, 1.0]), np.zeros(2))
    return float(x[1] - x[0]) * 180


def _horizontal(crs: str) -> CRS:
    """A CRS without its heights."""
    system = CRS.from_user_input(crs)
    return (system.sub_crs_list[0] if system.is_compound else system).to_2d()


def _is_cylindrical(system: CRS) -> bool:
    operation = system.coordinate_operation
    method = operation.method_name.lower() if operation else ""
    return any(word in method for word in _ROUND) and not any(
        word in method for word in ("transverse", "oblique", "space", "swiss")
    )


@lru_cache(maxsize=4096)
def centred_on(crs: str, x: float) -> str:
    """A periodic CRS with its seam opposite ``x``: the same coordinates near ``x``.

    Raises ImageryError if it cannot be expressed so.
    """
    system = _horizontal(crs)
    try:
        if system.is_geographic:
            return _centred_degrees(system.to_wkt("WKT1_GDAL"), x)
        return _centred_projection(system.to_json_dict(), x, float(turn_of(crs) or 0))
    except (ProjError, KeyError, StopIteration, ValueError) as error:
        raise ImageryError(f"CRS {system.name} cannot be moved across its seam: {error}") from None


def _centred_degrees(wkt: str, longitude: float) -> str:
    """GDAL's own extension of WKT, which keeps the datum and its shifts.

    GDAL caches transformations by name and parameters, without the extension: hence the new name.
    """
    middle = round(longitude)
    plain = re.sub(r',AUTHORITY\["[^"]*","[^"]*"\]\]$', "]", wkt.strip())
    named = re.sub(r'^(GEOGCS\["[^"]*)"', rf'\1 around {middle}"', plain)
    return f'{named[:-1]},EXTENSION["CENTER_LONG","{middle}"]]'


def _centred_projection(facts: dict[str, object], x: float, turn: float) -> str:
    conversion = facts["conversion"]
    assert isinstance(conversion, dict)
    parameters = {p["name"]: p for p in conversion["parameters"]}
    by = round((x - parameters[_EASTING]["value"]) / turn * 360)
    parameters[_ORIGIN]["value"] = (parameters[_ORIGIN]["value"] + by + 180) % 360 - 180
    parameters[_EASTING]["value"] += by / 360 * turn
    kept = {k: v for k, v in facts.items() if k not in ("id", "area", "bbox", "scope", "usages")}
    return str(CRS.from_json_dict({**kept, "name": "centred elsewhere"}).to_wkt())


@lru_cache(maxsize=256)
def _ground(crs: str) -> tuple[str, Geod]:
    system = CRS.from_user_input(crs)
    lonlat = system.geodetic_crs
    geod = (lonlat and lonlat.get_geod()) or Geod(ellps="WGS84")
    return (lonlat.to_wkt() if lonlat else LONLAT), geod


@lru_cache(maxsize=256)
def _transformer(source: str, target: str) -> Transformer:
    return Transformer.from_crs(source, target, always_xy=True)
