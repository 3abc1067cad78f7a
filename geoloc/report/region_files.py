"""``regions.tif``, ``regions.geojson`` and ``regions.gpkg``: the regions of an answer for a GIS."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyproj import Transformer

from ..arrays import F64
from ..candidates.regions import DISTANCE, RankedRegions
from ..domain import Regions
from ..domain.regions import polygonal
from ..files.gdal import gdal_writing, raster_bytes, write_cog

if TYPE_CHECKING:
    from shapely import Geometry

    from .result import QueryResult
    from .views import Views

BANDS = ("distance", "count", "second", "rank", "good", "score")
"""Of ``regions.tif``, in this order; the first is named as `RankedRegions.best_name` says."""

_EMPTY_PACKAGE, _PACKAGE_ROW = 300_000, 2048
"""Bytes that a GeoPackage takes at most, and a region in both of its layers, but its outline."""
_EDGE_PARTS = 4  # of a square's edge, which is straight in one CRS and bends in another
_DIGITS = 6  # decimals of degrees: a tenth of a metre


def regions_of(result: QueryResult) -> RankedRegions:
    """The regions of an answer that has some."""
    assert result.regions is not None, "an answer without regions has no such files"
    return result.regions


def write_region_raster(result: QueryResult, path: Path, _views: Views | None = None) -> None:
    """Write a COG of float32, a pixel a region: `BANDS`; NaN where nothing is known."""
    regions = regions_of(result)
    size = raster_bytes(regions.layout.grid.shape, 4 * len(BANDS), tile=1)
    write_plain = partial(_write_plain, regions)
    write_cog(path, size, write_plain, COMPRESS="DEFLATE", PREDICTOR="YES")


def _write_plain(regions: RankedRegions, path: Path) -> None:
    grid, values = regions.layout.grid, _bands(regions)
    profile = {
        "driver": "GTiff", "width": grid.nx, "height": grid.ny, "count": len(BANDS),
        "dtype": "float32", "crs": grid.crs, "transform": Affine(*grid.transform),
        "nodata": np.nan,
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as target:
        for number, name in enumerate(BANDS, start=1):
            target.write(regions.raster(values[name]), number)
            target.set_band_description(number, regions.best_name if number == 1 else name)
        what = "feature distance" if regions.measure == DISTANCE else f"{regions.measure} of models"
        target.update_tags(
            TIFFTAG_IMAGEDESCRIPTION=(
                f"geoloc: best {what} of regions of {grid.step:g} m, ranked by "
                f"{regions.ranking.value}; small means plausible"
            )
        )


def _bands(regions: RankedRegions) -> dict[str, NDArray[Any]]:
    minima = regions.minima
    return {
        "distance": minima.best,
        "count": minima.count,
        "second": minima.second,
        "rank": regions.rank,
        "good": regions.good,
        "score": regions.score,
    }


def write_region_geojson(result: QueryResult, path: Path, _views: Views | None = None) -> None:
    """Write all regions as polygons in WGS84 (RFC 7946), the best first."""
    features = [
        {
            "type": "Feature",
            "id": properties["region"],
            "geometry": None if shape.is_empty else shapely.geometry.mapping(shape),
            "properties": properties,
        }
        for properties, shape in _records(regions_of(result))
    ]
    document = {"type": "FeatureCollection", "name": result.title, "features": features}
    text = json.dumps(document, allow_nan=False, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def write_region_package(result: QueryResult, path: Path, _views: Views | None = None) -> None:
    """Write a GeoPackage in WGS84 with the layers ``regions`` and ``best_points``."""
    import geopandas

    path.unlink(missing_ok=True)
    rows = list(_records(regions_of(result)))
    properties, shapes = [one for one, _ in rows], [shape for _, shape in rows]
    frame = geopandas.GeoDataFrame(properties, geometry=shapes, crs="EPSG:4326")
    known = frame[frame["rank"].notna()].copy()
    known["geometry"] = geopandas.points_from_xy(known["lon"], known["lat"])
    outlines = sum(len(shape.wkb) for shape in shapes)
    with gdal_writing(path, _EMPTY_PACKAGE + len(rows) * _PACKAGE_ROW + 2 * outlines):
        frame.to_file(path, layer="regions", driver="GPKG")
        known.to_file(path, layer="best_points", driver="GPKG")


def _records(regions: RankedRegions) -> Iterator[tuple[dict[str, Any], Geometry]]:
    """What is reported of each region, and its shape in degrees; those without a place last."""
    numbers = np.flatnonzero(regions.layout.is_region)
    shapes = dict(zip(numbers.tolist(), lonlat_outlines(regions.layout), strict=True))
    unknown = numbers[regions.rank[numbers] == 0]
    for region in (*regions.order.tolist(), *unknown.tolist()):
        if regions.rank[region] > 0 or not shapes[region].is_empty:  # not beyond the Earth's rim
            yield region_record(regions, region), shapes[region]


def region_record(regions: RankedRegions, region: int) -> dict[str, Any]:
    """`RankedRegions.record`, also of a region where nothing is known: numbers are null there."""
    if regions.rank[region] > 0:
        return regions.record(region)
    keys = ("rank", "good", regions.best_name, "second", "score", "count", "lon", "lat", "region")
    return {**dict.fromkeys(keys), "good": False, "count": 0, "region": region}


@lru_cache(maxsize=2)  # the answers of one call share their regions
def lonlat_outlines(layout: Regions) -> list[Geometry]:
    """The shapes of the regions in degrees, clipped, in order; split at 180 degrees."""
    shapes = layout.outline(np.flatnonzero(layout.is_region))
    dense = shapely.segmentize(shapes, layout.size / _EDGE_PARTS)
    to_degrees = Transformer.from_crs(layout.grid.crs, 4326, always_xy=True).transform

    def moved(xy: F64) -> F64:
        return np.round(np.stack(to_degrees(xy[:, 0], xy[:, 1]), axis=1), _DIGITS)

    return [_split(_on_earth(shape)) for shape in shapely.transform(dense, moved)]


def _on_earth(shape: Geometry) -> Geometry:
    """A shape without the corners that lie off the map of the Earth, as at its very rim."""
    if np.isfinite(shape.bounds).all():
        return shape
    corners = shapely.get_coordinates(shape)
    corners = corners[np.isfinite(corners).all(axis=1)]
    hull = shapely.MultiPoint(corners).convex_hull if len(corners) else None
    return hull if hull is not None and hull.geom_type == "Polygon" else shapely.Polygon()


def _split(shape: Geometry) -> Geometry:
    """A shape in degrees as RFC 7946 wants it: in two parts where it crosses 180 degrees."""
    west, _, east, _ = shape.bounds  # NaN of an empty one
    if shape.is_empty or east - west <= 180:
        return shape

    def turned(xy: F64) -> F64:
        return np.stack([np.where(xy[:, 0] < 0, xy[:, 0] + 360, xy[:, 0]), xy[:, 1]], axis=1)

    whole = shapely.make_valid(shapely.transform(shape, turned))  # crossed by itself at a pole
    near = polygonal(shapely.intersection(whole, shapely.box(0, -90, 180, 90)))
    far = polygonal(shapely.intersection(whole, shapely.box(180, -90, 360, 90)))
    parts = (near, shapely.transform(far, lambda xy: xy - [360, 0]))
    return shapely.MultiPolygon([p for s in parts for p in shapely.get_parts(s)])
