"""The answer to one query, before it becomes files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..grid import Grid
from ..scenes import describe
from ..search_areas import SearchArea, search_areas

if TYPE_CHECKING:
    from ..candidates import Candidate
    from ..photos import Photo

_SAMPLE = 4_000_000  # cells that order statistics are taken from: exact up to 2000 x 2000

_LEAST_SHARE, _LEAST_CELLS, _MOST_SHARE = 0.01, 1000, 0.1  # of the cells, as areas to search


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
    lacking: cells that were asked for and could not be searched, by the reason.
    asked: bool ``(y, x)``, the cells that were asked for; None where that is all of the grid.
    truth: latitude and longitude (WGS84) of the true place, where that is known.
    truth_percentile: how many percent of the known cells are at most as far away as the one there.
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
    lacking: Mapping[str, int] = field(default_factory=dict)
    asked: NDArray[np.bool_] | None = None
    truth: tuple[float, float] | None = None
    truth_percentile: float | None = None

    @property
    def unsearched(self) -> int:
        """How many of the cells that were asked for could not be searched."""
        return sum(self.lacking.values())

    @property
    def cells_asked(self) -> int:
        """How many cells were asked for: those of the area, or of the polygon in it."""
        return self.grid.size if self.asked is None else int(np.count_nonzero(self.asked))

    @property
    def photo(self) -> Photo | None:
        """The first photo, or None for a search of a scene class."""
        return self.photos[0] if self.photos else None

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

    @cached_property
    def areas(self) -> tuple[SearchArea, ...]:
        """The candidates grouped into areas to search: connected cells as good as the last one.

        At least the best 1 %, or 1,000 cells of a large area, so that the surroundings of few
        candidates count; at most the best 10 %, beyond which a candidate stands alone.
        """
        least = min(_LEAST_SHARE, _LEAST_CELLS / self.grid.size)
        low, high = self.quantiles(np.array([least, _MOST_SHARE])).tolist()
        last = max((c.distance for c in self.candidates), default=low)
        return search_areas(self.heatmap, self.grid, self.candidates, min(max(last, low), high))

    def area_of(self, rank: int) -> int:
        """Rank of the area to search that the candidate of this rank lies in."""
        return next(area.rank for area in self.areas if rank in area.candidates)

    def scenes(self, top: int = 5) -> tuple[tuple[str, float], ...]:
        """The query's own top classes and their softmax share, for display only."""
        return describe(self.vector, self.classes, top)

    def to_json(self) -> dict[str, Any]:
        """The answer for machines: title, photos, scenes, candidates and areas to search."""
        from .vector import properties

        return {
            "title": self.title,
            "photos": [{"file": p.file, "sha256": p.sha256} for p in self.photos],
            "scenes": [{"scene": name, "share": share} for name, share in self.scenes()],
            "candidates": [properties(c) for c in self.candidates],
            "areas": [area.to_json() for area in self.areas],
            "summary": {"cells": self.cells_asked, **self.told_unsearched()},
            "notes": list(self.notes),
        }

    def told_unsearched(self) -> dict[str, Any]:
        """For machines: how many cells were not searched, and why."""
        return {"cells_unsearched": self.unsearched, "unsearched_reasons": dict(self.lacking)}
