"""Several models in tandem: distances made comparable, and fused.

Distances of two models are of different size and spread, so they become z-scores, which are
averaged: by the places, how much nearer a place is to the photo than other places are
(`by_places`); or by a bank of unrelated photos, how much nearer it is to this photo than to others
(`Bank`), which takes away what a place has in common with every photo. That helps some models and
hurts others.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

FEWEST = 8
"""Photos of a bank: fewer say little of what is usual."""


@dataclass(frozen=True, eq=False)
class Bank:
    """What unrelated photos say of places: mean distance ``(*place,)``, and the spread of single
    distances around it, one number for all places."""

    mean: F64
    spread: float

    @classmethod
    def of(cls, distances: NDArray[np.floating]) -> Bank:
        """From distances ``(photo, *place)``, NaN where a place is missing. Raises UsageError for
        too few photos, or such as do not differ."""
        if len(distances) < FEWEST:
            raise UsageError(
                f"a bank of {len(distances)} photos is too small to tell what is usual: give at "
                f"least {FEWEST}, unrelated to those that are asked about"
            )
        values = np.asarray(distances, np.float64)
        mean = values.mean(axis=0)
        square = ((values - mean) ** 2).sum(axis=0) / (len(values) - 1)
        there = np.isfinite(square)
        spread = float(np.sqrt(square[there].mean())) if there.any() else 0.0
        if spread <= 0:
            raise UsageError("the photos of the bank are all alike: give different ones")
        return cls(mean, spread)

    def scores(self, distances: NDArray[np.floating]) -> F64:
        """z-scores ``(..., *place)`` of distances, lower is better."""
        return np.asarray((distances - self.mean) / self.spread)


def by_places(distances: NDArray[np.floating]) -> F64:
    """z-scores ``(photo, place)`` of distances among those of the same photo, lower is better; 0
    where all places are equally far. NaN stays NaN."""
    values = np.asarray(distances, np.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of a photo without any place
        mean, spread = np.nanmean(values, 1)[:, None], np.nanstd(values, 1)[:, None]
    return np.asarray((values - mean) / np.where(spread > 0, spread, 1))


def fused(scores: Sequence[F64], weights: Sequence[float] | None = None) -> F64:
    """The weighted mean of z-scores of several models, each ``(..., *place)``; NaN where any is.

    weights: one a model, from 0 up, all alike by default. Raises UsageError for others.
    """
    w = np.ones(len(scores)) if weights is None else np.asarray(weights, np.float64)
    if w.shape != (len(scores),) or not np.isfinite(w).all() or w.min() < 0 or not w.any():
        raise UsageError(
            f"weights {[*w]} do not fit {len(scores)} models: give each one, 0 or more, not all 0"
        )
    return np.asarray(np.tensordot(w / w.sum(), np.stack(scores), axes=1))
