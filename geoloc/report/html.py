"""``report.html``: the answer as one page that needs no network."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from pyproj import Transformer

from ..grid import Grid
from ..scenes import display_name
from .heat import TICKS, Levels, levels, palette, position, shrink
from .links import WEB_MAPS, web_maps
from .views import Picture, Views, look, photo_picture, png_uri
from .words import degrees, differences, percent, scene_list

if TYPE_CHECKING:
    from ..candidates import Candidate
    from ..imagery.source import Source
    from ..photos import Photo
    from .result import QueryResult

_HEAT_PIXELS = 1200
_STATIC_PIXELS = 700  # the heatmap for readers without scripts
_VISIBLE = 0.0005  # share below which a scene's bar would be empty
_KNOTS = 25  # of the lattice that the page interpolates longitude and latitude from
_POLICY = (
    "default-src 'none'; img-src {pictures}; style-src 'unsafe-inline'; "
    "script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
)


def write_page(
    result: QueryResult, path: Path, source: Source | None = None, *, views: Views | None = None
) -> Path:
    """Write the page; everything in it is escaped, inlined and bounded in size.

    ``views``: what is seen of ``source``, where that is known already.
    """
    views = views or look(result, source)
    scale = levels(result)
    text = (
        environment("geoloc.report")
        .get_template("report.html")
        .render(
            result=result,
            views=views,
            photos=[_photo(photo, len(result.photos)) for photo in result.photos],
            candidates=[_card(c, views.chips.get(c.rank), result) for c in result.candidates],
            scenes=[scene for scene in result.scenes() if scene[1] >= _VISIBLE],
            legend=_legend(result),
            static=_static_heat(result, scale),
            data=script_data(_data(result, views, scale)),
            dates=_dates(result, views),
            **assets("geoloc.report", "report.css", "viewer.js"),
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


def assets(package: str, style: str, script_name: str, pictures: str = "data:") -> dict[str, str]:
    """Style on the theme of all pages, script, and the policy that lets this very script run.

    ``pictures``: where pictures may come from, in the words of the policy.
    """
    folder = files(package) / "templates"
    script = (folder / script_name).read_text(encoding="utf-8")
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
    if len(told.get("copies", ())) > 1:
        lines["also seen in"] = ", ".join(copy["file"] for copy in told["copies"][1:])
    if told.get("conflicts"):
        lines["claims of its copies"] = "; ".join(told["conflicts"])
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
        "distance": f"{candidate.distance:.3f}",
        "coordinates": degrees(candidate.lon, candidate.lat),
        "grid": f"{candidate.x:.0f} E, {candidate.y:.0f} N ({result.grid.crs})",
        "chip": chip,
        "above": scene_list(result.places.get(candidate.rank, ())),
        "agree": candidate.shared[:3],
        "differ": differences(candidate),
        "links": web_maps(candidate.lon, candidate.lat),
    }


def _legend(result: QueryResult) -> list[dict[str, str]]:
    """Names and places (percent of the scale) of its ticks, best first."""
    distances = result.quantiles(np.array(TICKS))
    return [
        {"at": f"{100 * position(share):.1f}", "name": f"{100 * share:g} %", "distance": f"{d:.4g}"}
        for share, d in zip(TICKS, distances, strict=True)
    ]


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
    small, grid = shrink(result.heatmap, result.grid, _HEAT_PIXELS)
    least = 1 / max(result.sample.size, 1)  # a share is one cell at least
    packed = gzip.compress(scale.of(small).tobytes(), mtime=0)
    return {
        "measure": "distance" if result.photos else "surprise",
        "bounds": result.grid.bounds,
        "heat": {
            "bounds": grid.bounds,
            "width": grid.nx,
            "height": grid.ny,
            "levels": base64.b64encode(packed).decode(),
            "edges": [float(f"{v:.5g}") for v in scale.edges],
            "shares": [float(f"{max(v, least):.4g}") for v in scale.shares],
            "palette": palette().tolist(),
        },
        "base": [_base(picture) for picture in views.base],
        "chips": {rank: chip.bounds for rank, chip in views.chips.items()},
        "candidates": [{"rank": int(c.rank), "x": c.x, "y": c.y} for c in result.candidates],
        "degrees": _degree_lattice(result.grid),
        "links": WEB_MAPS,
    }


def _base(base: Picture) -> dict[str, Any]:
    left, _, right, _ = base.bounds
    return {"bounds": base.bounds, "step": (right - left) / base.width}


def _degree_lattice(grid: Grid) -> dict[str, Any]:
    """Longitude and latitude at knots over the bounds, rows from the north."""
    left, bottom, right, top = grid.bounds
    x, y = np.meshgrid(np.linspace(left, right, _KNOTS), np.linspace(top, bottom, _KNOTS))
    lon, lat = Transformer.from_crs(grid.crs, 4326, always_xy=True).transform(x, y)
    return {
        "knots": _KNOTS,
        "lon": np.round(lon.ravel(), 7).tolist(),
        "lat": np.round(lat.ravel(), 7).tolist(),
    }


def _static_heat(result: QueryResult, scale: Levels) -> str:
    """The heatmap as a picture, clear where nothing is known."""
    small, _ = shrink(result.heatmap, result.grid, _STATIC_PIXELS)
    return png_uri(scale.of(small), palette())


def script_data(data: dict[str, Any]) -> Markup:
    """JSON for a script element: no character in it can end the element."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))
