"""What a map of a country shows: border, provinces, places, water, forest; as files."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import rasterio.features
import shapely
from numpy.typing import NDArray
from pyproj import Transformer
from scipy import ndimage

from ...files.whole import write_whole
from ..layout import CLASS, SPACING
from ..lines import RIVER, stretches_near, trace
from . import cells as C  # noqa: N812
from . import zones as Z  # noqa: N812
from .plan import CENTER, Place, Plan, inside_ring

F64 = NDArray[np.float64]
Feature = tuple[dict[str, object], shapely.Geometry]

_DIGITS = 6  # of degrees: a decimetre
_KM2_PER_PROVINCE = 2600.0
_RIVER_STEP = 200.0
_LEAST_WOOD = 6  # plots of the smallest forest drawn


def border_of(plan: Plan) -> shapely.Polygon:
    """The country's polygon in its CRS."""
    return shapely.Polygon(plan.ring)


def provinces_of(plan: Plan) -> list[Feature]:
    """Provinces around the largest places, with ragged lines between them, in the plan's CRS."""
    border = border_of(plan)
    wanted = int(np.clip(border.area / 1e6 / _KM2_PER_PROVINCE, 3, 24))
    seats = _seats(plan, wanted)
    middles = shapely.MultiPoint([(seat.x, seat.y) for seat in seats])
    cells = shapely.voronoi_polygons(middles, extend_to=border.buffer(30_000.0))
    provinces: list[Feature] = []
    for cell in cells.geoms:
        seat = next(s for s in seats if cell.covers(shapely.Point(s.x, s.y)))
        outline = shapely.transform(shapely.segmentize(cell, 1500.0), partial(_ragged, km=plan.km))
        part = shapely.intersection(shapely.make_valid(outline), border)
        if not part.is_empty:
            provinces.append(({"name": f"{seat.name} province"}, _polygons(part)))
    return provinces


def _seats(plan: Plan, wanted: int) -> list[Place]:
    """The largest places that are not too near to one another."""
    apart = 0.55 * math.sqrt(border_of(plan).area / wanted)
    seats: list[Place] = []
    for place in plan.places:
        if all(math.hypot(place.x - s.x, place.y - s.y) > apart for s in seats):
            seats.append(place)
        if len(seats) == wanted:
            break
    return seats


def _ragged(points: F64, km: float) -> F64:
    """Points moved some kilometre aside (in a country of 200), those at one place equally."""
    x, y = (points - np.array(CENTER)).T / 1000.0
    dx = 0.9 * np.sin(0.31 * y + 1.0) + 0.5 * np.sin(0.83 * y + 0.4 * x)
    dy = 0.9 * np.sin(0.29 * x + 2.0) + 0.5 * np.sin(0.77 * x - 0.35 * y)
    return points + 5.0 * km * np.column_stack([dx, dy])


def _polygons(geometry: shapely.Geometry) -> shapely.Geometry:
    """The polygons of whatever an intersection left."""
    parts = [g for g in shapely.get_parts(geometry) if g.geom_type == "Polygon"]
    return parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts)


def waters_of(plan: Plan) -> Iterator[Feature]:
    """Lakes as polygons, rivers as lines, in the plan's CRS."""
    angles = np.linspace(0, 2 * math.pi, 72, endpoint=False)
    for lake in plan.lakes:
        reach = np.array([Z.shore(lake, a) for a in angles])
        ring = np.column_stack([lake[0] + reach * np.cos(angles), lake[1] + reach * np.sin(angles)])
        yield {"natural": "water", "water": "lake"}, shapely.Polygon(ring)
    line, border = plan.lines[RIVER], border_of(plan)
    repetitions, low, high = stretches_near(line, border.bounds, 0.0)
    for index in repetitions:
        points = trace(line, np.arange(low, high, _RIVER_STEP), float(index))
        course = (
            shapely.intersection(shapely.LineString(points), border) if len(points) > 1 else None
        )
        for part in shapely.get_parts(course) if course is not None else ():
            if part.geom_type == "LineString" and part.length > 0:
                yield {"waterway": "river"}, part


def forests_of(plan: Plan) -> Iterator[Feature]:
    """Large forests as polygons, from the plots that are wooded."""
    i0, j0, ni, nj = plan.keys()
    planned = plan.block(i0, j0, ni, nj)
    wooded = planned[..., C.USE] == CLASS["forest-broadleaf"]
    wooded &= inside_ring(plan.ring, planned[..., C.SITE_X], planned[..., C.SITE_Y])
    dense = ndimage.uniform_filter(wooded.astype(np.float32), 5) > 0.55
    x0, y0 = planned[0, 0, C.SITE_X : C.SITE_Y + 1]
    base = rasterio.transform.Affine(SPACING, 0, x0 - SPACING / 2, 0, SPACING, y0 - SPACING / 2)
    for shape, _ in rasterio.features.shapes(dense.astype(np.uint8), dense, transform=base):
        polygon = shapely.geometry.shape(shape)
        if polygon.area >= _LEAST_WOOD * SPACING**2:
            rounded = polygon.buffer(-0.3 * SPACING).buffer(0.6 * SPACING).simplify(60.0)
            yield {"natural": "wood"}, rounded


def write_maps(plan: Plan, folder: Path) -> None:
    """Write border, provinces, places, water and forest, in degrees."""
    border: list[Feature] = [({"name": f"Sandbox {plan.seed}"}, border_of(plan))]
    for name, features in (
        ("border", border),
        ("provinces", provinces_of(plan)),
        ("water", waters_of(plan)),
        ("forest", forests_of(plan)),
    ):
        _write_geojson(features, plan.crs, folder / f"{name}.geojson")
    _write_places(plan, folder / "places.csv")


def _write_geojson(features: Iterable[Feature], crs: str, path: Path) -> None:
    project = Transformer.from_crs(crs, "EPSG:4326", always_xy=True)

    def degrees(points: F64) -> F64:
        return np.round(np.column_stack(project.transform(*points.T)), _DIGITS)

    written: list[dict[str, Any]] = []
    for properties, geometry in features:
        if not geometry.is_empty:
            moved = shapely.transform(geometry, degrees)
            shape = json.loads(shapely.to_geojson(moved))
            written.append({"type": "Feature", "properties": properties, "geometry": shape})
    write_whole(path, json.dumps({"type": "FeatureCollection", "features": written}))


def _write_places(plan: Plan, path: Path) -> None:
    project = Transformer.from_crs(plan.crs, "EPSG:4326", always_xy=True)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("name", "kind", "population", "lat", "lon"))
    for place in plan.places:
        lon, lat = project.transform(place.x, place.y)
        writer.writerow((place.name, place.kind, place.population, f"{lat:.6f}", f"{lon:.6f}"))
    write_whole(path, text.getvalue())
