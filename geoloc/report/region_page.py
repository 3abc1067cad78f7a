"""The page of regions: a national map with the photo beside it, in one file without a network.

``report.html`` of an answer of points, ``regions.html`` of one of cells.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from ..area import MapLayers
from ..arrays import F64
from ..candidates.regions import RankedRegions
from .formatting import (
    degrees,
    differences,
    measured,
    metres,
    percent,
    round_length,
    scene_list,
    truth_text,
    unsearched,
)  # fmt: skip
from .html import assets, environment, photo_card, script_data
from .links import web_maps
from .region_colours import region_colours, region_palette
from .region_files import regions_of
from .region_layers import DrawnLayers, drawn_layers
from .region_map import NO_LAYERS, MapSheet, badge_box, best_places, crs_name, numbered
from .region_names import placed_names

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shapely import Geometry

    from ..candidates import Candidate
    from .result import QueryResult
    from .views import Views

_CARDS = 24  # good regions with a card of their own
_STOPS = 12  # of the colour bar
_NEAR = 60_000.0  # m: named places farther off say nothing of a point
_POINTS = ("N", "NE", "E", "SE", "S", "SW", "W", "NW")
_VISIBLE = 0.0005  # share below which a scene's bar would be empty


def write_region_page(result: QueryResult, path: Path, views: Views) -> None:
    """Write the page; everything in it is escaped and inlined."""
    regions, layers = regions_of(result), result.layers or NO_LAYERS
    drawn = drawn_layers(regions.layout, layers)
    sheet = MapSheet.of(drawn)
    text = (
        environment("geoloc.report")
        .get_template("regions.html")
        .render(
            result=result,
            regions=regions,
            views=views,
            photos=[photo_card(photo, len(result.photos)) for photo in result.photos],
            scenes=[scene for scene in result.scenes() if scene[1] >= _VISIBLE],
            match=result.match_words,
            truth=truth_text(result),
            not_searched=unsearched(result),
            known=len(regions.order),
            good=len(regions.best_good),
            size=round_length(regions.layout.size),
            projection=crs_name(regions.layout),
            points=int(regions.minima.count.sum()),
            cards=list(_cards(result, regions, layers, views)),
            map=_map_parts(result, regions, drawn, sheet),
            ramp=_ramp(),
            low=_first_score(regions.score[regions.order[:1]]),
            high=_first_score(regions.score[regions.order[-1:]]),
            data=script_data(_data(regions)),
            **assets("geoloc.report", "report.css regions.css", "regions.js"),
        )
    )
    path.write_text(text, encoding="utf-8")


def _map_parts(
    result: QueryResult, regions: RankedRegions, drawn: DrawnLayers, sheet: MapSheet
) -> dict[str, Any]:
    """Paths and places of the drawing, in px of its own size."""

    def path(shape: Geometry | None) -> str:
        return "" if shape is None else _path(shape, sheet)

    good = shapely.union_all([drawn.outlines[int(r)] for r in regions.best_good])
    colours = region_colours(regions.score)
    frame = (0.0, 0.0, float(sheet.width), float(sheet.height))
    ranks = list(numbered(regions, drawn, sheet, _CARDS))
    badges = [badge_box(*at) for _, at in ranks]
    truth = None if result.true_place is None else _pixel(result.true_place[0], sheet)
    return {
        "width": sheet.width,
        "height": sheet.height,
        "border": path(drawn.border),
        "provinces": "".join(map(path, drawn.provinces)),
        "water": "".join(path(shape) for shape in drawn.water if shape.area),
        "rivers": "".join(path(shape) for shape in drawn.water if not shape.area),
        "forest": "".join(map(path, drawn.forest)),
        "regions": [
            {"id": region, "path": path(shape), "fill": colours[region]}
            for region, shape in drawn.outlines.items()
        ],
        "good": path(good),
        "names": list(placed_names(drawn, sheet.on_map(drawn.xy), frame, badges)),
        "best": [{"rank": rank, "at": (round(x, 1), round(y, 1))} for rank, (x, y) in ranks],
        "spots": best_places(regions, sheet, _CARDS).round(1).tolist(),
        "truth": truth,
        "scale": _scale_bar(sheet),
    }


def _pixel(xy: tuple[float, float], sheet: MapSheet) -> tuple[float, float]:
    x, y = sheet.on_map(np.array([xy]))[0].round(1).tolist()
    return x, y


def _path(shape: Geometry, sheet: MapSheet) -> str:
    """The lines and rings of a shape as the data of an SVG path."""
    parts = shapely.get_parts(shape)
    return "".join(_line(line, sheet) for part in parts for line in _lines(part))


def _lines(part: Geometry) -> Iterator[Geometry]:
    if part.geom_type == "Polygon":
        yield part.exterior
        yield from part.interiors
    elif part.geom_type == "LineString":
        yield part
    elif part.geom_type != "Point":
        for inner in shapely.get_parts(part):
            yield from _lines(inner)


def _line(line: Geometry, sheet: MapSheet) -> str:
    points = sheet.on_map(shapely.get_coordinates(line)).round(1)
    return "M" + "L".join(f"{x:g} {y:g}" for x, y in points.tolist())


def _scale_bar(sheet: MapSheet) -> dict[str, Any]:
    length = sheet.scale_length
    return {"px": round(length / sheet.scale, 1), "text": round_length(length)}


def _ramp() -> list[str]:
    picked = region_palette()[np.linspace(0, 255, _STOPS).astype(int)]
    return [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in picked.tolist()]


def _first_score(score: F64) -> str:
    return f"{score[0]:.5g}" if len(score) else ""


def _cards(
    result: QueryResult, regions: RankedRegions, layers: MapLayers, views: Views
) -> Iterator[dict[str, Any]]:
    """The good regions, the best first, as the page shows them."""
    of_points = {c.rank: c for c in result.candidates} if result.of_points else {}
    for region in regions.best_good[:_CARDS].tolist():
        record = regions.record(region)
        yield {
            **record,
            "coordinates": degrees(record["lon"], record["lat"]),
            "near": _near(record["lon"], record["lat"], layers),
            "chip": views.regions.get(record["rank"]),
            "links": web_maps(record["lon"], record["lat"]),
            **_explained(result, of_points.get(record["rank"])),
        }


def _explained(result: QueryResult, candidate: Candidate | None) -> dict[str, Any]:
    """What is known of a region's best point, where it is a candidate."""
    if candidate is None:
        return {"above": "", "agree": (), "differ": (), "percent": "", "value": ""}
    return {
        "above": scene_list(result.places.get(candidate.rank, ())),
        "agree": candidate.shared[:3],
        "differ": differences(candidate),
        "percent": percent(candidate.percentile),
        "value": measured(result, candidate),
    }


