"""The regions of an answer of points, read back from its ``regions.geojson``, for its copy.

What a copy says of a region is what the original says of it, but for where its best point is:
that is made coarse like any other coordinate. Its map has no border, provinces, water, forest or
names, which are of files that the answer does not hold.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import Transformer

from ..arrays import F64, I64, Bools
from ..candidates.regions import PlaceRecall, RankedRegions
from ..domain import Grid, Regions
from ..errors import UsageError
from ..ranking import Ranking
from ..search import RegionMinima
from ..search.background import BINS, Background
from .scrub import number, texts

if TYPE_CHECKING:
    from shapely import Geometry

    from .rounding import Squares

FILE = "regions.geojson"

Record = Mapping[str, Any]

_NAME = re.compile(r"[^\x00-\x1f]{1,100}")  # of a place, such as Biel/Bienne

_DATE_LINE = 180 - 1e-5  # degrees: an outline that reaches it on both sides was split there
_SLIVER = 1e-5  # of an outline's area: what splitting leaves of an edge on that very line
_JOINED = 0.01  # m: what is less apart is one line again


@dataclass(frozen=True, eq=False)
class ReadLayout(Regions):
    """Regions whose outlines were read: by number, in the grid's CRS, as they were clipped."""

    shapes: Mapping[int, Geometry] = field(default_factory=dict)

    @property
    def is_region(self) -> Bools:
        """Those that the file has."""
        found = np.zeros(self.count, np.bool_)
        found[list(self.shapes)] = True
        return found

    def outline(self, regions: I64) -> NDArray[Any]:
        """As in the file."""
        return np.array([self.shapes[number] for number in regions.tolist()], object)


def is_of_points(record: Record) -> bool:
    """Whether an answer is one of points, which has regions in place of a heatmap."""
    outputs = record.get("outputs") or {}
    return "regions.tif" in outputs and "heatmap.tif" not in outputs


def read_regions(folder: Path, record: Record, grid: Grid) -> RankedRegions:
    """The regions of an answer. Raises UsageError where they are damaged."""
    path = folder / FILE
    try:
        features = json.loads(path.read_text(encoding="utf-8"))["features"]
        told = {int(one["properties"]["region"]): one["properties"] for one in features}
        shapes = {int(one["properties"]["region"]): one["geometry"] for one in features}
        layout = ReadLayout(grid, "EPSG:4326", shapes=_outlines(shapes, grid.crs))
        return _ranked(layout, told, record["regions"])
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    except (AttributeError, LookupError, TypeError, ValueError, shapely.errors.ShapelyError):
        raise UsageError(f"{path} is damaged: run the query again") from None


def rounded_regions(ranked: RankedRegions, squares: Squares) -> RankedRegions:
    """The same regions, their best points in the middle of the squares that contain them."""
    lonlat = ranked.lonlat.copy()
    for region in ranked.order.tolist():
        lonlat[region] = squares.place(*lonlat[region].tolist())
    return replace(ranked, lonlat=lonlat, xy=_projected(lonlat, ranked.layout.grid.crs))


def shared_recall(record: Record) -> PlaceRecall | None:
    """Which large places lie in good regions, as recorded; names are those of the area's file."""
    told, regions = record.get("large_places"), record["regions"]
    if not isinstance(told, Mapping):
        return None
    found, missed = (
        tuple(name for name in texts(told.get(key)) if _NAME.fullmatch(name))
        for key in ("found", "missed")
    )
    good = int(regions["good"])
    with_place = round((number(told.get("precision")) or 0.0) * good)
    return PlaceRecall(
        float(told["above"]), found, missed, good, with_place, int(regions["regions"]),
        int(told["elsewhere"]),
    )  # fmt: skip


def _ranked(layout: ReadLayout, told: Mapping[int, Record], record: Record) -> RankedRegions:
    def every(key: str, missing: float) -> F64:
        values = np.full(layout.count, missing)
        for region, one in told.items():
            values[region] = missing if one[key] is None else one[key]
        return values

    rank = every("rank", 0).astype(np.int64)
    lonlat = np.stack([every("lon", np.nan), every("lat", np.nan)], axis=1)
    minima = RegionMinima(
        layout,
        count=every("count", 0).astype(np.int64),
        best=every("distance", np.nan).astype(np.float32),
        second=every("second", np.nan).astype(np.float32),
        index=np.where(rank > 0, 0, -1).astype(np.int64),
        background=Background(np.zeros(BINS, np.int64)),
        outside=int(record["points_outside"]),
    )
    return RankedRegions(
        minima, Ranking(record["ranking"]), every("score", np.nan), rank,
        every("good", 0).astype(np.bool_), _projected(lonlat, layout.grid.crs), lonlat,
    )  # fmt: skip


def _projected(lonlat: F64, crs: str) -> F64:
    x, y = Transformer.from_crs(4326, crs, always_xy=True).transform(*lonlat.T)
    return np.where(np.isfinite(lonlat), np.stack([x, y], axis=1), np.nan)


def _outlines(shapes: Mapping[int, Any], crs: str) -> dict[int, Geometry]:
    to_grid = Transformer.from_crs(4326, crs, always_xy=True).transform
    return {
        region: shapely.Polygon()
        if told is None
        else _joined(shapely.geometry.shape(told), to_grid)
        for region, told in shapes.items()
    }


def _joined(shape: Geometry, to_grid: Any) -> Geometry:
    """An outline in the grid's CRS, in one piece again where it was split at 180 degrees."""
    moved = shapely.transform(shape, to_grid, interleaved=False)
    west, _, east, _ = shape.bounds
    if west <= -_DATE_LINE and east >= _DATE_LINE:
        moved = shapely.union_all(shapely.get_parts(moved), grid_size=_JOINED)
    parts = shapely.get_parts(moved)
    whole = [part for part in parts if part.area > _SLIVER * moved.area]
    return whole[0] if len(whole) == 1 else shapely.MultiPolygon(whole)
