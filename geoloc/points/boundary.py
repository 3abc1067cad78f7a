"""The polygon that points are to lie in, and what of a network lies in it."""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..area import on_globe, read_polygon
from ..arrays import F64, Bools
from ..errors import UsageError
from .lines import Lines, joined

if TYPE_CHECKING:
    from shapely import Geometry


_DEGREES = "EPSG:4326"
_BOX = re.compile(r"\s*[-+.\d]+\s*(,\s*[-+.\d]+\s*){3}")


@dataclass(frozen=True, eq=False)
class Boundary:
    """A polygon in degrees that may continue beyond 180; ``name``: as it was given."""

    polygon: Geometry
    name: str

    @classmethod
    def read(cls, text: str) -> Boundary:
        """A file with polygons, or a box ``west,south,east,north`` in degrees.

        A box whose west is larger than its east crosses the antimeridian. Raises UsageError.
        """
        if not _BOX.fullmatch(text) or Path(text).exists():
            return cls(read_polygon(Path(text), _DEGREES), text)
        import shapely

        west, south, east, north = _numbers(text)
        return cls(shapely.box(west, south, east + 360 * (east < west), north), text)

    @property
    def digest(self) -> str:
        """sha256 of the polygon itself, whatever file it came from."""
        import shapely

        return hashlib.sha256(shapely.to_wkb(shapely.normalize(self.polygon))).hexdigest()

    @cached_property
    def on_globe(self) -> Geometry:
        """The same with every part within +-180 degrees; prepared."""
        import shapely

        shape = on_globe(self.polygon)
        shapely.prepare(shape)
        return shape

    def holds(self, coordinates: F64) -> Bools:
        """Bool ``(n,)``: which places ``(n, 2)`` lie inside or on the edge."""
        import shapely

        return np.asarray(shapely.intersects_xy(self.on_globe, *coordinates.T))

    def clip(self, lines: Lines) -> Lines:
        """What of the lines lies inside. A line across the edge comes back edge by edge."""
        import shapely

        if not len(lines):
            return lines
        shapes = shapely.linestrings(lines.coordinates, indices=lines.line_of_node)
        touching = shapely.intersects(self.on_globe, shapes)
        inside = touching.copy()
        inside[touching] = shapely.covers(self.on_globe, shapes[touching])
        return joined([lines.select(inside), self._cut(lines.select(touching & ~inside))])

    def _cut(self, lines: Lines) -> Lines:
        """The parts inside of lines that cross the edge."""
        import shapely

        first = lines.edges()
        ends = np.stack([lines.coordinates[first], lines.coordinates[first + 1]], axis=1)
        parts, edge = shapely.get_parts(
            shapely.intersection(shapely.linestrings(ends), self.on_globe), return_index=True
        )
        lying = shapely.get_type_id(parts) == int(shapely.GeometryType.LINESTRING)
        parts, owner = parts[lying], lines.line_of_node[first][edge[lying]]
        xy, part = shapely.get_coordinates(parts, return_index=True)
        return Lines.of(xy, part, lines.way_id[owner], lines.highway[owner])


def _numbers(text: str) -> tuple[float, float, float, float]:
    try:
        west, south, east, north = map(float, text.split(","))
    except ValueError:
        west = south = east = north = math.nan
    on_globe = -180 <= west <= 180 and -180 <= east <= 180 and -90 <= south < north <= 90
    if not on_globe or west == east:
        raise UsageError(
            f"--within {text}: write west,south,east,north in degrees, or name a file with a "
            "polygon"
        )
    return west, south, east, north
