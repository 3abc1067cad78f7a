"""Regions: squares of any size over a domain, such as the 25 km of a country's map.

Pure arithmetic: no I/O. Metres of a region are metres on the ground: a domain in degrees, or in
a CRS that stretches areas, gets an equal-area projection centred on it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS, Proj, Transformer

from ..arrays import F64, I64, U8, Bools
from ..errors import UsageError
from .chunk import Domain
from .grid import Grid

if TYPE_CHECKING:
    from shapely import Geometry

Bounds = tuple[float, float, float, float]

MOST_REGIONS = 1_000_000
"""Of one layout: each keeps some dozens of bytes for each photo."""

_MOST_STRETCH = 0.02  # of areas at the middle, before another CRS is taken for regions
_OUT, _IN, _EDGE = range(3)  # of a square: what of it lies in the polygon


@dataclass(frozen=True, eq=False)
class Regions:
    """Square regions in rows and columns; region ``row * nx + col`` is counted from the north-west.

    grid: the squares, in a CRS in metres; source: the CRS of the places that fall into them;
    polygon: in the grid's CRS, what the regions are clipped to, or None.
    """

    grid: Grid
    source: str
    polygon: Geometry | None = None

    @classmethod
    def of(
        cls, domain: Domain, size: float, crs: str | None = None, polygon: Geometry | None = None
    ) -> Regions:
        """Regions of ``size`` m over a domain, clipped to ``polygon``, which is in ``crs``.

        ``crs``: see `region_crs`, the default. Those of a grid begin at its north-western corner;
        others lie on multiples of their size, so that they stay where they are as points are
        added. A domain smaller than a region is one. Raises UsageError for a size that is none,
        is smaller than a cell or makes too many, and for a polygon elsewhere.
        """
        _require_size(domain, size)
        crs = crs or region_crs(domain)
        bounds = _bounds_in(domain, crs)
        if polygon is not None:
            _require_meeting(polygon, bounds)
        if isinstance(domain, Grid):
            grid = _from_corner(crs, bounds, size)
        else:
            grid = _on_multiples(crs, bounds if polygon is None else polygon.bounds, size)
        layout = cls(grid, domain.crs, polygon)
        if polygon is not None and not isinstance(domain, Grid):
            layout._require_places(domain)
        return layout

    def _require_places(self, domain: Domain) -> None:
        if not any((self.index(chunk.xy) >= 0).any() for chunk in domain.chunks()):
            raise UsageError(
                "no point of the cube lies inside of the border: check the file and its CRS"
            )

    @property
    def size(self) -> float:
        """m along a side."""
        return self.grid.step

    @property
    def count(self) -> int:
        """How many squares there are, those outside of the polygon among them."""
        return self.grid.size

    @cached_property
    def states(self) -> U8:
        """Of each square ``(region,)``: out of the polygon, wholly in it, or at its edge."""
        if self.polygon is None:
            return np.full(self.count, _IN, np.uint8)
        import shapely

        shapely.prepare(self.polygon)
        squares = self.squares
        states = np.where(shapely.intersects(self.polygon, squares), _EDGE, _OUT).astype(np.uint8)
        states[shapely.contains(self.polygon, squares)] = _IN
        edge = np.flatnonzero(states == _EDGE)  # those that only touch it hold nothing of it
        held = shapely.area(shapely.intersection(squares[edge], self.polygon))
        states[edge[held == 0]] = _OUT
        return states

    @property
    def is_region(self) -> Bools:
        """Which squares ``(region,)`` are regions: those that the polygon touches."""
        return np.asarray(self.states != _OUT, np.bool_)

    @property
    def squares(self) -> NDArray[Any]:
        """All squares ``(region,)`` as polygons, not clipped."""
        import shapely

        left, top, size = self.grid.left, self.grid.top, self.grid.step
        row, col = np.divmod(np.arange(self.count), self.grid.nx)
        x, y = left + col * size, top - row * size
        return np.asarray(shapely.box(x, y - size, x + size, y))

    def outline(self, regions: I64) -> NDArray[Any]:
        """These regions ``(n,)`` as (multi)polygons in the grid's CRS, clipped."""
        import shapely

        shapes = self.squares[regions]
        for number in np.flatnonzero(self.states[regions] == _EDGE):
            shapes[number] = polygonal(shapely.intersection(shapes[number], self.polygon))
        return shapes

    def index(self, xy: F64) -> NDArray[np.int32]:
        """The region ``(place,)`` of each place ``(place, 2)`` of the source's CRS; -1 outside."""
        x, y = self._local(xy)
        grid = self.grid
        with np.errstate(invalid="ignore"):
            col, row = np.floor((x - grid.left) / grid.step), np.floor((grid.top - y) / grid.step)
            known = (col >= 0) & (col < grid.nx) & (row >= 0) & (row < grid.ny)  # NaN is not
        region = np.full(len(xy), -1, np.int32)
        region[known] = row[known] * grid.nx + col[known]
        return region if self.polygon is None else self._clipped(region, x, y)

    def _local(self, xy: F64) -> tuple[F64, F64]:
        if self.source == self.grid.crs:
            return xy[:, 0], xy[:, 1]
        x, y = self._to_grid.transform(xy[:, 0], xy[:, 1])
        return np.asarray(x), np.asarray(y)

    @cached_property
    def _to_grid(self) -> Transformer:
        return Transformer.from_crs(self.source, self.grid.crs, always_xy=True)

    def _clipped(self, region: NDArray[np.int32], x: F64, y: F64) -> NDArray[np.int32]:
        """Without the places that lie outside of the polygon: only those at its edge are tried."""
        import shapely

        state = np.where(region < 0, _OUT, self.states[region])
        region[state == _OUT] = -1
        edge = np.flatnonzero(state == _EDGE)
        outside = ~shapely.contains_xy(self.polygon, x[edge], y[edge])
        region[edge[outside]] = -1
        return region

    def __reduce__(self) -> tuple[type[Regions], tuple[Any, ...]]:
        return Regions, (self.grid, self.source, self.polygon)  # prepared again where it arrives

    def to_json(self) -> dict[str, Any]:
        """The layout for machines: CRS, size, bounds, rows and columns."""
        grid = self.grid
        return {
            "crs": grid.crs,
            "size": grid.step,
            "bounds": list(grid.bounds),
            "shape": list(grid.shape),
        }


