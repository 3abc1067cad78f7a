"""Where photos were taken, when that is known: marked in their answers, and never used for them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from pyproj import Transformer

from ..evaluation import Placement, place
from ..grid import Grid
from ..report import QueryResult

Truths = tuple[float, float] | Mapping[str, tuple[float, float]] | None
"""Latitude and longitude (WGS84) where all photos were taken, or by file name where each was."""


def with_truth(result: QueryResult, truth: Truths) -> QueryResult:
    """The answer with the true place of its photo, and the percentile of the cell there."""
    known = truth.get(_file(result)) if isinstance(truth, Mapping) else truth
    if known is None:
        return result
    placed = placement(result, true_point(result.grid, *known))
    return replace(result, truth=known, truth_percentile=placed.percentile if placed else None)


def true_point(grid: Grid, lat: float, lon: float) -> tuple[float, float] | None:
    """A place ``(x, y)`` in the grid's CRS, or None where that CRS does not reach."""
    x, y = Transformer.from_crs(4326, grid.crs, always_xy=True).transform(lon, lat)
    return (float(x), float(y)) if math.isfinite(x) and math.isfinite(y) else None


def placement(result: QueryResult, point: tuple[float, float] | None) -> Placement | None:
    """How the cell at a place ranks; None where there is no such cell, or it is not known."""
    cell = None if point is None else result.grid.index(*point)
    return None if cell is None else place(result.title, result.heatmap, cell)


def _file(result: QueryResult) -> str:
    return result.photo.path.name if result.photo else ""
