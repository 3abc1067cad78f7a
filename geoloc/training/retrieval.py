"""How well photos find their overhead images among those of a split: by place, or by class."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ..evaluation import ClassRetrieval, Placement, Summary, evaluate_classes, summarize
from ..evaluation.pair_ranks import pair_ranks
from .data import PairData
from .losses import cross_distance

F32 = NDArray[np.float32]

FEW = 100
"""Places below which percentiles are coarse, and the best 1 % cannot be reached."""


@dataclass(frozen=True)
class Retrieval:
    """Figures; ``score``: one to choose by, higher is better; ``places`` that were ranked, 0 of
    classes."""

    figures: ClassRetrieval | Summary
    score: float
    places: int = 0

    @property
    def brief(self) -> Mapping[str, float]:
        """The figures that are logged after each epoch."""
        found = self.figures
        if isinstance(found, Summary):
            return {
                "median_percentile": found.median_percentile,
                "top1pct": found.top1pct,
                "top10pct": found.top10pct,
            }
        return {"right_in_best_1pct": found.precision_best1pct}

    def to_json(self) -> dict[str, float]:
        """All figures."""
        return asdict(self.figures)

    def __str__(self) -> str:
        told = f"; of {self.places} places, which say little" if 0 < self.places < FEW else ""
        return f"{self.figures}{told}"


def retrieve(data: PairData, predicted: F32, metric: F32 | None) -> Retrieval:
    """By places where each photo has a chip of its own, otherwise by the classes of groups.

    ``predicted``: the vectors ``(chip, feature)`` of the chips. Of places the score is the negated
    mean logarithm of the share of chips that are at least as near as the right one; of classes it
    is the mean average precision.
    """
    own = data.own
    if own is None:
        found = evaluate_classes(distances(data, predicted, metric), data.relevant())
        return Retrieval(found, found.mean_average_precision)
    photos = data.targets[data.photos]
    if metric is not None:
        photos, predicted = photos @ metric, predicted @ metric
    ranks = pair_ranks(photos, predicted, own)
    placed = [Placement("", float(rank), len(predicted)) for rank in ranks.rank]
    return Retrieval(summarize(placed), -float(np.log(ranks.share).mean()), len(predicted))


def distances(data: PairData, predicted: F32, metric: F32 | None) -> F32:
    """``(photo, chip)``: from the teacher's vector of each photo to each chip's prediction."""
    photos = torch.from_numpy(data.targets[data.photos])
    chips = torch.from_numpy(predicted)
    if metric is not None:
        photos, chips = photos @ torch.from_numpy(metric), chips @ torch.from_numpy(metric)
    result: F32 = cross_distance(photos, chips).numpy()
    return result


def own_distances(data: PairData, predicted: F32, metric: F32 | None) -> F32 | None:
    """``(photo,)``: from each photo to its own place, by the model's distance; None for classes."""
    own = data.own
    if own is None:
        return None
    apart = data.targets[data.photos] - predicted[own]
    if metric is not None:
        apart = apart @ metric
    return np.asarray(np.sqrt(np.square(apart).sum(axis=1) / math.prod(apart.shape[1:])))
