"""The regions of a query: their layout, and what an answer reports of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pyproj import Transformer

from ..area import MapLayers, holds_the_same, polygon_file, read_border, read_layers
from ..area.map import LONLAT
from ..candidates.regions import PlaceRecall, RankedRegions, place_recall
from ..cube import Cube
from ..domain import Grid, Points, Regions, frame_of, region_crs
from ..errors import UsageError
from ..files.whole import file_sha256
from ..ranking import Ranking
from ..search import RegionMinima, project
from .options import QueryOptions
from .target import Target

if TYPE_CHECKING:
    from shapely import Geometry

USUAL_SIZE = 25_000.0
"""m: of the regions of a cube of points, where nothing else is asked for (the study's)."""

_ASIDE = 1.0  # degrees around a grid in which a border is looked at


@dataclass(frozen=True, eq=False)
class RegionQuery:
    """How the items of one call are answered by regions.

    layout: where they lie; options: with what was found out of the border; layers: what maps
    show beside them, in degrees.
    """

    layout: Regions
    options: QueryOptions
    layers: MapLayers = field(default_factory=MapLayers)

    @classmethod
    def of(cls, target: Target, options: QueryOptions) -> RegionQuery | None:
        """Of an open cube; None where no regions are asked for.

        Raises UsageError for regions that cannot be, AreaError for files of the map.
        """
        size = options.regions or (USUAL_SIZE if is_of_points(target.cube) else None)
        if size is None and options.ranking != Ranking.MINIMUM:
            raise UsageError(
                f"--ranking {options.ranking} ranks regions: add --regions M, their size in m"
            )
        if size is None:
            return None
        path = options.border or _border_of(target)
        border = None if path is None else read_border(path)
        layout = layout_of(target.cube, size, border)
        exact = {
            "regions": size,
            "border": path,
            "border_sha256": None if path is None else _digest(path),
        }
        layers = MapLayers() if target.area is None else read_layers(target.area.map)
        return cls(layout, options.model_copy(update=exact), layers)

    def ranked(self, minima: RegionMinima, cube: Cube) -> RankedRegions:
        """The regions of one answer, ranked."""
        return RankedRegions.of(minima, cube.domain, self.options.ranking)

    def recall(self, ranked: RankedRegions) -> PlaceRecall | None:
        """Which large places lie in good regions; None where no places are known."""
        places = self.layers.places
        if not len(places) or not np.isfinite(places.population).any():
            return None
        above = self.options.places_above
        return place_recall(ranked, list(places.names), places.population, places.lonlat, above)


def is_of_points(cube: Cube) -> bool:
    """Whether a cube holds points, so that its maps are those of regions."""
    return isinstance(cube.domain, Points)


def layout_of(cube: Cube, size: float, border: Geometry | None = None) -> Regions:
    """Regions of ``size`` m over a cube, clipped to ``border``, which is in degrees."""
    if border is None:
        return Regions.of(cube.domain, size)
    crs = region_crs(cube.domain, frame_of(border))
    near = border.intersection(_around(cube.grid)) if isinstance(cube.domain, Grid) else border
    polygon = project(near, LONLAT, crs)
    if not (_finite(polygon) and holds_the_same([near], polygon, LONLAT, crs)):
        raise UsageError(
            "the border reaches so far around the Earth that it has no map of regions: cut it to "
            "the area"
        )
    return Regions.of(cube.domain, size, crs, polygon)


def _around(grid: Grid) -> Geometry:
    """What lies around a grid, in degrees: its CRS is none for the other side of the Earth."""
    import shapely

    to_degrees = Transformer.from_crs(grid.crs, LONLAT, always_xy=True)
    west, south, east, north = to_degrees.transform_bounds(*grid.bounds)
    east += 360 * (east < west)
    pad = _ASIDE + 0.1 * max(east - west, north - south)
    return shapely.union_all(
        [
            shapely.box(west + turn - pad, south - pad, east + turn + pad, north + pad)
            for turn in (-360, 0, 360)
        ]
    )


def _finite(shape: Geometry) -> bool:
    import shapely

    return bool(np.isfinite(shapely.get_coordinates(shape)).all())


def _border_of(target: Target) -> Path | None:
    """The area's own polygon, or the border of its map."""
    area = target.area
    if area is None:
        return None
    return area.geometry or (area.map.border if area.map else None)


def _digest(path: Path) -> str:
    try:
        return file_sha256(polygon_file(path))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None


def notes_of(ranked: RankedRegions, layers: MapLayers) -> tuple[str, ...]:
    """What a reader of the regions has to know, one sentence each."""
    notes = [*layers.notes]
    outside, known = ranked.minima.outside, int(ranked.minima.count.sum())
    if outside:
        notes.append(
            f"{outside:,} of {outside + known:,} places lie outside the border and belong to "
            "no region."
        )
    places = layers.places
    if len(places):
        away = int(np.count_nonzero(ranked.regions_at(places.lonlat) < 0))
        if away == len(places):
            notes.append("No named place lies in any region: check the columns lat and lon.")
    return tuple(notes)
