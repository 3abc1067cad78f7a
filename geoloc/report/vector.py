"""``candidates.geojson`` (RFC 7946): the ranked places as points."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..candidates import Candidate
    from .result import QueryResult
    from .views import Views


def write_geojson(result: QueryResult, path: Path, _views: Views | None = None) -> None:
    """Points in WGS84, longitude first, best candidate first."""
    document = {
        "type": "FeatureCollection",
        "name": result.title,
        "features": [_feature(result, c) for c in result.candidates],
    }
    text = json.dumps(document, allow_nan=False, ensure_ascii=False, indent=1)
    path.write_text(text + "\n", encoding="utf-8")


def _feature(result: QueryResult, candidate: Candidate) -> dict[str, Any]:
    told = result.properties(candidate)
    return {
        "type": "Feature",
        "id": told["rank"],
        "geometry": {"type": "Point", "coordinates": [told["lon"], told["lat"]]},
        "properties": {
            "name": f"#{told['rank']}",
            "area": result.area_of(candidate.rank),
            **told,
        },
    }
