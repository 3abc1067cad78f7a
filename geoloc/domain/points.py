"""Points anywhere, such as places drawn along the roads of a country, in an order that keeps
neighbours together.

Pure arithmetic: no I/O, no imagery, no executor.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakSet

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..arrays import F64, I64, Bools
from ..errors import AreaError
from .chunk import Chunk, Domain

if TYPE_CHECKING:
    from shapely import Geometry


POINTS_CHUNK = 256
"""Points of a chunk: as they lie apart, each takes a window of imagery of its own, all of which
are in memory at once (of 224 px: 39 MB)."""

_DEGREES = ("EPSG:4326", "OGC:CRS84")
_AXIS, _ECCENTRICITY = 6_378_137.0, 6.694379990141316e-3  # of WGS 84: m, and its square
_BITS = 16  # of a coordinate along the curve: 1/65,536 of the extent
_HERE: dict[str, WeakSet[Points]] = defaultdict(WeakSet)  # those of this process, by digest


@dataclass(frozen=True, eq=False)
class Points(Domain):
    """``coordinates`` float64 ``(point, 2)``, x and y in ``crs`` (longitude comes first).

    ``attributes``: more about each point, arrays ``(point, …)`` by name. ``sequence`` names what
    they are the beginning of, empty where that is not known. Chunks hold neighbours where the
    points are in order (`along_curve`). Raises AreaError for coordinates that are none.
    """

    crs: str
    coordinates: F64
    attributes: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    sequence: str = ""
    chunk_size: ClassVar[int] = POINTS_CHUNK

    def __post_init__(self) -> None:
        xy = np.ascontiguousarray(self.coordinates, np.float64)
        if xy.ndim != 2 or xy.shape[1] != 2 or not len(xy) or not np.isfinite(xy).all():
            raise AreaError(f"points of shape {xy.shape} must be finite numbers (point, 2)")
        for name, values in self.attributes.items():
            if len(values) != len(xy):
                raise AreaError(f"{len(values)} values of {name} for {len(xy)} points")
        object.__setattr__(self, "coordinates", xy)
        _HERE[self.digest].add(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.crs, self.coordinates, dict(self.attributes), self.sequence)

    @classmethod
    def along_curve(
        cls,
        crs: str,
        coordinates: ArrayLike,
        attributes: Mapping[str, ArrayLike] | None = None,
        sequence: str = "",
    ) -> Points:
        """Points in the order of a Hilbert curve, and their attributes with them."""
        xy = np.asarray(coordinates, np.float64)
        given = {name: np.asarray(values) for name, values in (attributes or {}).items()}
        points = cls(crs, xy, given)
        order = np.argsort(hilbert_index(points.coordinates), kind="stable")
        kept = {name: values[order] for name, values in given.items()}
        return cls(crs, xy[order], kept, sequence)

    def followed_by(self, others: Points) -> Points:
        """These points, and then others of the same CRS and attributes."""
        more = others.attributes
        attributes = {k: np.concatenate([v, more[k]]) for k, v in self.attributes.items()}
        coordinates = np.concatenate([self.coordinates, others.coordinates])
        return Points(self.crs, coordinates, attributes, self.sequence)

    def first(self, count: int) -> Points:
        """The first ``count`` of them."""
        attributes = {name: values[:count] for name, values in self.attributes.items()}
        return Points(self.crs, self.coordinates[:count], attributes, self.sequence)

    @property
    def bare(self) -> Points:
        """The same places without their attributes, as work on them needs no more."""
        return Points(self.crs, self.coordinates) if self.attributes or self.sequence else self

    @cached_property
    def digest(self) -> str:
        """sha256 of where the points are."""
        return hashlib.sha256(self.crs.encode() + self.coordinates.tobytes()).hexdigest()

    @property
    def dims(self) -> tuple[str]:
        """``("point",)``."""
        return ("point",)

    @property
    def shape(self) -> tuple[int]:
        """``(point,)``."""
        return (len(self.coordinates),)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Of all points: left, bottom, right, top, in CRS units."""
        left, bottom = self.coordinates.min(axis=0).tolist()
        right, top = self.coordinates.max(axis=0).tolist()
        return left, bottom, right, top

    def xy(self, chunk: Chunk) -> F64:
        """``(cell, 2)``: the points of a chunk, in CRS units."""
        return self.coordinates[chunk.slices]

    def centres(self, index: I64) -> F64:
        """``(cell, 2)``: points by their place, in CRS units."""
        return self.coordinates[index]

    def metres(self, index: I64) -> F64:
        """Points by their place in a space whose unit is the metre: ``(cell, 2)`` in a projected
        CRS, or geocentric ``(cell, 3)`` of degrees, across 180 and at the poles as elsewhere."""
        xy = self.coordinates[index]
        return geocentric(xy) if self._in_degrees else xy

    @property
    def _in_degrees(self) -> bool:
        return self.crs in _DEGREES

    def most_within(self, radius: float) -> int:
        """No ball holds more points than the cubes of its width around the point's own do."""
        if not radius > 0:
            return int(np.unique(self.coordinates, axis=0, return_counts=True)[1].max())
        bins = np.floor(self.metres(np.arange(self.size)) / radius).astype(np.int64)
        cells, counts = np.unique(bins, axis=0, return_counts=True)
        return min(int(_with_neighbours(cells, counts).max()), self.size)

    def touched(self, polygon: Geometry | None, size: int | None = None) -> Bools:
        """Bool ``(chunk,)``: the chunks whose bounding box touches ``polygon``; without, all."""
        size = size or self.chunk_size
        if polygon is None:
            return np.ones(self.chunk_grid(size), np.bool_)
        import shapely

        starts = np.arange(0, self.size, size)
        low = np.minimum.reduceat(self.coordinates, starts, axis=0)
        high = np.maximum.reduceat(self.coordinates, starts, axis=0)
        shapely.prepare(polygon)
        return np.asarray(shapely.intersects(polygon, shapely.box(*low.T, *high.T)))

    def handle(self) -> Callable[[], Domain]:
        """The points themselves travel once, with the work; their chunks name them."""
        return partial(_here, self.digest)


