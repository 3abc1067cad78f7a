"""Coordinates as people type them: latitude first, as map services have it, or marked, or checked.

Two bare numbers may be meant either way round: the order that lies inside the area is taken, and
where both do, latitude first.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pyproj import Transformer

from ..domain import Grid
from ..errors import UsageError

_NUMBER = re.compile(
    r"""\s*(?P<before>[NSEW])?\s*
    (?P<degrees>[+-]?\d+(?:\.\d*)?|[+-]?\.\d+)\s*(?:°|deg\b|d\b)?\s*
    (?:(?P<minutes>\d+(?:\.\d+)?)\s*['′’]\s*)?
    (?:(?P<seconds>\d+(?:\.\d+)?)\s*(?:["″”]|'')\s*)?
    (?(before)|(?P<after>[NSEW](?![A-Za-z]))?)\s*[,;\s]?\s*""",
    re.VERBOSE | re.IGNORECASE,
)
_FORMS = "write LAT,LON in degrees, such as 50.45,30.52, or 50.45N 30.52E"


@dataclass(frozen=True)
class Place:
    """A point in degrees (WGS84)."""

    lat: float
    lon: float

    def __str__(self) -> str:
        return f"lat {self.lat:g}, lon {self.lon:g}"

    @property
    def exists(self) -> bool:
        """Whether it is on the globe."""
        return -90 <= self.lat <= 90 and -180 <= self.lon <= 180

    def cell(self, grid: Grid) -> tuple[int, int] | None:
        """Its row and column in a grid; None outside."""
        to_grid = Transformer.from_crs(4326, grid.crs, always_xy=True)
        x, y = to_grid.transform(self.lon, self.lat)
        return grid.index(x, y) if np.isfinite([x, y]).all() else None


@dataclass(frozen=True)
class _Angle:
    value: float
    axis: Literal["lat", "lon"] | None


def read_places(text: str) -> tuple[Place, ...]:
    """The places that two coordinates may mean, latitude first before longitude first.

    ``50.45,30.52``, ``50.45N 30.52E``, ``E30.52, N50.45``, ``50°27'0"N 30°31'12"E``. Letters leave
    one reading. Raises UsageError where there is none on the globe.
    """
    first, second = _angles(text)
    axes = (first.axis, second.axis)
    if first.axis and first.axis == second.axis:
        raise _wrong(text, f"both are {'latitudes' if first.axis == 'lat' else 'longitudes'}")
    readings = []
    if axes in ((None, None), ("lat", "lon"), ("lat", None), (None, "lon")):
        readings.append(Place(first.value, second.value))
    if axes in ((None, None), ("lon", "lat"), ("lon", None), (None, "lat")):
        readings.append(Place(second.value, first.value))
    existing = tuple(dict.fromkeys(place for place in readings if place.exists))
    if not existing:
        raise _wrong(text, "latitude is -90 to 90, longitude -180 to 180")
    return existing


def place_in(text: str, grid: Grid, name: str) -> tuple[Place, str | None]:
    """The place that is meant inside a grid, and a remark where that had to be assumed.

    Raises UsageError, with every reading, where none lies in the grid; ``name`` says whose it is.
    """
    readings = read_places(text)
    inside = [place for place in readings if place.cell(grid) is not None]
    if not inside:
        places = " nor ".join(map(str, readings))
        words = f"neither {places} lies in" if len(readings) > 1 else f"{places} lies outside of"
        raise UsageError(f"{text}: {words} {name}: correct the coordinates")
    if len(inside) > 1:
        return inside[0], f"{text} is read as {inside[0]}; {inside[1]} lies in {name} too"
    remark = f"{text} is read as {inside[0]}: longitude first" if inside != [readings[0]] else None
    return inside[0], remark


def _angles(text: str) -> tuple[_Angle, _Angle]:
    angles, rest = list[_Angle](), text.strip().removeprefix("geo:").strip("()[] ")
    while rest and len(angles) < 3:
        match = _NUMBER.match(rest)
        if match is None:
            raise _wrong(text)
        angles.append(_angle(match, text))
        rest = rest[match.end() :]
    if len(angles) != 2:
        raise _wrong(text)
    return angles[0], angles[1]


def _angle(match: re.Match[str], text: str) -> _Angle:
    minutes, seconds = float(match["minutes"] or 0), float(match["seconds"] or 0)
    letter = (match["before"] or match["after"] or "").upper()
    negative = match["degrees"].startswith("-")
    if negative and letter:  # -33.5S is meant to be in the south by some, and is north by rule
        raise _wrong(text, "a sign and a letter may contradict each other, write one of them")
    if minutes >= 60 or seconds >= 60:
        raise _wrong(text, "minutes and seconds are below 60")
    size = abs(float(match["degrees"])) + minutes / 60 + seconds / 3600
    negative |= letter in ("S", "W")
    axis: Literal["lat", "lon"] | None = None
    if letter:
        axis = "lat" if letter in "NS" else "lon"
    return _Angle(-size if negative else size, axis)


def _wrong(text: str, why: str = "") -> UsageError:
    return UsageError(f"{text or 'no coordinates'}: {f'{why}: ' if why else ''}{_FORMS}")