def polygonal(shape: Geometry) -> Geometry:
    """The polygons of a shape, without the lines and points that cutting it left."""
    import shapely

    if shape.geom_type in ("Polygon", "MultiPolygon"):
        return shape
    parts = shapely.get_parts(shapely.get_parts(shape))
    return shapely.MultiPolygon(list(parts[shapely.get_type_id(parts) == 3]))


def region_crs(domain: Domain, frame: Bounds | None = None) -> str:
    """The CRS of a domain's regions: its own where metres are metres there, else an equal-area one.

    That is a Lambert azimuthal projection about the middle of ``frame`` (see `frame_of`), or of the
    points, to a whole degree.
    """
    if isinstance(domain, Grid) or _keeps_areas(domain):
        return domain.crs
    if frame is None:
        return equal_area_crs(*_middle(domain))
    return equal_area_crs((frame[0] + frame[2]) / 2, (frame[1] + frame[3]) / 2)


def frame_of(polygon: Geometry) -> Bounds:
    """West, south, east and north of a polygon in degrees; east lies beyond 180 where parts on
    both sides of the antimeridian are neighbours there."""
    import shapely

    _, south, _, north = polygon.bounds
    west, _, east, _ = shapely.bounds(shapely.get_parts(polygon)).T
    starts = west % 360
    order = np.argsort(starts)
    starts, ends = starts[order], (starts + east - west)[order]
    reach = np.maximum(np.maximum.accumulate(ends), ends.max() - 360)
    following = np.append(starts[1:], starts[0] + 360)
    widest = int(np.argmax(following - reach))  # of what lies between the parts
    begin = (float(following[widest]) + 180) % 360 - 180
    gap = max(float(following[widest] - reach[widest]), 0.0)
    return begin, float(south), begin + 360 - gap, float(north)


def equal_area_crs(lon: float, lat: float) -> str:
    """WKT of the Lambert azimuthal equal-area projection about a place, to a whole degree."""
    lon0, lat0 = (round(lon) + 180) % 360 - 180, round(lat)
    text = f"+proj=laea +lat_0={lat0} +lon_0={lon0} +datum=WGS84 +units=m"
    return str(CRS.from_proj4(text).to_wkt())


def _keeps_areas(domain: Domain) -> bool:
    """Whether a domain's CRS is in metres that are metres of the ground, at its middle."""
    crs = CRS.from_user_input(domain.crs)
    if not crs.is_projected or any(a.unit_conversion_factor != 1 for a in crs.axis_info[:2]):
        return False
    left, bottom, right, top = domain.bounds
    lon, lat = Transformer.from_crs(crs, crs.geodetic_crs, always_xy=True).transform(
        (left + right) / 2, (bottom + top) / 2
    )
    scale = Proj(crs).get_factors(lon, lat).areal_scale if math.isfinite(lon + lat) else math.inf
    return bool(abs(scale - 1) <= _MOST_STRETCH)


