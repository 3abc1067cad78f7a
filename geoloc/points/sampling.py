"""Places drawn by chance: uniform by length along lines, or by area in a polygon.

Each place is drawn alone, by a number that depends on the seed and on how many came before: so
any prefix of a sample is itself a sample, and the same whatever follows it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..arrays import F64, I64
from ..errors import UsageError
from .chance import uniform_numbers
from .lengths import along, around, edge_lengths
from .lines import Lines

if TYPE_CHECKING:
    from pyproj import Transformer

    from .boundary import Boundary


_BATCH = 1 << 17  # places at a time
_EQUAL_AREA = "EPSG:6933"  # cylindrical: columns are meridians, equal areas stay equal
_THINNEST = 1e-6  # share of its box that a polygon must cover


@dataclass(frozen=True, eq=False)
class Along:
    """Places along lines: coordinates ``(n, 2)``, and the line of each ``(n,)``."""

    coordinates: F64
    line: I64


@dataclass
class Roads:
    """A network as arrays: 24 bytes a node, and its classes by number."""

    coordinates: F64  # (node, 2), degrees
    before: F64  # (node,), metres of the network before each node
    offsets: I64  # (line + 1,)
    way_id: I64  # (line,)
    class_of: NDArray[np.int32]  # (line,)
    classes: NDArray[np.str_]

    @property
    def metres(self) -> float:
        """The length of all roads."""
        return float(self.before[-1])

    def at(self, share: F64) -> Along:
        """The places at shares [0, 1) of the network's length."""
        metres = share * self.metres
        # the last node that far: of several, where lines meet or nodes coincide, the next's first
        node = np.searchsorted(self.before, metres, side="right") - 1
        node = np.minimum(node, len(self.before) - 2)
        line = np.searchsorted(self.offsets, node, side="right") - 1
        start, end = self.coordinates[node], self.coordinates[node + 1]
        return Along(along(start, end, metres - self.before[node]), line)

    def highway(self, line: I64) -> NDArray[np.str_]:
        """The class of each line."""
        return self.classes[self.class_of[line]]


class RoadsBuilder:
    """Takes lines in batches and keeps them in arrays that grow in place."""

    def __init__(self) -> None:
        self._coordinates, self._lengths = bytearray(), bytearray()
        self._counts, self._ways = bytearray(), bytearray()
        self._class_of, self._classes = bytearray(), dict[str, int]()

    def add(self, lines: Lines) -> None:
        """More lines."""
        if not len(lines):
            return
        self._coordinates += lines.coordinates.tobytes()
        self._lengths += edge_lengths(lines).tobytes()
        self._counts += np.diff(lines.offsets).tobytes()
        self._ways += lines.way_id.tobytes()
        names, inverse = np.unique(lines.highway, return_inverse=True)
        codes = [self._classes.setdefault(str(name), len(self._classes)) for name in names]
        self._class_of += np.array(codes, np.int32)[inverse].tobytes()

    def roads(self) -> Roads | None:
        """All of them; None where there are none."""
        lengths = np.frombuffer(self._lengths, np.float64)
        if not len(lengths) or not lengths.any():
            return None
        before = np.zeros(len(lengths))
        np.cumsum(lengths[:-1], out=before[1:])
        return Roads(
            np.frombuffer(self._coordinates, np.float64).reshape(-1, 2),
            before,
            np.concatenate([[0], np.cumsum(np.frombuffer(self._counts, np.int64))]),
            np.frombuffer(self._ways, np.int64),
            np.frombuffer(self._class_of, np.int32),
            np.array(list(self._classes), np.str_),
        )


def draw_along(roads: Roads, seed: int, n: int) -> Iterator[Along]:
    """``n`` places, uniform by length, in batches."""
    numbers = uniform_numbers(seed, _BATCH)
    for start in range(0, n, _BATCH):
        yield roads.at(next(numbers)[: n - start])


def draw_within(within: Boundary, seed: int, n: int) -> Iterator[F64]:
    """``n`` places in a polygon, uniform by area on the ellipsoid, in batches ``(…, 2)``.

    Drawn in the box around it in an equal-area projection; what falls outside is drawn again.
    Raises UsageError for a polygon that is too thin for that.
    """
    import shapely

    polygon = within.polygon
    west, south, east, north = polygon.bounds
    to_area, to_degrees = _equal_area()
    (_, low), (_, high) = (to_area.transform(0.0, lat) for lat in (south, north))
    box = (east - west) * (north - south)
    if not math.isfinite(box) or polygon.area < _THINNEST * box:
        raise UsageError(f"polygon {within.name} is too thin to draw places in it: widen it")
    shapely.prepare(polygon)
    numbers, left = uniform_numbers(seed, 2 * _BATCH), n
    while left > 0:
        across, up = next(numbers).reshape(-1, 2).T
        lon = west + across * (east - west)
        lat = np.asarray(to_degrees.transform(np.zeros_like(up), low + up * (high - low))[1])
        inside = shapely.contains_xy(polygon, lon, lat)
        drawn = np.column_stack([around(lon[inside]), lat[inside]])[:left]
        left -= len(drawn)
        yield drawn


def _equal_area() -> tuple[Transformer, Transformer]:
    from pyproj import Transformer

    return (
        Transformer.from_crs(4326, _EQUAL_AREA, always_xy=True),
        Transformer.from_crs(_EQUAL_AREA, 4326, always_xy=True),
    )
