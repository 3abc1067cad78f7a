"""Whether a metre of a CRS is a metre on the ground in an area. No I/O.

Cells are measured in the CRS, patches in metres on the ground: if these differ, models see places
at another scale than in training. The scale is computed by geodesics along both axes at the
corners and the middle of the area, so that it is right for any CRS and ellipsoid.
"""

from __future__ import annotations

import math

import numpy as np
from pyproj import CRS, Geod, Transformer
from pyproj.exceptions import CRSError, ProjError

from ..arrays import F64, Bools
from .imagery import Bounds

_MOST_SCALE = 0.01  # of lengths, at the middle; UTM zones keep within 0.001, and 0.01 at 8 degrees
_MOST_DISTORTION = 0.06  # in any direction, anywhere: equal-area grids of continents reach 0.03
_REACH = 50.0  # m: length of the geodesics along each axis, to each side
_RETURN = 1.0  # m: error of a round trip via degrees, beyond which a point is off the map
_POLAR_NORTH, _POLAR_SOUTH = 84.0, -80.0  # UTM ends there
_ANY_ZONE = "a UTM zone is EPSG:326NN (327NN in the south), NN = (longitude + 180) / 6 + 1"


def require_metres(code: str, bounds: Bounds | None) -> None:
    """Raise ValueError unless ``code`` is a projected CRS in metres, x to the east, y to the north.

    ``bounds`` in degrees determine which UTM zone to suggest.
    """
    try:
        crs = CRS.from_user_input(code)
    except CRSError:
        raise ValueError(f"crs {code!r} is unknown: write a code such as EPSG:32636") from None
    zone = f"use metres: {_hint(bounds)}"
    if crs.is_geographic:
        raise ValueError(f"crs {code} is in degrees; {zone}")
    if not crs.is_projected:
        raise ValueError(f"crs {code} is not a map projection: use a UTM zone, like EPSG:32636")
    axes = crs.axis_info[:2]
    if any(axis.unit_conversion_factor != 1 for axis in axes):
        unit = axes[0].unit_name
        raise ValueError(f"crs {code} is in {unit}, not metres: use a UTM zone, like EPSG:32636")
    directions = {axis.direction.lower() for axis in axes}
    # both to the north or both to the south: a map of the pole, along two meridians
    if "west" in directions or ("south" in directions and len(directions) > 1):
        raise ValueError(
            f"crs {code} counts {' and '.join(sorted(directions))}wards, which would turn maps "
            "upside down: use a UTM zone, like EPSG:32636"
        )
    if bounds is not None and looks_like_degrees(bounds):
        raise ValueError(
            f"bounds {numbers(bounds)} look like degrees, but crs {code} is in metres: "
            f"{_hint(bounds)}"
        )


def require_ground_scale(code: str, bounds: Bounds) -> None:
    """Raise ValueError if a metre of the CRS is not a metre on the ground within ``bounds``.

    Tolerated: 1 % of lengths at the middle, and 6 % in any direction at the corners.
    """
    left, bottom, right, top = bounds
    x = np.array([(left + right) / 2, left, right, left, right])
    y = np.array([(bottom + top) / 2, bottom, bottom, top, top])
    lon, lat, scales = ground_scales(code, x, y)
    if not np.isfinite(scales).all():
        raise ValueError(
            f"bounds {numbers(bounds)} are outside crs {code}: correct them, or the crs"
        )
    mean = float(np.sqrt(scales[0].prod()))
    worst = float(scales.flat[np.abs(scales - 1).argmax()])
    off = mean if abs(mean - 1) > _MOST_SCALE else worst
    if abs(mean - 1) > _MOST_SCALE or abs(worst - 1) > _MOST_DISTORTION:
        raise ValueError(
            f"a metre of crs {code} is {off:.3g} m on the ground here (at {lat[0]:.3f}, "
            f"{lon[0]:.3f}): use {_zone_words(lon[0], lat[0])}, and bounds in its metres"
        )


def ground_scales(code: str, x: F64, y: F64) -> tuple[F64, F64, F64]:
    """Degrees ``lon``, ``lat`` ``(n,)`` of points, and m on the ground per m of the CRS ``(n, 2)``.

    The latter are the greatest and least over all directions; not finite outside the CRS.
    """
    crs = CRS.from_user_input(code)
    lonlat = crs.geodetic_crs
    assert lonlat is not None  # every projected CRS has one
    to_lonlat = Transformer.from_crs(crs, lonlat, always_xy=True)
    geod = lonlat.get_geod() or Geod(ellps="WGS84")
    try:
        lon, lat = to_lonlat.transform(x, y)
        back = np.array(to_lonlat.transform(lon, lat, direction="INVERSE"))
        columns = [
            _moved(geod, *to_lonlat.transform(x - dx, y - dy), *to_lonlat.transform(x + dx, y + dy))
            for dx, dy in ((_REACH, 0.0), (0.0, _REACH))
        ]
    except ProjError:
        return x, y, np.full((len(x), 2), np.nan)
    jacobians = np.stack(columns, axis=-1) / (2 * _REACH)
    valid = np.isfinite(jacobians).all(axis=(1, 2)) & _returned(back, np.array([x, y]))
    scales = np.full((len(x), 2), np.nan)
    scales[valid] = np.linalg.svd(jacobians[valid], compute_uv=False)
    return lon, lat, scales


def _returned(back: F64, points: F64) -> Bools:
    """Which points ``(2, n)`` survive the round trip; those past a pole are folded elsewhere."""
    with np.errstate(invalid="ignore"):
        return np.asarray((np.abs(back - points) <= _RETURN).all(axis=0))


def _moved(geod: Geod, lon: F64, lat: F64, to_lon: F64, to_lat: F64) -> F64:
    """m east and north ``(n, 2)`` from one point to another; NaN off the map."""
    valid = np.isfinite([lon, lat, to_lon, to_lat]).all(axis=0)
    moved = np.full((len(lon), 2), np.nan)
    if valid.any():
        azimuth, _, length = geod.inv(lon[valid], lat[valid], to_lon[valid], to_lat[valid])
        turned = np.radians(azimuth)
        moved[valid] = np.stack([length * np.sin(turned), length * np.cos(turned)], axis=-1)
    return moved


def looks_like_degrees(bounds: Bounds) -> bool:
    """Whether all numbers could be longitudes and latitudes, in either order."""
    return max(map(abs, bounds)) <= 180


def utm_code(lon: float, lat: float) -> str:
    """The UTM zone (WGS 84) of a place in degrees; at the poles, UPS."""
    if lat >= _POLAR_NORTH or lat < _POLAR_SOUTH:
        return "EPSG:32661" if lat > 0 else "EPSG:32761"
    zone = min(math.floor((lon + 180) / 6) + 1, 60)
    return f"EPSG:{326 if lat >= 0 else 327}{zone:02d}"


def numbers(values: tuple[float, ...]) -> str:
    """Numbers in the form used in messages."""
    return "[" + ", ".join(f"{value:.12g}" for value in values) + "]"


def _hint(bounds: Bounds | None) -> str:
    """Advice on the UTM zone at the middle of bounds in degrees."""
    if bounds is None or not looks_like_degrees(bounds):
        return _ANY_ZONE
    lon, lat = (bounds[0] + bounds[2]) / 2, (bounds[1] + bounds[3]) / 2
    if abs(lat) > 90:
        return _ANY_ZONE
    return f"the UTM zone here is {utm_code(lon, lat)}, and bounds in its m"


def _zone_words(lon: float, lat: float) -> str:
    return f"the UTM zone here, {utm_code(lon, lat)}"
