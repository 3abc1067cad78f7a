"""Places in file names, as CVUSA has them: ``…_43.533763_-89.290620.jpg``."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

_DEGREES = r"[-+]?\d{1,3}\.\d+"
_PLACE = re.compile(rf"(?:^|_)({_DEGREES})_({_DEGREES})(?:_([-+]?\d+(?:\.\d+)?))?$")


def place_in_name(name: str) -> tuple[float, float] | None:
    """lon, lat in degrees of a file name that ends in ``LAT_LON`` or ``LAT_LON_HEADING``.

    Numbers without decimals are no degrees, but identifiers. None where there is no place.
    """
    found = _PLACE.search(_stem(name))
    if found is None:
        return None
    lat, lon = float(found[1]), float(found[2])
    return (lon, lat) if abs(lat) <= 90 and abs(lon) <= 180 else None


def heading_in_name(name: str) -> float | None:
    """Degrees of a file name that ends in ``LAT_LON_HEADING``."""
    found = _PLACE.search(_stem(name))
    return None if found is None or found[3] is None else float(found[3]) % 360


def _stem(name: str) -> str:
    """Without the folder and the suffix, which begins with a letter: ``.5`` is none."""
    return re.sub(r"(\.[A-Za-z][\w]*)+$", "", PurePosixPath(name).name)
