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
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arrays import F64
from ..errors import UsageError

FEWEST = 8
"""Photos of a bank: fewer say little of what is usual."""


@dataclass(frozen=True, eq=False)
class Bank:
    """What is usual of places: mean distance ``(*place,)``, or one number for all, and the spread
    of single distances around it, one number for all places."""

    mean: NDArray[np.floating]
    spread: float

    @classmethod
    def of(cls, distances: NDArray[np.floating]) -> Bank:
        """From distances ``(photo, *place)``, NaN where a place is missing. Raises UsageError for
        too few photos, or such as do not differ."""
        sums = BankSums(len(distances), distances.shape[1:])
        sums.add((...,), distances)
        return sums.bank()

    @classmethod
    def of_places(cls, mean: float, deviation: float) -> Bank:
        """From the mean of all places of one photo, and their deviation: see `by_places`."""
        return cls(np.asarray(mean), deviation if deviation > 0 else 1.0)

    @property
    def flat(self) -> Bank:
        """Of the same places, row by row: ``(place,)``."""
        return Bank(self.mean.reshape(-1), self.spread)

    def at(self, places: tuple[slice | int, ...]) -> Bank:
        """Of some of the places, or one."""
        return Bank(np.asarray(self.mean[places]), self.spread) if self.mean.ndim else self

    def scores(self, distances: NDArray[np.floating]) -> F64:
        """z-scores ``(..., *place)`` of distances, lower is better."""
        return np.asarray((distances - np.asarray(self.mean, np.float64)) / self.spread)


class BankSums:
    """A `Bank` from the distances of some places after the others. Raises UsageError for too few
    photos."""

    def __init__(self, photos: int, shape: tuple[int, ...]) -> None:
        if photos < FEWEST:
            raise UsageError(
                f"a bank of {photos} photos is too small to tell what is usual: give at least "
                f"{FEWEST}, unrelated to those that are asked about"
            )
        self.photos, self.mean = photos, np.full(shape, np.nan)
        self._squares, self._places = 0.0, 0

    def add(self, places: tuple[Any, ...], distances: NDArray[np.floating]) -> None:
        """Take in distances ``(photo, *place)`` of some places, NaN where one is missing."""
        values = np.asarray(distances, np.float64)
        mean = values.mean(axis=0)
        square = ((values - mean) ** 2).sum(axis=0) / (self.photos - 1)
        there = np.isfinite(square)
        self.mean[places] = mean
        self._squares += float(square[there].sum())
        self._places += int(there.sum())

    def bank(self) -> Bank:
        """What is usual. Raises UsageError where the photos do not differ."""
        spread = float(np.sqrt(self._squares / max(self._places, 1)))
        if spread <= 0:
            raise UsageError("the photos of the bank are all alike: give different ones")
        return Bank(self.mean, spread)


def by_places(distances: NDArray[np.floating]) -> F64:
    """z-scores ``(photo, place)`` of distances among those of the same photo, lower is better; 0
    where all places are equally far. NaN stays NaN."""
    values = np.asarray(distances, np.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of a photo without any place
        mean, spread = np.nanmean(values, 1)[:, None], np.nanstd(values, 1)[:, None]
    return np.asarray((values - mean) / np.where(spread > 0, spread, 1))


def shares(weights: Sequence[float] | None, models: int) -> F64:
    """Weights ``(model,)`` that sum to 1, all alike by default.

    weights: one a model, from 0 up. Raises UsageError for others.
    """
    try:
        w = np.ones(models) if weights is None else np.asarray(weights, np.float64)
    except (TypeError, ValueError):
        raise UsageError(f"weights {weights!r} are no numbers: give one a model") from None
    if w.shape != (models,) or not np.isfinite(w).all() or w.min() < 0 or not w.any():
        raise UsageError(
            f"weights {w.tolist()} do not fit {models} models: give each one, 0 or more, not all 0"
        )
    return np.asarray(w / w.max() / (w / w.max()).sum())


def fused(scores: Sequence[F64], weights: Sequence[float] | None = None) -> F64:
    """The weighted mean of z-scores of several models, each ``(..., *place)``.

    NaN where any is, but of a model without weight. weights: see `shares`, and for what it raises.
    """
    w = shares(weights, len(scores))
    counted = [score for score, weight in zip(scores, w, strict=True) if weight]
    return np.asarray(np.tensordot(w[w > 0], np.stack(counted), axes=1))
