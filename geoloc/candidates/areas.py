"""Where to search: candidates grouped into connected regions of the best cells.

Twenty candidates are often three places. Best cells are those at most as far away as a level;
they belong together where they touch, also at a corner, and two regions with candidates are one
where cells of both see the same ground. Only windows around the candidates are looked at, so
the heatmap may be that of a country, on disk.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from shapely.geometry import MultiPolygon, box, shape

from ..arrays import I64, Bools
from ..domain import Grid
from ..search import RADIUS, Heatmap
from .candidate import Candidate

_WINDOW = 256  # cells a side, doubled while a region goes on beyond it
_LARGEST = 4096
_TOUCH = 1e-6  # of a step: exactly `gap` apart is apart


@dataclass(frozen=True)
class SearchArea:
    """A region of the best cells with at least one candidate.

    rank: 1 is the area with the best candidate. candidates: ranks of its candidates, the best
    first. cells, km2: its size. lon, lat: its best candidate, WGS84 degrees. outline: along the
    edges of its cells, in the grid's CRS. whole: False where it goes on further than was looked,
    so that its size is a lower bound.
    """

    rank: int
    candidates: tuple[int, ...]
    cells: int
    km2: float
    lon: float
    lat: float
    outline: MultiPolygon
    whole: bool = True

    def to_json(self) -> dict[str, Any]:
        """For machines: everything but the outline."""
        return {
            "rank": self.rank,
            "km2": self.km2,
            "cells": self.cells,
            "candidates": list(self.candidates),
            "lat": round(self.lat, 7),
            "lon": round(self.lon, 7),
            "whole": self.whole,
        }


@dataclass(eq=False)
class _Region:
    """Connected best cells, and the candidates in them, the best first."""

    outline: MultiPolygon
    whole: bool
    candidates: list[Candidate]


def search_areas(
    heatmap: Heatmap,
    grid: Grid,
    candidates: Sequence[Candidate],
    level: float,
    gap: float = RADIUS,
) -> tuple[SearchArea, ...]:
    """The areas to search, that with the best candidate first; every candidate is in one.

    heatmap: distances ``(y, x)``, NaN where nothing is known. level: the
    largest distance of a best cell. gap: regions are one where centres of their cells lie nearer
    than so many metres. A candidate that is no best cell is an area of its own cell, unless it
    lies so near to another.
    """
    ordered = sorted(candidates, key=lambda c: c.rank)
    rows, cols = (
        np.array([getattr(c, axis) for c in ordered], np.int64) for axis in ("row", "col")
    )
    regions: list[_Region] = []
    owner = np.full(len(ordered), -1)
    for n, candidate in enumerate(ordered):
        if owner[n] >= 0:
            regions[owner[n]].candidates.append(candidate)
        else:
            region, cells = _grow(heatmap, grid, candidate, level)
            if cells is not None:
                owner[(owner < 0) & cells.hold(rows, cols)] = len(regions)
            regions.append(region)
    joined = sorted(_join(regions, gap - grid.step), key=lambda r: r.candidates[0].rank)
    return tuple(_area(rank, region, grid) for rank, region in enumerate(joined, start=1))


@dataclass(frozen=True, eq=False)
class _Cells:
    """Cells of a grid: those of a window ``(y, x)`` that are ``inside``, from ``row``, ``col``."""

    inside: Bools
    row: int
    col: int

    def hold(self, rows: I64, cols: I64) -> Bools:
        """Which of some cells are among them."""
        ny, nx = self.inside.shape
        y, x = rows - self.row, cols - self.col
        held: Bools = (y >= 0) & (y < ny) & (x >= 0) & (x < nx)
        held[held] = self.inside[y[held], x[held]]
        return held


def _grow(
    heatmap: Heatmap, grid: Grid, candidate: Candidate, level: float
) -> tuple[_Region, _Cells | None]:
    """The region around a candidate, from a window that grows until the region ends inside it.

    And its cells; None for a candidate that is no best cell.
    """
    if not heatmap[candidate.row, candidate.col] <= level:
        half = grid.step / 2
        x, y = candidate.x, candidate.y
        alone = MultiPolygon([box(x - half, y - half, x + half, y + half)])
        return _Region(alone, True, [candidate]), None
    side = _WINDOW
    while True:
        y0, y1 = _span(candidate.row, side, grid.ny)
        x0, x1 = _span(candidate.col, side, grid.nx)
        best = np.asarray(heatmap[y0:y1, x0:x1] <= level)
        region = _connected(best, candidate.row - y0, candidate.col - x0)
        whole = not _goes_on(region, y0 > 0, y1 < grid.ny, x0 > 0, x1 < grid.nx)
        if whole or side >= _LARGEST:
            window = grid.window(slice(y0, y1), slice(x0, x1))
            outlined = _Region(_outline(region, window), whole, [candidate])
            return outlined, _Cells(region, y0, x0)
        side *= 2


def _span(centre: int, side: int, limit: int) -> tuple[int, int]:
    return max(0, centre - side // 2), min(limit, centre + side // 2 + 1)


def _connected(best: Bools, row: int, col: int) -> Bools:
    """The best cells ``(y, x)`` that hang together with this one, corners included."""
    from scipy.ndimage import label

    labels, _ = label(best, np.ones((3, 3), np.int8))
    return np.asarray(labels == labels[row, col])


def _goes_on(region: Bools, above: bool, below: bool, before: bool, after: bool) -> bool:
    """Whether a region touches a side of its window beyond which the grid goes on."""
    return bool(
        (above and region[0].any())
        or (below and region[-1].any())
        or (before and region[:, 0].any())
        or (after and region[:, -1].any())
    )


def _outline(region: Bools, window: Grid) -> MultiPolygon:
    """Valid polygons around cells: those that touch at a corner only are two."""
    from affine import Affine
    from rasterio.features import shapes

    outlines = shapes(
        region.astype(np.uint8), mask=region, connectivity=4, transform=Affine(*window.transform)
    )
    return MultiPolygon([shape(geometry) for geometry, _ in outlines])


def _join(regions: Sequence[_Region], reach: float) -> list[_Region]:
    """Regions whose edges lie nearer than ``reach`` metres become one, and so on."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if reach <= 0 or len(regions) < 2:
        return list(regions)
    outlines = [region.outline for region in regions]
    near = shapely.STRtree(outlines).query(
        outlines, predicate="dwithin", distance=reach * (1 - _TOUCH)
    )
    graph = coo_array((np.ones(near.shape[1], np.bool_), near), (len(regions), len(regions)))
    count, which = connected_components(graph, directed=False)
    groups: list[list[_Region]] = [[] for _ in range(count)]
    for region, group in zip(regions, which.tolist(), strict=True):
        groups[group].append(region)
    return [_union(group) for group in groups]


def _union(regions: Sequence[_Region]) -> _Region:
    if len(regions) == 1:
        return regions[0]
    union = shapely.union_all([region.outline for region in regions])
    return _Region(
        MultiPolygon(shapely.get_parts(union).tolist()),
        all(region.whole for region in regions),
        sorted((c for region in regions for c in region.candidates), key=lambda c: c.rank),
    )


def _area(rank: int, region: _Region, grid: Grid) -> SearchArea:
    best = region.candidates[0]
    return SearchArea(
        rank=rank,
        candidates=tuple(c.rank for c in region.candidates),
        cells=round(region.outline.area / grid.step**2),
        km2=region.outline.area / 1e6,
        lon=best.lon,
        lat=best.lat,
        outline=region.outline,
        whole=region.whole,
    )