def _near(lon: float, lat: float, layers: MapLayers) -> str:
    """The named place next to a point: 12 km NE of Townville; empty where none is near."""
    places = layers.places
    if not len(places):
        return ""
    east = (lon - places.lonlat[:, 0] + 180) % 360 - 180
    north = lat - places.lonlat[:, 1]
    x, y = east * 111_320 * np.cos(np.radians(lat)), north * 110_574
    away = np.hypot(x, y)
    next_one = int(np.argmin(away))
    if away[next_one] > _NEAR:
        return ""
    if away[next_one] < 1000:
        return f"at {places.names[next_one]}"
    turn = np.degrees(np.arctan2(x[next_one], y[next_one]))
    return (
        f"{metres(float(away[next_one]))} {_POINTS[round(turn / 45) % 8]} of "
        f"{places.names[next_one]}"
    )


def _data(regions: RankedRegions) -> dict[str, Any]:
    """What the script shows of a region under the pointer, by its number."""
    keys = ("rank", "good", regions.best_name, "second", "score", "count", "lon", "lat")
    records = (regions.record(int(region)) for region in regions.order)
    return {
        "ranking": regions.ranking.value,
        "score": regions.words,
        "best": regions.best_name,
        "measure": regions.measure,
        "keys": keys,
        "regions": {str(one["region"]): [_short(one[key]) for key in keys] for one in records},
    }


def _short(value: Any) -> Any:
    return float(f"{value:.7g}") if isinstance(value, float) else value
