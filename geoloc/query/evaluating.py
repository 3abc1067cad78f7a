"""How good the answers are where it is known where the photos were taken."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..evaluation import Placement, Summary, Truth, read_truth, summarize
from ..report import QueryResult
from .run import Stages, answer_photos, silent
from .truth import placement, true_point


@dataclass(frozen=True)
class Score:
    """One photo's: percentile of the true cell (0..100, chance 50), and m from the truth to the
    best candidate; None where the truth lies outside of the cube."""

    photo: str
    placement: Placement | None
    best_candidate_m: float | None

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        percentile = self.placement and round(self.placement.percentile, 4)
        distance = None if self.best_candidate_m is None else round(self.best_candidate_m, 1)
        return {"photo": self.photo, "percentile": percentile, "best_candidate_m": distance}


@dataclass(frozen=True)
class Evaluation:
    """Scores of photos with a known place, and one line for each that could not be answered."""

    scores: tuple[Score, ...]
    failures: Mapping[str, str]

    @property
    def summary(self) -> Summary:
        """Medians and top-k figures."""
        return summarize(score.placement for score in self.scores)

    def to_json(self) -> dict[str, Any]:
        """For machines: each photo, and the summary's figures beside them (null for unknown)."""
        figures = self.summary.as_dict()
        figures.pop("photos")
        known = {name: None if math.isnan(v) else round(v, 4) for name, v in figures.items()}
        return {"photos": [score.to_json() for score in self.scores], **known}


def evaluate_truth(
    cube: str | Path,
    truth: str | Path,
    *,
    out: str | Path | None = None,
    progress: Stages = silent,
) -> Evaluation:
    """Answer the photos of a truth file (file, lon, lat; the photos lie beside it), and score.

    ``out``: a folder for the answers, with the true places marked; without it nothing is written.
    Raises UsageError for a bad truth file, and what `query_photos` raises.
    """
    truths = read_truth(truth)
    paths = [Path(truth).parent / row.file for row in truths]
    places = {Path(row.file).name: (row.lat, row.lon) for row in truths}
    answers = answer_photos(cube, paths, out=out, truth=places, progress=progress)
    return Evaluation(tuple(score(answers.results, truths)), answers.failures)


def score(results: Sequence[QueryResult], truths: Sequence[Truth]) -> list[Score]:
    """Score each answer by the truth of the photo's file name; others are passed over."""
    places = {row.file: row for row in truths}
    return [
        _score(result, places[name])
        for result in results
        if result.photo and (name := result.photo.path.name) in places
    ]


def _score(result: QueryResult, truth: Truth) -> Score:
    point, best = true_point(result.grid, truth.lat, truth.lon), _best(result)
    off = math.dist(point, (best.x, best.y)) if point and best else None
    return Score(truth.file, placement(result, point), off)


def _best(result: QueryResult) -> Any:
    return result.candidates[0] if result.candidates else None