def _middle(domain: Domain) -> tuple[float, float]:
    """Longitude and latitude of the middle of a domain's places, across 180 degrees too."""
    xy = domain.centres(np.arange(domain.size))
    lon, lat = Transformer.from_crs(domain.crs, 4326, always_xy=True).transform(*xy.T)
    turned = np.radians(np.asarray(lon)[np.isfinite(lon)])
    east, north = float(np.cos(turned).mean()), float(np.sin(turned).mean())
    low, high = np.nanmin(lat), np.nanmax(lat)
    middle = math.degrees(math.atan2(north, east))
    away = (np.degrees(turned) - middle + 180) % 360 - 180
    return middle + float(away.min() + away.max()) / 2, float(low + high) / 2


def _bounds_in(domain: Domain, crs: str) -> Bounds:
    """The bounds of a domain's places in another CRS."""
    if crs == domain.crs:
        return domain.bounds
    xy = domain.centres(np.arange(domain.size))
    x, y = Transformer.from_crs(domain.crs, crs, always_xy=True).transform(*xy.T)
    known = np.isfinite(x) & np.isfinite(y)
    if not known.any():
        raise UsageError("no point of the cube lies on the map of its regions: check its points")
    return tuple(float(v) for v in (x[known].min(), y[known].min(), x[known].max(), y[known].max()))  # type: ignore[return-value]


def _require_size(domain: Domain, size: float) -> None:
    if not (size > 0 and math.isfinite(size)):
        raise UsageError(f"regions of {size:g} m: give a length above 0, such as --regions 25000")
    if isinstance(domain, Grid) and size < domain.step * (1 - 1e-9):
        raise UsageError(
            f"regions of {size:g} m are smaller than a cell of {domain.step:g} m: "
            f"give --regions {domain.step:g} or more"
        )


def _require_meeting(polygon: Geometry, bounds: Bounds) -> None:
    import shapely

    if not shapely.intersects(polygon, shapely.box(*bounds)):
        raise UsageError(
            "the border does not meet the area of the cube: check the file and its CRS, or the "
            "order of longitude and latitude"
        )


def _from_corner(crs: str, bounds: Bounds, size: float) -> Grid:
    left, bottom, right, top = bounds
    across, down = ((length / size) - 1e-9 for length in (right - left, top - bottom))
    return _laid(crs, left, top, size, math.ceil(down), math.ceil(across))


def _on_multiples(crs: str, bounds: Bounds, size: float) -> Grid:
    left, bottom, right, top = bounds
    if right - left < size and top - bottom < size:
        return _laid(crs, (left + right - size) / 2, (bottom + top + size) / 2, size, 1, 1)
    west, north = math.floor(left / size), math.ceil(top / size)
    ny, nx = north - math.floor(bottom / size), math.floor(right / size) - west + 1
    ny += (north - ny) * size == bottom  # a point on the lower edge of a row is in the next one
    return _laid(crs, west * size, north * size, size, ny, nx)


def _as_km(size: float) -> str:
    """A hint for who meant kilometres."""
    return f" (for {size:g} km: {1000 * size:g})" if size < 1000 else ""


def _laid(crs: str, left: float, top: float, size: float, ny: int, nx: int) -> Grid:
    if (count := max(ny, 1) * max(nx, 1)) > MOST_REGIONS:
        raise UsageError(
            f"regions of {size:g} m would be {_counted(count)}, more than {MOST_REGIONS:,}: "
            f"give --regions {_enough(size, ny, nx):.15g} or more, in metres{_as_km(size)}"
        )
    return Grid(crs, left, top, float(size), max(ny, 1), max(nx, 1))


def _enough(size: float, ny: int, nx: int) -> float:
    """A round length, m, of regions that are few enough where ``ny`` by ``nx`` are not."""
    least = size * math.sqrt(ny / MOST_REGIONS * nx)
    while True:
        unit = 10.0 ** (math.floor(math.log10(least)) - 1)
        told = math.ceil(least / unit) * unit
        # wherever the squares begin, they are one more than fit
        rows, cols = (math.ceil(count * size / told) + 1 for count in (ny, nx))
        if rows * cols <= MOST_REGIONS:
            return told
        least = told * 1.05


def _counted(count: int) -> str:
    return f"{count:,}" if count < 10**15 else "beyond counting"
