"""The answer to one query, before it becomes files."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..grid import Grid
from ..scenes import describe

if TYPE_CHECKING:
    from ..candidates import Candidate
    from ..photos import Photo

_SAMPLE = 4_000_000  # cells that order statistics are taken from: exact up to 2000 x 2000


@dataclass(frozen=True)
class Match:
    """How well the best place matches what was asked, beside its rank: some cell is always first.

    weak: hardly; a search that found nothing looks so. Of a scene: probability (0..1) of the
    class at the best place, and the class that is likelier there, if one is, with its own. Of a
    photo: random, the share of random vectors that come as near to some place as the photo does;
    pairs, the share of photos of known places that lie as far from the best place or farther,
    None where the model has no such figures.
    """

    weak: bool
    probability: float | None = None
    likelier: tuple[str, float] | None = None
    random: float | None = None
    pairs: float | None = None

    def to_json(self) -> dict[str, Any]:
        """For machines; what does not apply is null."""
        return {
            "weak": self.weak,
            "probability": self.probability,
            "likelier": self.likelier
            and {"scene": self.likelier[0], "probability": self.likelier[1]},
            "random": self.random,
            "pairs": self.pairs,
        }


@dataclass(frozen=True)
class QueryResult:
    """One ranked answer: a photo's, that of several photos of one place, or a scene's.

    photos: what was asked with; empty for a search of a scene class.
    vector: float32 ``(feature,)``, the raw logits that were searched for.
    heatmap: float32 ``(y, x)`` on ``grid``, distance, NaN where nothing is known; may be a
        memory map.
    cube, model: what answered (name, url, generation, digest), as they go into the evidence.
    imagery: one mapping ``{"id", "href", "date", "candidates"}`` per image near a candidate.
    places: by rank, a candidate's own top scenes and their softmax share, as seen from above.
    notes: what the reader has to know, one sentence each.
    match: how well the best place matches; None where no place is known.
    """

    title: str
    photos: tuple[Photo, ...]
    vector: NDArray[np.float32]
    heatmap: NDArray[np.float32]
    candidates: tuple[Candidate, ...]
    grid: Grid
    classes: tuple[str, ...]
    cube: Mapping[str, Any] = field(default_factory=dict)
    model: Mapping[str, Any] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    imagery: tuple[Mapping[str, Any], ...] = ()
    places: Mapping[int, Sequence[tuple[str, float]]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    match: Match | None = None

    @property
    def photo(self) -> Photo | None:
        """The first photo, or None for a search of a scene class."""
        return self.photos[0] if self.photos else None

    def probability(self, candidate: Candidate) -> float | None:
        """Of the scene that was searched for, at a candidate (0..1); None for a photo's answer.

        A scene's distance is ``-log p(scene | cell)``.
        """
        return None if self.photos else math.exp(-candidate.distance)

    @cached_property
    def sample(self) -> NDArray[np.float32]:
        """Sorted known distances ``(n,)``: all of them, or every k-th of a very large heatmap."""
        flat = self.heatmap.reshape(-1)
        picked = np.asarray(flat[:: max(1, flat.size // _SAMPLE)], dtype=np.float32)
        return np.sort(picked[np.isfinite(picked)])

    def quantiles(self, fractions: NDArray[np.float64]) -> NDArray[np.float64]:
        """Distances at these fractions (0..1) of the known cells; zeros where none is known."""
        if not self.sample.size:
            return np.zeros(len(fractions))
        return np.asarray(np.quantile(self.sample, fractions), dtype=np.float64)

    def scenes(self, top: int = 5) -> tuple[tuple[str, float], ...]:
        """The query's own top classes and their softmax share, for display only."""
        return describe(self.vector, self.classes, top)

    def to_json(self) -> dict[str, Any]:
        """The answer for machines: title, photos, scenes and candidates."""
        from .vector import candidate_properties

        return {
            "title": self.title,
            "photos": [{"file": p.file, "sha256": p.sha256} for p in self.photos],
            "scenes": [{"scene": name, "share": share} for name, share in self.scenes()],
            "match": self.match and self.match.to_json(),
            "candidates": [candidate_properties(self, c) for c in self.candidates],
            "notes": list(self.notes),
        }
