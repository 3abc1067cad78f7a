"""``index.html`` of shared answers: one row each, in a page without network or scripts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..report import QueryResult
from ..report.formatting import degrees, measured
from ..report.html import assets, environment

INDEX = "index.html"


def row_of(folder: str, result: QueryResult) -> dict[str, Any]:
    """A copy's row: its folder, title, and its best place as its own report names it."""
    best = next(iter(result.candidates), None)
    return {
        "folder": folder,
        "title": result.title,
        "place": best and degrees(best.lon, best.lat, result.digits),
        "measure": best and measured(result, best),
    }


def index_page(rows: Iterable[Mapping[str, Any]]) -> str:
    """The page, all of it escaped; what was left out is said in SHARED.md."""
    template = environment("geoloc.sharing").get_template(INDEX)
    style = assets("geoloc.sharing", "index.css")
    return template.render(answers=list(rows), **style)
