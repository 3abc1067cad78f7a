"""A polygon as a mask over the chunks of a domain."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely
from pyproj import Transformer
from shapely.geometry.base import BaseGeometry

from ..arrays import Bools
from ..domain import Chunk, Domain, Points
from ..errors import UsageError

WGS84 = "EPSG:4326"
# Along the longer side of a polygon: an edge that is straight in one CRS bends in another.
_EDGE_POINTS = 200


@dataclass(frozen=True, eq=False)
class PolygonMask:
    """The cells whose centre lies inside ``polygon``, which is in the domain's CRS."""

    domain: Domain
    polygon: BaseGeometry

    def __post_init__(self) -> None:
        shapely.prepare(self.polygon)

    def __reduce__(self) -> tuple[type[PolygonMask], tuple[Domain, BaseGeometry]]:
        return PolygonMask, (self.domain, self.polygon)  # prepared again where it arrives

    @classmethod
    def of(cls, domain: Domain, polygon: BaseGeometry, crs: str = WGS84) -> PolygonMask:
        """A mask from a polygon in any CRS, by default longitude and latitude (GeoJSON).

        Raises UsageError for what is no polygon, or lies outside the domain.
        """
        if not polygon.area:
            raise UsageError(f"cannot search within a {polygon.geom_type}: give a polygon")
        local = project(polygon, crs, domain.crs)
        if not np.isfinite(local.bounds).all() or not local.intersects(shapely.box(*domain.bounds)):
            raise UsageError(
                f"the polygon with bounds {tuple(round(v, 6) for v in polygon.bounds)} in {crs} "
                "does not touch the cube's area: check the order of longitude and latitude"
            )
        mask = cls(domain, local)
        if isinstance(domain, Points) and not mask.holds_any():
            raise UsageError("no point of the cube lies inside of the polygon: draw a larger one")
        return mask

    def holds_any(self) -> bool:
        """Whether a cell lies inside."""
        return any(self.cells(chunk).any() for chunk in self.domain.chunks(self.polygon))

    def cells(self, block: Chunk) -> Bools:
        """True for the block's cells that lie inside, of the block's shape."""
        inside = block.inside(self.polygon)
        assert inside is not None
        return inside


def project(geometry: BaseGeometry, source: str, target: str) -> BaseGeometry:
    """A geometry from one CRS in another; longitude and x come first; long edges are bent."""
    if source == target:
        return geometry
    left, bottom, right, top = geometry.bounds
    dense = shapely.segmentize(geometry, max(right - left, top - bottom) / _EDGE_POINTS)
    transform = Transformer.from_crs(source, target, always_xy=True).transform
    return shapely.transform(dense, transform, interleaved=False)
