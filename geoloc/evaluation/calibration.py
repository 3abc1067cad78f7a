"""Calibration: which share of an area holds the true place with which probability.

Split conformal prediction (Vovk et al., "Algorithmic Learning in a Random World", 2005) on the
shares in which true places lay, each place counting once: the level is the value of rank
``p (n + 1)`` of n places, so that a new place of the same kind lies within it with probability p at
least, and p + 1 / (n + 1) at most.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

import numpy as np

from ..arrays import F64, Bools
from ..models.calibration import Calibration, Level, Searched
from .bootstrap import known, mean_figure
from .ranks import Ranks

PERCENTS = (50, 80, 90, 95)
FEWEST_PLACES = 20
"""Below so many places a level of 95 % is that of all of the area."""

_FOLDS = 500  # places left out at a time: one, of up to so many


def level(shares: F64, weights: F64, percent: float) -> float:
    """The share (0..1) that holds a new place with ``percent``; 1 where places are too few.

    shares ``(photo,)`` in which true places lay; weights ``(photo,)``: those of a place sum to 1.
    """
    order = np.argsort(shares, kind="stable")
    reached = np.cumsum(weights[order])
    wanted = percent / 100 * (reached[-1] + 1) - 1e-9 if len(order) else math.inf
    at = int(np.searchsorted(reached, wanted))
    return float(shares[order[at]]) if at < len(order) else 1.0


def place_weights(groups: Sequence[Hashable]) -> F64:
    """``(photo,)``: one over the number of photos of the same place."""
    _, index, sizes = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    return np.asarray(1.0 / sizes[index])


def left_out(shares: F64, groups: Sequence[Hashable], percent: float) -> Bools:
    """``(photo,)``: whether the level of all *other* places holds a photo's true place.

    Of more than 500 places some at a time are left out.
    """
    _, index = np.unique(np.asarray(groups), return_inverse=True)
    weights, fold = place_weights(groups), index % _FOLDS
    held = np.zeros(len(shares), np.bool_)
    for one in np.unique(fold):
        out = fold == one
        held[out] = shares[out] <= level(shares[~out], weights[~out], percent)
    return held


def _percent(held: Bools) -> F64:
    return 100 * held.astype(np.float64)


def calibrate(
    ranks: Ranks,
    groups: Sequence[Hashable],
    *,
    model: str,
    source: str,
    searched: Searched = "cells",
    seed: int = 0,
) -> Calibration:
    """The calibration of a model (its digest) by the ranks of true places, leaving one out."""
    shares, weights = ranks.share, place_weights(groups)
    levels = {}
    for percent in PERCENTS:
        held = mean_figure(_percent(left_out(shares, groups, percent)), groups, seed=seed)
        share = level(shares, weights, percent)
        levels[percent] = Level(
            share=float(f"{math.ceil(share * 1e6) / 1e6:.6f}"),
            coverage=known(held.value, 2),
            coverage_ci=(known(held.low, 2), known(held.high, 2)),
        )
    return Calibration(
        model=model,
        photos=len(shares),
        places=len(set(groups)),
        searched=searched,
        source=source,
        levels=levels,
    )
