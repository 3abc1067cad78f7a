"""``candidates.geojson`` (RFC 7946): the ranked places as points."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .links import web_maps

if TYPE_CHECKING:
    from ..candidates import Candidate, Term
    from .result import QueryResult

_DEGREES = 7  # decimals: about a centimetre


def candidate_properties(result: QueryResult, candidate: Candidate) -> dict[str, Any]:
    """`properties`, with what its answer knows of the candidate: of a scene, its probability."""
    probability = result.probability(candidate)
    known = {} if probability is None else {"probability": probability}
    return {**properties(candidate), **known}


def properties(candidate: Candidate) -> dict[str, Any]:
    """What is told of a candidate; numbers and text only, so that every GIS reads it."""
    return {
        "rank": int(candidate.rank),
        "distance": float(candidate.distance),
        "percentile": float(candidate.percentile),
        "lon": round(float(candidate.lon), _DEGREES),
        "lat": round(float(candidate.lat), _DEGREES),
        "explanation": [_term(term) for term in candidate.explanation],
        "shared": [term.scene for term in candidate.shared],
        "links": web_maps(candidate.lon, candidate.lat),
    }


def _term(term: Term) -> dict[str, Any]:
    return {
        "scene": term.scene,
        "photo": float(term.photo),
        "place": float(term.place),
        "share": float(term.share),
    }


def write_geojson(result: QueryResult, path: Path) -> None:
    """Points in WGS84, longitude first, best candidate first."""
    document = {
        "type": "FeatureCollection",
        "name": result.title,
        "features": [_feature(result, c) for c in result.candidates],
    }
    text = json.dumps(document, allow_nan=False, ensure_ascii=False, indent=1)
    path.write_text(text + "\n", encoding="utf-8")


def _feature(result: QueryResult, candidate: Candidate) -> dict[str, Any]:
    told = candidate_properties(result, candidate)
    return {
        "type": "Feature",
        "id": told["rank"],
        "geometry": {"type": "Point", "coordinates": [told["lon"], told["lat"]]},
        "properties": {"name": f"#{told['rank']}", "area": result.area_of(candidate.rank), **told},
    }
