"""Retrieval of overhead images of the right class for photos: average precision and its like.

Distances: lower is better. Of equal distances those of wrong images come first, so that ties count
against, as in `ranks`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..arrays import F32, F64, Bools

Floats = F32 | F64


def ranked_hits(distances: Floats, relevant: Bools) -> Bools:
    """``(query, item)``: whether the item at each rank is relevant, the nearest first.

    ``distances`` ``(query, item)``; ``relevant``: of that shape. Ties count against.
    """
    wrong_first = np.argsort(relevant, axis=1, kind="stable")
    given = np.take_along_axis(distances, wrong_first, axis=1)
    order = np.take_along_axis(wrong_first, np.argsort(given, axis=1, kind="stable"), axis=1)
    return np.take_along_axis(relevant, order, axis=1)


def precision_of(hits: Bools) -> F64:
    """Mean precision at each relevant item ``(query,)``, 0 to 1; NaN if nothing is relevant.

    ``hits`` ``(query, rank)``: see `ranked_hits`.
    """
    precision = np.cumsum(hits, axis=1) / np.arange(1, hits.shape[1] + 1)
    total = hits.sum(axis=1)
    sums = (precision * hits).sum(axis=1)
    result: F64 = np.full(len(sums), np.nan)
    np.divide(sums, total, out=result, where=total > 0)
    return result


def average_precision(distances: Floats, relevant: Bools) -> F64:
    """Average precision of each query ``(query,)``, 0 to 1; NaN if nothing is relevant.

    ``distances`` ``(query, item)``; ``relevant``: of that shape.
    """
    return precision_of(ranked_hits(distances, relevant))


def chance_precision(relevant: int, items: int) -> float:
    """The expected average precision of ``items`` in random order, ``relevant`` of them right.

    ``(H + (R - 1) / (N - 1) * (N - H)) / N`` with the harmonic number ``H`` of N: the mean over
    ranks k of the expected precision ``(1 + (k - 1) (R - 1) / (N - 1)) / k`` of a hit there.
    """
    if items < 2 or not relevant:
        return float(relevant > 0)
    harmonic = float((1 / np.arange(1, items + 1)).sum())
    return (harmonic + (relevant - 1) / (items - 1) * (items - harmonic)) / items


def precision_at_best(distances: Floats, relevant: Bools, percent: float) -> float:
    """Share of relevant items among the best ``percent`` of the gallery (at least one item)."""
    count = max(1, math.ceil(distances.shape[1] * percent / 100))
    return float(ranked_hits(distances, relevant)[:, :count].mean())


@dataclass(frozen=True)
class ClassRetrieval:
    """Figures of retrieving overhead images of the right class for photos."""

    queries: int
    gallery: int
    mean_average_precision: float
    precision_best1pct: float
    chance: float

    def __str__(self) -> str:
        return (
            f"{self.queries} photos against {self.gallery} images: mean average precision "
            f"{self.mean_average_precision:.3f}, right in the best 1 % "
            f"{100 * self.precision_best1pct:.1f} % (chance {self.chance:.3f})"
        )


def evaluate_classes(distances: Floats, relevant: Bools) -> ClassRetrieval:
    """The figures of class retrieval from distances ``(query, item)``; chance is the base rate."""
    return ClassRetrieval(
        queries=distances.shape[0],
        gallery=distances.shape[1],
        mean_average_precision=float(np.nanmean(average_precision(distances, relevant))),
        precision_best1pct=precision_at_best(distances, relevant, 1.0),
        chance=float(relevant.mean()),
    )
