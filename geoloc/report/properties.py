"""A candidate as the properties of a point."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .links import web_maps

if TYPE_CHECKING:
    from ..candidates import Candidate
    from ..models import Term

_OWN = ("explanation", "shared", "links", "probability", "score", "models")
"""Whatever a file calls its columns."""

_DEGREES = 7  # decimals: about a centimetre


def properties(
    candidate: Candidate,
    probability: float | None = None,
    models: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """What is reported of a candidate; numbers and text only, so that every GIS reads it.

    ``probability`` (0..1): of the scene that was searched for, where one was. ``models``: what
    each of several says of the place, which then has their score in place of a distance.
    """
    known: dict[str, Any] = {} if probability is None else {"probability": probability}
    if models is not None:
        known["models"] = models
    attributes = dict(candidate.attributes)
    return {
        **{name: value for name, value in attributes.items() if name not in _OWN},
        "rank": int(candidate.rank),
        "distance" if models is None else "score": float(candidate.distance),
        "percentile": float(candidate.percentile),
        "lon": round(float(candidate.lon), _DEGREES),
        "lat": round(float(candidate.lat), _DEGREES),
        "explanation": [_term(term) for term in candidate.explanation],
        "shared": [term.scene for term in candidate.shared],
        "links": web_maps(candidate.lon, candidate.lat),
        **known,
    }


def _term(term: Term) -> dict[str, Any]:
    return {
        "scene": term.scene,
        "photo": float(term.photo),
        "place": float(term.place),
        "share": float(term.share),
    }
