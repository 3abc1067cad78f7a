"""``report.html``: the answer as one page that needs no network."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import math
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray
from pyproj import Transformer

from ..candidates import percentile_of
from ..grid import Grid
from ..scenes import display_name
from .heat import STOPS, Levels, hot_palette, levels, palette, shrink
from .links import WEB_MAPS, web_maps
from .views import Picture, Views, look, photo_picture, png_uri
from .words import area_size, areas_text, degrees, differences, percent, scene_list

if TYPE_CHECKING:
    from ..candidates import Candidate
    from ..imagery.source import Source
    from ..photos import Photo
    from ..search_areas import SearchArea
    from .result import QueryResult

_HEAT_PIXELS = 1200
_STATIC_PIXELS = 700  # the heatmap for readers without scripts
_VISIBLE = 0.0005  # share below which a scene's bar would be empty
_KNOTS = 25  # of the lattice that the page interpolates longitude and latitude from
_RING_POINTS = 4000  # of an outline
_SCRIPTS = ("coordinates.js", "map.js", "heat.js", "tools.js", "viewer.js")
_POLICY = (
    "default-src 'none'; img-src {pictures}; style-src 'unsafe-inline'; "
    "script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
)


def write_page(result: QueryResult, path: Path, source: Source | None = None) -> Path:
    """Write the page; everything in it is escaped, inlined and bounded in size."""
    views = look(result, source)
    scale = levels(result)
    cards = {c.rank: _card(c, views.chips.get(c.rank), result) for c in result.candidates}
    text = (
        environment("geoloc.report")
        .get_template("report.html")
        .render(
            result=result,
            views=views,
            photos=[_photo(photo, len(result.photos)) for photo in result.photos],
            candidates=list(cards.values()),
            areas=[_area_card(area, cards) for area in result.areas],
            search=areas_text(result.areas),
            truth=_truth(result),
            stops=STOPS,
            reasons=_reasons(result),
            scenes=[scene for scene in result.scenes() if scene[1] >= _VISIBLE],
            static=_static_heat(result, scale),
            data=script_data(_data(result, views, scale)),
            dates=_dates(result, views),
            **assets("geoloc.report", "report.css", *_SCRIPTS),
        )
    )
    path.write_text(text, encoding="utf-8")
    return path


@cache  # templates are compiled once, not for each answer
def environment(package: str) -> Environment:
    """Templates of a package: everything is escaped, an unknown name is an error."""
    found = Environment(
        loader=PackageLoader(package),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters.update(scene=display_name, percent=percent)
    return found


def assets(package: str, style: str, *scripts: str, pictures: str = "data:") -> dict[str, str]:
    """Style on the theme of all pages, script, and the policy that lets this very script run.

    ``scripts``: files that run one after the other. ``pictures``: where pictures
    may come from, in the words of the policy.
    """
    folder = files(package) / "templates"
    script = "".join((folder / name).read_text(encoding="utf-8") for name in scripts)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    theme = files(__package__) / "templates" / "theme.css"
    return {
        "style": Markup(
            "".join(part.read_text(encoding="utf-8") for part in (theme, folder / style))
        ),
        "script": Markup(script),
        "policy": _POLICY.format(digest=digest, pictures=pictures),
    }


def _photo(photo: Photo, count: int) -> dict[str, Any]:
    return {
        "file": photo.file,
        "sha256": photo.sha256,
        "picture": photo_picture(photo, count),
        "size": f"{photo.size[0]} × {photo.size[1]}",
        "exif": _claims(photo),
        "origin": _origin(photo),
    }


def _claims(photo: Photo) -> dict[str, str]:
    """What the file says of its time and place, as text."""
    claims = {str(key): str(value) for key, value in photo.exif.items() if key != "gps"}
    gps = photo.exif.get("gps")
    return claims | ({"place": degrees(gps["lon"], gps["lat"])} if gps else {})


def _origin(photo: Photo) -> dict[str, str]:
    """What was looked at and who brought it, as text."""
    told, frame = photo.origin, photo.origin.get("frame")
    lines = {"frame": f"at {frame['time']:.2f} s of the video"} if frame else {}
    if told.get("fetched_from"):
        known = filter(None, (told["fetched_from"], told.get("fetched_at")))
        lines["fetched from"] = " at ".join(known)
    if told.get("crop"):
        lines["crop"] = "left {}, top {}, right {}, bottom {} px".format(*told["crop"])
    if told.get("rotate"):
        lines["rotated"] = f"{told['rotate']:g}° clockwise"
    for number, message in enumerate(told.get("messages", ()), start=1):
        place = message.get("place")
        words = {**message, "place": degrees(place["lon"], place["lat"])} if place else message
        text = ", ".join(f"{key} {value}" for key, value in words.items())
        lines["message" if number == 1 else f"message {number}"] = text
    return lines


def _card(candidate: Candidate, chip: Picture | None, result: QueryResult) -> dict[str, Any]:
    return {
        "rank": int(candidate.rank),
        "percent": percent(candidate.percentile),
        "area": result.area_of(candidate.rank),
        "measure": f"{_measure(result)} {_value(candidate, result)}",
        "value": _value(candidate, result),
        "lat": f"{candidate.lat:.7f}",
        "lon": f"{candidate.lon:.7f}",
        "coordinates": degrees(candidate.lon, candidate.lat),
        "grid": f"{candidate.x:.0f} E, {candidate.y:.0f} N ({result.grid.crs})",
        "chip": chip,
        "above": scene_list(result.places.get(candidate.rank, ())),
        "agree": candidate.shared[:3],
        "differ": differences(candidate),
        "links": web_maps(candidate.lon, candidate.lat),
    }


def _measure(result: QueryResult) -> str:
    """What ranks the cells: a search for a scene has the surprise, which people know better as
    the probability that it is the logarithm of."""
    return "distance" if result.photos else "probability"


def _value(candidate: Candidate, result: QueryResult) -> str:
    if result.photos:
        return f"{candidate.distance:.3f}"
    return percent(100 * math.exp(-candidate.distance))


def _area_card(area: SearchArea, cards: Mapping[int, dict[str, Any]]) -> dict[str, Any]:
    least = "" if area.whole else "at least "
    return {
        "rank": area.rank,
        "size": least + area_size(area.km2),
        "candidates": [cards[rank] for rank in area.candidates],
    }


def _reasons(result: QueryResult) -> str:
    return ", ".join(f"{reason}: {count:,}" for reason, count in result.lacking.items())


def _truth(result: QueryResult) -> dict[str, Any] | None:
    """Where the true place lies on the grid (None outside of it), and how well it came out."""
    if result.truth is None:
        return None
    lat, lon = result.truth
    x, y = Transformer.from_crs(4326, result.grid.crs, always_xy=True).transform(lon, lat)
    cell = result.grid.index(x, y) if math.isfinite(x) and math.isfinite(y) else None
    if cell is None:
        return {"at": None, "words": "The true place lies outside of the area."}
    share = percentile_of(result.heatmap, *cell)
    told = "could not be searched" if share is None else f"is among the best {percent(share)}"
    return {"at": (x, y), "words": f"The true place {told}."}


def _dates(result: QueryResult, views: Views) -> str:
    """First and last day of the imagery, as far as it is known."""
    days = {str(item["date"])[:10] for item in result.imagery if item.get("date")}
    pictures = [*views.chips.values(), *views.base]
    days.update(day for picture in pictures for day in picture.dates)
    if not days:
        return ""
    return min(days) if len(days) == 1 else f"{min(days)} to {max(days)}"


def _data(result: QueryResult, views: Views, scale: Levels) -> dict[str, Any]:
    """What the viewer draws from."""
    truth = _truth(result)
    return {
        "measure": {"name": _measure(result), "sign": "≤" if result.photos else "≥"},
        "bounds": result.grid.bounds,
        "heat": _heat(result, scale),
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
        "truth": truth and truth["at"],
        "degrees": _degree_lattice(result.grid),
        "links": WEB_MAPS,
    }


def _heat(result: QueryResult, scale: Levels) -> dict[str, Any]:
    small, grid = shrink(result.heatmap, result.grid, _HEAT_PIXELS)
    least = 1 / max(result.sample.size, 1)  # a share is one cell at least
    return {
        "bounds": grid.bounds,
        "width": grid.nx,
        "height": grid.ny,
        "levels": _packed(scale.of(small)),
        "lacking": _packed(_lacking(result, small, grid)) if result.unsearched else None,
        "edges": [float(f"{v:.5g}") for v in scale.edges],
        "shares": [float(f"{max(v, least):.4g}") for v in scale.shares],
        "palettes": {"hot": hot_palette().tolist(), "study": palette().tolist()},
    }


def _lacking(result: QueryResult, small: NDArray[np.float32], grid: Grid) -> NDArray[np.uint8]:
    """1 where cells were asked for and nothing is known, on the grid of the shrunk heatmap."""
    lacking = np.isnan(small)
    if result.asked is not None:
        factor = round(grid.step / result.grid.step)
        middles = [
            np.minimum(np.arange(n) * factor + factor // 2, most - 1)
            for n, most in zip(grid.shape, result.grid.shape, strict=True)
        ]
        lacking &= result.asked[np.ix_(*middles)]
    return lacking.astype(np.uint8)


def _packed(values: NDArray[np.uint8]) -> str:
    return base64.b64encode(gzip.compress(values.tobytes(), mtime=0)).decode()


def _rings(area: SearchArea, step: float) -> list[list[list[float]]]:
    """The lines of an outline; coarser where it is long, so that the page stays small."""
    outline = area.outline
    while shapely.get_num_coordinates(outline) > _RING_POINTS:
        outline, step = outline.simplify(step), 2 * step
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


def _static_heat(result: QueryResult, scale: Levels) -> str:
    """The heatmap as a picture, clear where nothing is known."""
    small, _ = shrink(result.heatmap, result.grid, _STATIC_PIXELS)
    return png_uri(scale.of(small), hot_palette())


def script_data(data: dict[str, Any]) -> Markup:
    """JSON for a script element: no character in it can end the element."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))
