"""``report.html``: the answer as one page that needs no network."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ..scenes import display_name
from .drawn import drawn
from .formatting import (
    area_size,
    areas_text,
    closeness,
    degrees,
    differences,
    measured,
    percent,
    scene_list,
    truth_text,
    unsearched,
)  # fmt: skip
from .heat import ColorScale, color_scale, hot_palette, shrink
from .links import web_maps
from .shares import STOPS
from .views import photo_picture, png_uri

if TYPE_CHECKING:
    from ..candidates import Candidate
    from ..candidates.areas import SearchArea
    from ..photos import Photo
    from .result import QueryResult
    from .views import Picture, Views

_STATIC_PIXELS = 700  # the heatmap for readers without scripts
_VISIBLE = 0.0005  # share below which a scene's bar would be empty
_SCRIPTS = ("coordinates.js", "map.js", "heat.js", "tools.js", "viewer.js")
_POLICY = (
    "default-src 'none'; img-src {pictures}; style-src 'unsafe-inline'; "
    "script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
)


def write_page(result: QueryResult, path: Path, views: Views) -> None:
    """Write the page; everything in it is escaped, inlined and bounded in size."""
    scale = color_scale(result)
    cards = {c.rank: _card(c, views.chips.get(c.rank), result) for c in result.candidates}
    text = (
        environment("geoloc.report")
        .get_template("report.html")
        .render(
            result=result,
            views=views,
            photos=[photo_card(photo, len(result.photos)) for photo in result.photos],
            candidates=list(cards.values()),
            models=_model_rows(result),
            areas=[_area_card(area, cards) for area in result.areas],
            search=areas_text(result.areas),
            truth=truth_text(result),
            parent=result.parent,
            parent_page=parent_page(result),
            not_searched=unsearched(result),
            match=result.match_words,
            stops=STOPS,
            calibrated=result.calibrated,
            true_place=result.true_place,
            scenes=[scene for scene in result.scenes() if scene[1] >= _VISIBLE],
            static=_static_heat(result, scale),
            data=script_data(drawn(result, views, scale)),
            dates=_dates(result, views),
            **assets("geoloc.report", "report.css", *_SCRIPTS),
        )
    )
    path.write_text(text, encoding="utf-8")


def parent_page(result: QueryResult) -> str | None:
    """The address, from this page, of the answer's that it goes into; None where there is none."""
    if result.parent is None or result.folder is None:
        return None
    page = result.parent.record.parent / "report.html"
    link = os.path.relpath(page.absolute(), result.folder.absolute())
    return quote(Path(link).as_posix())


@cache  # templates are compiled once, not for each answer
def environment(package: str) -> Environment:
    """Templates of a package, then of reports: all is escaped, an unknown name is an error."""
    templates = Environment(
        loader=ChoiceLoader([PackageLoader(package), PackageLoader("geoloc.report")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters.update(scene=display_name, percent=percent)
    return templates


def assets(package: str, style: str, *scripts: str, pictures: str = "data:") -> dict[str, str]:
    """Style on the theme of all pages, script, and the policy that lets this very script run.

    ``style``: one file, or several with spaces between. ``scripts``: files that run one after the
    other. ``pictures``: where pictures
    may come from, in the words of the policy.
    """
    folder = files(package) / "templates"
    script = "".join((folder / name).read_text(encoding="utf-8") for name in scripts)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    theme = files(__package__) / "templates" / "theme.css"
    styles = [folder / name for name in style.split()]
    return {
        "style": Markup("".join(part.read_text(encoding="utf-8") for part in (theme, *styles))),
        "script": Markup(script),
        "policy": _POLICY.format(digest=digest, pictures=pictures),
    }


def photo_card(photo: Photo, count: int) -> dict[str, Any]:
    """What a page shows of a photo, one of ``count``."""
    return {
        "file": photo.file,
        "sha256": photo.sha256,
        "picture": photo_picture(photo, count) if photo.pixels.size else None,
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
    origin, frame = photo.origin, photo.origin.get("frame")
    lines = {"frame": f"at {frame['time']:.2f} s of the video"} if frame else {}
    if origin.get("fetched_from"):
        known = filter(None, (origin["fetched_from"], origin.get("fetched_at")))
        lines["fetched from"] = " at ".join(known)
    if origin.get("crop"):
        lines["crop"] = "left {}, top {}, right {}, bottom {} px".format(*origin["crop"])
    if origin.get("rotate"):
        lines["rotated"] = f"{origin['rotate']:g}° clockwise"
    if len(origin.get("copies", ())) > 1:
        lines["also seen in"] = ", ".join(copy["file"] for copy in origin["copies"][1:])
    if origin.get("conflicts"):
        lines["claims of its copies"] = "; ".join(origin["conflicts"])
    for number, message in enumerate(origin.get("messages", ()), start=1):
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
        "measure": closeness(candidate, result),
        "value": measured(result, candidate),
        "lat": f"{candidate.lat:.7f}",
        "lon": f"{candidate.lon:.7f}",
        "coordinates": degrees(candidate.lon, candidate.lat, result.digits),
        "grid": f"{candidate.x:.0f} E, {candidate.y:.0f} N ({result.grid.crs})",
        "chip": chip,
        "above": scene_list(result.places.get(candidate.rank, ())),
        "models": [] if result.tandem is None else [*result.tandem.words(candidate.rank)],
        "agree": candidate.shared[:3],
        "differ": differences(candidate),
        "links": web_maps(candidate.lon, candidate.lat),
    }


def _model_rows(result: QueryResult) -> list[dict[str, str]]:
    """What the table of several models says of each."""
    parts = () if result.tandem is None else result.tandem.models
    return [
        {
            "name": one.name,
            "weight": one.weight_words,
            "best": "".join(degrees(c.lon, c.lat, result.digits) for c in one.alone.candidates[:1]),
            "first": f"best {percent(one.said[1].percentile)}" if 1 in one.said else "not known",
            "truth": truth_text(one.alone),
        }
        for one in parts
    ]


def _area_card(area: SearchArea, cards: Mapping[int, dict[str, Any]]) -> dict[str, Any]:
    least = "" if area.whole else "at least "
    return {
        "rank": area.rank,
        "size": least + area_size(area.km2),
        "candidates": [cards[rank] for rank in area.candidates],
    }


def _dates(result: QueryResult, views: Views) -> str:
    """First and last day of the imagery, as far as it is known."""
    days = {str(item["date"])[:10] for item in result.imagery if item.get("date")}
    pictures = [*views.chips.values(), *views.base]
    days.update(day for picture in pictures for day in picture.dates)
    if not days:
        return ""
    return min(days) if len(days) == 1 else f"{min(days)} to {max(days)}"


def _static_heat(result: QueryResult, scale: ColorScale) -> str:
    """The heatmap as a picture, clear where nothing is known."""
    small, _ = shrink(result.heatmap, result.grid, _STATIC_PIXELS)
    return png_uri(scale.levels(small), hot_palette())


def script_data(data: dict[str, Any]) -> Markup:
    """JSON for a script element: no character in it can end the element."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))
