"""Where photos were taken, when that is known: marked in their answers, and never used for them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from pyproj import Transformer

from ..domain import Domain, Grid
from ..evaluation import Placement, place
from ..report import QueryResult
from .coordinates import read_places
from .options import LatLon, Truths


def known_truth(truth: Truths, grid: Grid) -> LatLon | Mapping[str, LatLon] | None:
    """Text read as a place: that in the grid where two are meant. Raises UsageError."""
    if not isinstance(truth, str):
        return truth
    readings = read_places(truth)
    inside = (place for place in readings if place.cell(grid) is not None)
    place = next(inside, readings[0])
    return place.lat, place.lon


def with_truth(result: QueryResult, truth: LatLon | Mapping[str, LatLon] | None) -> QueryResult:
    """The answer with the true place of its photo."""
    known = truth.get(_file(result)) if isinstance(truth, Mapping) else truth
    return result if known is None else replace(result, truth=known)


def true_point(grid: Domain, lat: float, lon: float) -> tuple[float, float] | None:
    """A place ``(x, y)`` in the grid's CRS, or None where that CRS does not reach."""
    x, y = Transformer.from_crs(4326, grid.crs, always_xy=True).transform(lon, lat)
    return (float(x), float(y)) if math.isfinite(x) and math.isfinite(y) else None


def placement(result: QueryResult, point: tuple[float, float] | None) -> Placement | None:
    """How the cell at a place ranks; None where there is no such cell, or it is not known."""
    cell = None if point is None else result.grid.index(*point)
    return None if cell is None else place(result.title, result.heatmap, cell)


def _file(result: QueryResult) -> str:
    return result.photo.path.name if result.photo else ""
