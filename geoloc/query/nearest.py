"""Which point of a cube of points stands for a place: the nearest one that has a vector."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pyproj import Geod, Transformer

from ..arrays import F32, F64, I64
from ..cube import Cube
from ..domain.points import geocentric
from ..errors import CubeError, UsageError
from .coordinates import Place, read_places

REACH = 1000.0
"""m: beyond that no point stands for a place, however few points a country has."""

_AT_ONCE = 1 << 20  # points whose distances are in memory
_LOOKED_AT = 32  # of those within reach, until one has a vector


@dataclass(frozen=True)
class NearPoint:
    """A point of a cube, by its ``index``, and how far on the ground it is from a place, m."""

    index: int
    place: Place
    metres: float

    def to_json(self) -> dict[str, float]:
        """For machines."""
        return {"lat": self.place.lat, "lon": self.place.lon, "metres": round(self.metres, 1)}


def nearest_known(cube: Cube, text: str | Place) -> tuple[NearPoint, F32, str]:
    """The nearest point that has a vector, the vector ``(feature,)``, and what to say of both.

    ``text``: a place, or coordinates as people type them, of which the order counts that has a
    point within `REACH`; latitude first where both have. Raises UsageError where none is so near,
    CubeError where none of those that are has imagery.
    """
    readings = (text,) if isinstance(text, Place) else read_places(text)
    found = [(place, _near(cube, place)) for place in readings]
    within = [(place, near) for place, near in found if near[0].metres <= REACH]
    if not within:
        raise UsageError(_too_far(cube.url, text, found))
    place, near = within[0]
    for point in near:
        vector = cube.vector(point.index)
        if vector is not None:
            return point, vector, _told(cube, place, point, swapped=place != readings[0])
    raise CubeError(
        f"cube {cube.url} has no imagery at its points near {place}: choose another place"
    )


def shows(cube: Cube, point: NearPoint) -> bool:
    """Whether the imagery that describes a point is wide enough to hold the place it was found for,
    where the cube tells how wide it is."""
    side = _side(cube)
    return side is None or point.metres <= side / 2


def _near(cube: Cube, place: Place) -> list[NearPoint]:
    """The nearest point, and the next ones within reach of the place."""
    size = cube.domain.size
    parts = [_distances(cube, place, start) for start in range(0, size, _AT_ONCE)]
    away = np.concatenate(parts)
    some = np.argpartition(away, min(_LOOKED_AT, size) - 1)[:_LOOKED_AT]
    order = some[np.lexsort((some, away[some]))]
    points = [_measured(cube, place, index) for index in order.tolist()]
    return points[:1] + [point for point in points[1:] if point.metres <= REACH]


def _distances(cube: Cube, place: Place, start: int) -> F64:
    """Of some points, m in a straight line; infinite of what lies nowhere on Earth."""
    index = np.arange(start, min(start + _AT_ONCE, cube.domain.size))
    here = geocentric(np.array([[place.lon, place.lat]]))
    away = np.linalg.norm(geocentric(_lonlat(cube, index)) - here, axis=1)
    return np.where(np.isfinite(away), away, np.inf)


def _measured(cube: Cube, place: Place, index: int) -> NearPoint:
    lon, lat = _lonlat(cube, np.array([index]))[0].tolist()
    metres = float(Geod(ellps="WGS84").inv(place.lon, place.lat, lon, lat)[2])
    return NearPoint(index, Place(lat=lat, lon=lon), metres)


def _lonlat(cube: Cube, index: I64) -> F64:
    xy = cube.domain.centres(index)
    if cube.domain.crs == "EPSG:4326":
        return xy
    moved = Transformer.from_crs(cube.domain.crs, 4326, always_xy=True).transform(*xy.T)
    return np.stack(moved, axis=1)


def _told(cube: Cube, place: Place, point: NearPoint, *, swapped: bool) -> str:
    first = f"read as {place}: longitude first; " if swapped else ""
    line = f"{first}the nearest point, {point.place}, is {point.metres:,.0f} m from {place}"
    if shows(cube, point):
        return line
    return (
        f"{line}: the imagery that describes it is {_side(cube):,.0f} m wide and does not show the "
        "place"
    )


def _side(cube: Cube) -> float | None:
    """m: how wide the imagery of a point's own patch is, where the cube tells."""
    try:
        told = cube.spec.encoding
        return float(told["patch_px"]) * float(told["gsd"])
    except (KeyError, TypeError, ValueError):
        return None


def _too_far(url: str, text: str | Place, found: list[tuple[Place, list[NearPoint]]]) -> str:
    place, near = min(found, key=lambda one: one[1][0].metres)
    return (
        f"{text}: the nearest point of cube {url} is {near[0].metres / 1000:,.1f} km from {place}, "
        f"and none stands for a place more than {REACH / 1000:g} km away: correct the coordinates"
    )
