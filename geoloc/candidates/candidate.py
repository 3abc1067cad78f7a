"""Places worth a look: the best cells of a search, explained."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pyproj import Transformer

from ..arrays import F32
from ..domain import Grid
from ..models import FeatureSpace, Term
from ..search import Heatmap, Place, standing

_TERMS = 8
_SHARED = 5


@dataclass(frozen=True)
class Candidate:
    """A cell that is the best within a radius.

    x, y: its centre in the grid's CRS; lon, lat: WGS84 degrees; percentile: how many percent of
    the known cells are at most as far away; explanation: the scenes that make most of the
    distance; shared: the scenes that both photo and place say, the strongest first. point: its
    place in a cube of points; row and col are its region's then. attributes: what is known of the
    point besides, text and numbers by name.
    """

    rank: int
    row: int
    col: int
    x: float
    y: float
    lon: float
    lat: float
    distance: float
    percentile: float
    explanation: tuple[Term, ...] = ()
    shared: tuple[Term, ...] = ()
    point: int | None = None
    attributes: tuple[tuple[str, Any], ...] = ()

    @property
    def cell(self) -> tuple[int, ...]:
        """Where its vector is in the cube."""
        return (self.row, self.col) if self.point is None else (self.point,)


def candidates_of(places: Sequence[Place], grid: Grid) -> list[Candidate]:
    """The best places of a search as candidates, in their order."""
    lon, lat = _to_wgs84(grid.crs).transform([p.x for p in places], [p.y for p in places])
    return [
        Candidate(
            rank, *divmod(place.index, grid.nx), place.x, place.y, lon[rank - 1], lat[rank - 1],
            place.distance, place.percentile,
        )
        for rank, place in enumerate(places, start=1)
    ]  # fmt: skip


def explain_candidates(
    candidates: Sequence[Candidate],
    cube: Explained,
    photo: ArrayLike,
    weights: ArrayLike | None = None,
    terms: int = _TERMS,
) -> list[Candidate]:
    """The candidates with their strongest terms, for the vector ``photo`` ``(feature,)``."""
    features, distance = cube.features, cube.features.distance(weights)
    explained = []
    for candidate in candidates:
        place = cube.vector(*candidate.cell)
        if place is not None:
            every = features.explain(photo, place, distance)
            shared = shared_scenes(every)
            candidate = replace(candidate, explanation=every[:terms], shared=shared)
        explained.append(candidate)
    return explained


def with_attributes(candidates: Sequence[Candidate], cube: Attributed) -> list[Candidate]:
    """The candidates of a cube of points with what it knows of each, such as its way."""
    numbers = [candidate.point for candidate in candidates if candidate.point is not None]
    if not numbers or len(numbers) != len(candidates):
        return list(candidates)
    known = cube.attributes(numbers)
    return [
        replace(one, attributes=tuple((name, _plain(values[i])) for name, values in known.items()))
        for i, one in enumerate(candidates)
    ]


def _plain(value: np.generic) -> Any:
    """For JSON, which has no NaN."""
    plain = value.item()
    return None if isinstance(plain, float) and not math.isfinite(plain) else plain


class Attributed(Protocol):
    """What attributes come from; `geoloc.cube.Cube` has it."""

    def attributes(self, index: Sequence[int]) -> Mapping[str, NDArray[Any]]:
        """Arrays ``(point,)`` by name."""
        ...


def shared_scenes(terms: Sequence[Term], top: int = _SHARED) -> tuple[Term, ...]:
    """The scenes that both say, out of all terms: the words for why a distance is small.

    In both vectors their logit is at least a standard deviation above the vector's mean.
    """
    logits = np.array([(t.photo, t.place) for t in terms])
    spread = logits.std(axis=0)
    level = ((logits - logits.mean(axis=0)) / np.where(spread > 0, spread, 1)).min(axis=1)
    order = np.argsort(-level, kind="stable")[:top]
    return tuple(terms[i] for i in order if level[i] >= 1)


def percentile_of(heatmap: Heatmap, row: int, col: int) -> float | None:
    """How many percent of the known cells are at most as far as this one; None where missing."""
    ny, nx = heatmap.shape
    if not (0 <= row < ny and 0 <= col < nx) or np.isnan(value := float(heatmap[row, col])):
        return None
    counts = standing(heatmap, value)
    return 100.0 * (counts.smaller + counts.equal) / counts.known


class Explained(Protocol):
    """What an explanation needs of a cube; `geoloc.cube.Cube` has it."""

    @property
    def features(self) -> FeatureSpace: ...

    def vector(self, *cell: int) -> F32 | None:
        """Feature vector ``(feature,)`` of a cell, or None where missing."""
        ...


def _to_wgs84(crs: str) -> Transformer:
    return Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
