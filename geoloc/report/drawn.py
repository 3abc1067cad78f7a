"""What the page's viewer draws from: one mapping of plain values, bounded in size."""

from __future__ import annotations

import base64
import gzip
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from pyproj import Transformer

from ..arrays import U8
from ..domain import Grid
from .heat import ColorScale, hot_palette, palette, shrink, unsearched
from .links import WEB_MAPS
from .shares import SHARES

if TYPE_CHECKING:
    from ..candidates.areas import SearchArea
    from .calibrated import Calibrated
    from .result import QueryResult
    from .views import Views

_HEAT_PIXELS = 1200
_KNOTS = 25  # of the lattice that the page interpolates longitude and latitude from
_RING_POINTS = 4000  # of an outline


def drawn(result: QueryResult, views: Views, scale: ColorScale) -> dict[str, Any]:
    """Values for JSON: the heatmap in levels, where pictures and candidates lie, degrees, links."""
    truth = result.true_place
    return {
        "measure": result.measure,
        "bounds": result.grid.bounds,
        "heat": _heat(result, scale),
        "models": _models(result),
        "base": [{"bounds": picture.bounds} for picture in views.base],
        "chips": {rank: chip.bounds for rank, chip in views.chips.items()},
        "candidates": [
            {"rank": int(c.rank), "x": c.x, "y": c.y, "area": result.area_of(c.rank)}
            for c in result.candidates
        ],
        "areas": [
            {"bounds": area.outline.bounds, "outline": _rings(area, result.grid.step)}
            for area in result.areas
        ],
        "truth": truth and truth[0],
        "calibrated": _likely(result.calibrated),
        "degrees": _degree_lattice(result.grid),
        "links": WEB_MAPS,
    }


def _likely(stated: Calibrated | None) -> dict[str, float] | None:
    """Which share of the heatmap is outlined for its probability: none of points."""
    if stated is None or stated.km2 is None:
        return None
    return {"percent": stated.percent, "share": stated.share}


def _heat(result: QueryResult, scale: ColorScale) -> dict[str, Any]:
    small, grid = shrink(result.heatmap, result.grid, _HEAT_PIXELS)
    blank = unsearched(result, small, grid)
    least = 1 / max(result.survey.sampled, 1)  # a share is one cell at least
    return {
        "bounds": grid.bounds,
        "width": grid.nx,
        "height": grid.ny,
        "levels": _packed(scale.levels(small)),
        "lacking": None if blank is None else _packed(blank.astype(np.uint8)),
        "edges": [float(f"{v:.5g}") for v in scale.edges],
        "shares": [float(f"{max(v, least):.4g}") for v in SHARES],
        "palettes": {"hot": hot_palette().tolist(), "study": palette().tolist()},
    }


def _models(result: QueryResult) -> list[dict[str, Any]]:
    """The heatmap of each of several models alone, in its own levels, on the same cells."""
    parts = () if result.tandem is None else result.tandem.models
    found = []
    for part in parts:
        small, _ = shrink(part.alone.heatmap, part.alone.grid, _HEAT_PIXELS)
        scale = ColorScale(part.alone.survey.quantiles(SHARES))
        found.append(
            {
                "name": part.name,
                "measure": part.alone.measure,
                "levels": _packed(scale.levels(small)),
                "edges": [float(f"{v:.5g}") for v in scale.edges],
            }
        )
    return found


def _packed(values: U8) -> str:
    return base64.b64encode(gzip.compress(values.tobytes(), mtime=0)).decode()


def _rings(area: SearchArea, step: float) -> list[list[list[float]]]:
    """The lines of an outline; coarser where it is long, so that the page stays small."""
    outline = area.outline
    while shapely.get_num_coordinates(outline) > _RING_POINTS:
        outline, step = outline.simplify(step, preserve_topology=False), 2 * step
    rings = [r for p in shapely.get_parts(outline) for r in (p.exterior, *p.interiors)]
    return [np.round(shapely.get_coordinates(ring), 1).tolist() for ring in rings]


def _degree_lattice(grid: Grid) -> dict[str, Any]:
    """Unit vectors ``x, y, z`` of longitude and latitude at knots over the bounds, from the north.

    Vectors know neither a date line nor poles. The cubic polynomials that the page lays through
    them are right to a centimetre over 1,000 km.
    """
    left, bottom, right, top = grid.bounds
    x, y = np.meshgrid(np.linspace(left, right, _KNOTS), np.linspace(top, bottom, _KNOTS))
    to_degrees = Transformer.from_crs(grid.crs, 4326, always_xy=True)
    lon, lat = np.radians(to_degrees.transform(x.ravel(), y.ravel()))
    vectors = (np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat))
    return {"knots": _KNOTS, "vectors": [np.round(values, 12).tolist() for values in vectors]}
