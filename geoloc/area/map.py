"""What a map of an area shows beside its answers: border, provinces, places, water, forest.

Files of the area's ``map:`` key, drawn and never searched::

    map:
      border: country.geojson          # also what regions are clipped to
      provinces: provinces.geojson     # administrative lines, with names where there are any
      places: places.csv               # name, population, lat, lon
      water: water.gpkg
      forest: forest.gpkg
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from ..arrays import F64
from ..errors import AreaError, one_line
from ..names import repeated_name
from .polygon import read_polygon
from .shapes import read_shapes
from .spec import Spec, resolve_path

if TYPE_CHECKING:
    from shapely import Geometry

_MOST_BYTES = 200_000_000  # of a file of places: a country's gazetteer has 30 MB
COLUMNS = {
    "name": ("name", "asciiname", "place", "city"),
    "population": ("population", "pop"),
    "lat": ("lat", "latitude", "y"),
    "lon": ("lon", "lng", "long", "longitude", "x"),
}
"""What columns of a CSV may be called."""

_UNKNOWN = ("", "nan", "none", "null", "na", "n/a", "-", "?")
_THOUSANDS = re.compile(r"\d{1,3}(,\d{3})+(\.\d*)?|\d{1,3}(\.\d{3})+")
"""Of people: 1.234 is no part of one."""

LONLAT = "EPSG:4326"


class MapFiles(Spec):
    """The ``map`` key of an area file: vector files in any CRS, and a CSV of places."""

    border: Path | None = Field(None, description="polygons: the country; regions end there")
    provinces: Path | None = Field(None, description="polygons of administrative units")
    places: Path | None = Field(
        None, description="CSV with name, population, lat, lon; or points with name, population"
    )
    water: Path | None = Field(None, description="polygons or lines of lakes and rivers")
    forest: Path | None = Field(None, description="polygons of forests")

    def resolve(self, base: Path) -> MapFiles:
        """The same with relative paths resolved against ``base``."""
        files = {name: getattr(self, name) for name in type(self).model_fields}
        return self.model_copy(
            update={
                name: Path(resolve_path(str(path), base)) for name, path in files.items() if path
            }
        )


@dataclass(frozen=True, eq=False)
class NamedPlaces:
    """Places ``(n,)``: names, people (NaN where unknown), degrees ``(n, 2)`` lon, lat."""

    names: tuple[str, ...] = ()
    population: F64 = field(default_factory=lambda: np.empty(0))
    lonlat: F64 = field(default_factory=lambda: np.empty((0, 2)))

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True, eq=False)
class MapLayers:
    """What the files hold, in degrees (WGS84).

    provinces: each as ``(name, shape)``, the name empty where there is none. notes: one sentence
    for each thing that a reader has to know.
    """

    border: Geometry | None = None
    provinces: tuple[tuple[str, Geometry], ...] = ()
    places: NamedPlaces = field(default_factory=NamedPlaces)
    water: tuple[Geometry, ...] = ()
    forest: tuple[Geometry, ...] = ()
    notes: tuple[str, ...] = ()


def read_layers(files: MapFiles | None) -> MapLayers:
    """All layers of a map. Raises AreaError, one line, for the first file that cannot be read."""
    if files is None:
        return MapLayers()
    places, notes = read_places(files.places) if files.places else (NamedPlaces(), ())
    return MapLayers(
        border=None if files.border is None else read_border(files.border),
        provinces=tuple(_named_shapes(files.provinces, "map.provinces")),
        places=places,
        water=tuple(shape for _, shape in _named_shapes(files.water, "map.water")),
        forest=tuple(shape for _, shape in _named_shapes(files.forest, "map.forest")),
        notes=notes,
    )


def read_border(path: Path) -> Geometry:
    """The polygon of ``map.border``, in degrees. Raises AreaError."""
    try:
        return read_polygon(path, LONLAT)
    except AreaError as error:
        raise AreaError(f"map.border: {error}") from None


def _named_shapes(path: Path | None, key: str) -> Iterator[tuple[str, Geometry]]:
    if path is None:
        return
    for (name,), shape in read_shapes(path, key, ("name",)):
        if shape.geom_type not in ("Point", "MultiPoint"):
            yield name, shape


def read_places(path: Path) -> tuple[NamedPlaces, tuple[str, ...]]:
    """Places of a CSV or of a vector file with points, and what to know of them.

    Raises AreaError where a file cannot be read or has no usable place.
    """
    rows = list(_csv_rows(path) if path.suffix.lower() in (".csv", ".tsv") else _point_rows(path))
    good = [row for row in rows if row is not None]
    if not good:
        raise AreaError(
            f"map.places {path} has no place with a name and degrees: write name, population, "
            "lat, lon"
        )
    names, people, lon, lat = zip(*good, strict=True)
    count = np.array(people, float)
    unread = int(np.count_nonzero(count < 0))
    count[count < 0] = np.nan
    places = NamedPlaces(names, count, np.array([lon, lat], float).T)
    notes = []
    if unread:
        notes.append(
            f"The population of {unread} of {len(good)} places of {path.name} is no number: they "
            "are not counted."
        )
    if len(good) < len(rows):
        notes.append(f"{len(rows) - len(good)} of {len(rows)} rows of {path.name} name no place.")
    if not np.isfinite(places.population).any():
        notes.append(f"{path.name} tells no population: no place is labelled or counted.")
    return places, tuple(notes)


_Row = tuple[str, float, float, float]


def _csv_rows(path: Path) -> Iterator[_Row | None]:
    """Name, people, lon, lat of each row; None for one that has no name or no place on Earth."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise AreaError(f"map.places {path} is larger than any file of places: cut it down")
        with path.open(newline="", encoding="utf-8-sig") as file:
            head = file.readline()
            delimiter = max(",;\t", key=head.count)
            names = next(csv.reader([head], delimiter=delimiter), [])
            columns = _columns(names, path)
            for row in csv.reader(file, delimiter=delimiter):
                if any(map(str.strip, row[len(names) :])):
                    yield None  # of more values than columns: a comma inside a number, mostly
                elif row:
                    yield _row(*(_cell(row, at) for at in columns))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise AreaError(f"map.places {path} cannot be read: {one_line(error)}") from None


