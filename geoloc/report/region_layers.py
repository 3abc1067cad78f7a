"""What maps of regions show beside them, projected and simplified for drawing only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import shapely
from pyproj import Transformer

from ..area import MapLayers
from ..area.map import LONLAT
from ..arrays import F64
from ..domain import Regions
from ..search import project

if TYPE_CHECKING:
    from shapely import Geometry

_DETAIL = 2500  # parts of the map's longer side that a drawn line keeps
_MARGIN = 0.02  # of the map's longer side around the regions
_SMALLEST = 4.0  # squares of the detail: lakes and woods below that are not seen
_NAMED = 400  # places: more never get a name on a map

Box = tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)
class DrawnLayers:
    """Shapes in the CRS of the regions, in metres, within ``box`` (left, bottom, right, top).

    outlines: of the regions ``(region,)`` that are there, by their number. names, people, xy: the
    places, the largest first.
    """

    box: Box
    outlines: dict[int, Geometry]
    border: Geometry | None
    provinces: tuple[Geometry, ...]
    water: tuple[Geometry, ...]
    forest: tuple[Geometry, ...]
    names: tuple[str, ...]
    people: F64
    xy: F64

    @property
    def size(self) -> tuple[float, float]:
        """Width and height, m."""
        left, bottom, right, top = self.box
        return right - left, top - bottom


@lru_cache(maxsize=2)  # the answers of one call share their regions and layers
def drawn_layers(layout: Regions, layers: MapLayers) -> DrawnLayers:
    """All layers of a map of these regions."""
    numbers = np.flatnonzero(layout.is_region)
    shapes = layout.outline(numbers)
    box = _padded(shapely.total_bounds(shapes).tolist())
    detail = max(box[2] - box[0], box[3] - box[1]) / _DETAIL
    border = layout.polygon
    if border is None and layers.border is not None:
        border = project(layers.border, LONLAT, layout.grid.crs)
    names, people, xy = _places(layers, layout, box)
    return DrawnLayers(
        box,
        dict(zip(numbers.tolist(), shapes, strict=True)),
        None if border is None else shapely.simplify(border, detail),
        _together(_moved([shape for _, shape in layers.provinces], layout), detail),
        _cut(_moved(layers.water, layout), shapely.box(*box), detail),
        _cut(_moved(layers.forest, layout), border or shapely.box(*box), detail),
        names,
        people,
        xy,
    )


def _padded(bounds: list[float]) -> Box:
    left, bottom, right, top = bounds
    pad = _MARGIN * max(right - left, top - bottom)
    return left - pad, bottom - pad, right + pad, top + pad


def _moved(shapes: Sequence[Geometry], layout: Regions) -> list[Geometry]:
    """Shapes of degrees in the CRS of the regions, without those on the far side of the Earth."""
    to_grid = Transformer.from_crs(LONLAT, layout.grid.crs, always_xy=True).transform
    moved = (shapely.transform(shape, to_grid, interleaved=False) for shape in shapes)
    return [shapely.make_valid(shape) for shape in moved if np.isfinite(shape.bounds).all()]


def _cut(shapes: Sequence[Geometry], frame: Geometry, detail: float) -> tuple[Geometry, ...]:
    """Shapes as they are drawn: within a frame, simplified, without those too small to be seen."""
    cut = shapely.intersection(shapely.simplify(list(shapes), detail), frame)
    return tuple(
        shape
        for shape in cut
        if not shape.is_empty
        and (shape.area >= _SMALLEST * detail**2 or shape.length >= 4 * _SMALLEST * detail)
    )


def _together(shapes: Sequence[Geometry], detail: float) -> tuple[Geometry, ...]:
    """Neighbours simplified together, so that they keep one line between them."""
    if not shapes or any(shapely.get_dimensions(shape) < 2 for shape in shapes):
        return tuple(shapely.simplify(list(shapes), detail))
    return tuple(shapely.coverage_simplify(list(shapes), detail))


def _places(layers: MapLayers, layout: Regions, box: Box) -> tuple[tuple[str, ...], F64, F64]:
    """Names, people and places ``(n, 2)`` of the largest places on the map."""
    places = layers.places
    if not len(places):
        return (), np.empty(0), np.empty((0, 2))
    to_grid = Transformer.from_crs(LONLAT, layout.grid.crs, always_xy=True)
    x, y = to_grid.transform(*places.lonlat.T)
    left, bottom, right, top = box
    with np.errstate(invalid="ignore"):
        inside = (x > left) & (x < right) & (y > bottom) & (y < top)
    shown = np.flatnonzero(inside & (places.population > 0))
    order = shown[np.argsort(-places.population[shown], kind="stable")][:_NAMED]
    names = tuple(places.names[i] for i in order)
    return names, places.population[order], np.stack([x[order], y[order]], axis=1)