def _here(digest: str) -> Points:
    points = next(iter(_HERE.get(digest, ())), None)
    if points is None:
        raise LookupError(
            f"a chunk of the points {digest[:12]} came to a process without them: send the "
            "points with the work"
        )
    return points


def geocentric(lonlat: F64) -> F64:
    """Degrees ``(n, 2)`` on the ellipsoid WGS 84 as x, y, z ``(n, 3)``, m from its middle.

    Straight lines are shorter than the ground's by 2 mm in 10 km.
    """
    lon, lat = np.radians(lonlat).T
    prime = _AXIS / np.sqrt(1 - _ECCENTRICITY * np.sin(lat) ** 2)
    flat = prime * np.cos(lat)
    return np.stack(
        [flat * np.cos(lon), flat * np.sin(lon), prime * (1 - _ECCENTRICITY) * np.sin(lat)], axis=1
    )


def _with_neighbours(cells: I64, counts: I64) -> I64:
    """How many lie in each of some cells ``(n, dim)`` of a lattice and in all that touch it."""
    low = cells.min(axis=0) - 1
    span = cells.max(axis=0) - low + 2
    keys = np.ravel_multi_index(tuple((cells - low).T), tuple(span.tolist()))
    order = np.argsort(keys)
    ordered, held = keys[order], counts[order]
    total = np.zeros(len(cells), np.int64)
    for offset in np.ndindex(*(3,) * cells.shape[1]):
        moved = tuple((cells - low + np.array(offset) - 1).T)
        wanted = np.ravel_multi_index(moved, tuple(span.tolist()))
        at = np.minimum(np.searchsorted(ordered, wanted), len(ordered) - 1)
        total += np.where(ordered[at] == wanted, held[at], 0)
    return total


def hilbert_index(coordinates: F64, bits: int = _BITS) -> I64:
    """How far along a Hilbert curve through their bounding square points ``(point, 2)`` lie.

    The curve has ``2**bits`` cells a side. After the iterative form of J. Skilling, "Programming
    the Hilbert curve" (2004), as Wikipedia's ``xy2d``.
    """
    low = coordinates.min(axis=0)
    side = float((coordinates.max(axis=0) - low).max()) or 1.0
    last = (1 << bits) - 1
    x, y = np.minimum((coordinates - low) / side * (last + 1), last).astype(np.int64).T
    index = np.zeros(len(x), np.int64)
    for level in range(bits - 1, -1, -1):
        right, upper = x >> level & 1, y >> level & 1
        index += (3 * right ^ upper) << 2 * level
        flip, turn = (upper == 0) & (right == 1), upper == 0
        x, y = np.where(flip, last - x, x), np.where(flip, last - y, y)
        x, y = np.where(turn, y, x), np.where(turn, x, y)
    return index
