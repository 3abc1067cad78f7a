"""``candidates.csv``: the ranked places as a table for spreadsheets."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..names import cell_text
from ..scenes import display_name
from .formatting import differences, scene_list
from .links import web_maps
from .tandem import SCORE

if TYPE_CHECKING:
    from ..candidates import Candidate
    from .result import QueryResult
    from .views import Views


def write_table(result: QueryResult, path: Path, _views: Views | None = None) -> None:
    """One line a candidate, best first, in the form that spreadsheets open without questions.

    UTF-8 with its mark, as Excel needs it. Latitude and longitude are WGS84 degrees; ``x`` and
    ``y`` metres of the CRS named beside them. No text in it can become a formula.
    """
    rows = [_row(candidate, result) for candidate in result.candidates]
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, _columns(result))
        writer.writeheader()
        writer.writerows(rows)


_COLUMNS = (
    "rank", "area", "lat", "lon", "distance", "percentile", "x", "y", "crs",
    "seen_from_above", "photo_and_place_show", "differ_most", "map",
)  # fmt: skip
_BY_MODEL = ("rank", "percentile")


def _columns(result: QueryResult) -> list[str]:
    """Of several models: their score in place of a distance, and at the end the rank and the
    percentile that each gives alone."""
    if result.tandem is None:
        return [*_COLUMNS]
    names = [part.name for part in result.tandem.models]
    own = [f"{key}_{cell_text(name)}" for name in names for key in _BY_MODEL]
    return [SCORE if name == "distance" else name for name in _COLUMNS] + own


def _of_models(candidate: Candidate, result: QueryResult) -> dict[str, Any]:
    said = {} if result.tandem is None else result.tandem.of_place(candidate.rank)
    return {
        f"{key}_{cell_text(name)}": f"{one[key]:.6g}" if key == "percentile" else one[key]
        for name, one in said.items()
        for key in _BY_MODEL
    }


def _row(candidate: Candidate, result: QueryResult) -> dict[str, Any]:
    words = {
        "seen_from_above": scene_list(result.places.get(candidate.rank, ())),
        "photo_and_place_show": ", ".join(display_name(term.scene) for term in candidate.shared),
        "differ_most": ", ".join(display_name(term.scene) for term in differences(candidate)),
        "crs": result.grid.crs,
        "map": web_maps(candidate.lon, candidate.lat)["OpenStreetMap"],
    }
    numbers = {
        "rank": int(candidate.rank),
        "area": result.area_of(candidate.rank),
        "lat": f"{candidate.lat:.{result.digits + 1}f}",
        "lon": f"{candidate.lon:.{result.digits + 1}f}",
        "distance" if result.tandem is None else SCORE: f"{candidate.distance:.6g}",
        "percentile": f"{candidate.percentile:.4g}",
        "x": f"{candidate.x:.2f}",
        "y": f"{candidate.y:.2f}",
    }
    plain = {name: cell_text(text) for name, text in words.items()}
    return numbers | plain | _of_models(candidate, result)