def _columns(head: list[str], path: Path) -> list[int | None]:
    """Where name, population, lat and lon are; population may be missing."""
    if twice := repeated_name(head):
        raise AreaError(f"map.places {path} has the column {twice!r} twice: keep one of them")
    lower = [name.strip().lower() for name in head]
    positions: list[int | None] = []
    for wanted, names in COLUMNS.items():
        at = next((lower.index(name) for name in names if name in lower), None)
        if at is None and wanted != "population":
            raise AreaError(
                f"map.places {path} has no column {wanted}: write name, population, lat, lon; "
                f"found {', '.join(head)[:80] or 'nothing'}"
            )
        positions.append(at)
    return positions


def _cell(row: list[str], at: int | None) -> str:
    return row[at] if at is not None and at < len(row) else ""


def _row(name: str, people: str, lat: str, lon: str) -> _Row | None:
    y, x = _number(lat), _number(lon)
    name = " ".join(name.split())
    if not (name and abs(y) <= 90 and abs(x) <= 180):  # NaN is not
        return None
    return name, _people(people), x, y


def _people(text: str) -> float:
    """A number, with thousands apart or not; NaN where there is none, below 0 for what is none."""
    plain = "".join(text.split()).replace("'", "").replace("’", "")
    if _THOUSANDS.fullmatch(plain):
        plain = plain.replace(",", "") if "," in plain else plain.replace(".", "")
    count = _number(plain)
    return count if count >= 0 or plain.lower() in _UNKNOWN else -1.0


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan


def _point_rows(path: Path) -> Iterator[_Row | None]:
    for (name, people), shape in read_shapes(path, "map.places", ("name", "population")):
        point = shape.representative_point()
        yield _row(name, people, str(point.y), str(point.x))
