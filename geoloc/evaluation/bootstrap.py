"""Intervals of figures: seeded bootstraps over places, and of differences of pairs.

Efron & Tibshirani, "An Introduction to the Bootstrap" (1993), percentile intervals. What is drawn
is places, with all their photos: photos of one place say the same thing more than once.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arrays import F64
from .ranks import Metric, Ranks, figure

DRAWS = 1000
LEVEL = 0.95
_MOST = 100_000_000  # values drawn in all: of millions of photos fewer draws do
_FEWEST = 100
_BLOCK = 1_000_000  # values of draws that are looked at together
_SEVERAL = 2  # below so many places there is no interval


@dataclass(frozen=True)
class Figure:
    """A figure with its bootstrap interval (NaN where there is none), and what chance gives."""

    value: float
    low: float = math.nan
    high: float = math.nan
    chance: float | None = None

    def to_json(self) -> dict[str, Any]:
        """For machines; null for unknown."""
        facts = {"value": known(self.value), "ci": [known(self.low), known(self.high)]}
        return facts if self.chance is None else {**facts, "chance": known(self.chance)}


def known(value: float, digits: int = 4) -> float | None:
    """A number for JSON: rounded, null where it is NaN."""
    return round(float(value), digits) if math.isfinite(value) else None


def interval(drawn: F64, level: float = LEVEL) -> tuple[float, float]:
    """The central ``level`` of drawn figures ``(draw,)``; NaN without any."""
    if not len(drawn) or not np.isfinite(drawn).all():
        return math.nan, math.nan
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def resamples(groups: Sequence[Hashable], draws: int = DRAWS, seed: int = 0) -> Iterator[F64]:
    """Blocks ``(draw, row)`` of how often each draw takes each row: as often as its group.

    Nothing where there are fewer than two groups. Of many rows there are fewer draws.
    """
    _, group = np.unique(np.asarray(groups), return_inverse=True)
    count = int(group.max(initial=-1)) + 1
    if count < _SEVERAL:
        return
    draws = max(min(draws, _MOST // len(group)), min(draws, _FEWEST))
    for times in _times_drawn(np.random.default_rng(seed), count, draws, _BLOCK // len(group)):
        yield times[:, group]


def _times_drawn(rng: np.random.Generator, count: int, draws: int, at_once: int) -> Iterator[F64]:
    """Blocks ``(draw, item)`` of how often each item is among ``count`` drawn ones."""
    step = max(1, at_once)
    for start in range(0, draws, step):
        rows = min(step, draws - start)
        drawn = rng.integers(count, size=(rows, count)) + count * np.arange(rows)[:, None]
        times = np.bincount(drawn.ravel(), minlength=rows * count).reshape(rows, count)
        yield times.astype(np.float64)


def figures(
    metrics: Sequence[Metric],
    ranks: Ranks,
    groups: Sequence[Hashable] | None = None,
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> dict[str, Figure]:
    """Each metric by its name, with the interval over groups (by default each query is one)."""
    values = [metric.values(ranks) for metric in metrics]
    rows = range(len(ranks.rank)) if groups is None else groups
    drawn = _drawn(values, [metric.median for metric in metrics], rows, draws, seed)
    by_name = {}
    for metric, column in zip(metrics, drawn, strict=True):
        chance = metric.chance(ranks.items) if len(ranks.items) else math.nan
        by_name[metric.name] = Figure(figure(metric, ranks), *interval(column), chance)
    return by_name


def mean_figure(
    values: F64, groups: Sequence[Hashable] | None = None, *, seed: int = 0, draws: int = DRAWS
) -> Figure:
    """The mean of values ``(query,)`` with its interval."""
    rows = range(len(values)) if groups is None else groups
    (drawn,) = _drawn([values], [False], rows, draws, seed)
    return Figure(float(values.mean()) if len(values) else math.nan, *interval(drawn))


def _drawn(
    values: Sequence[F64],
    medians: Sequence[bool],
    groups: Sequence[Hashable],
    draws: int,
    seed: int,
) -> F64:
    """Figures ``(metric, draw)`` of resampled values, each ``(query,)``."""
    blocks = [
        [_medians(own, times) if median else _means(own, times)
         for own, median in zip(values, medians, strict=True)]
        for times in resamples(groups, draws, seed)
    ]  # fmt: skip
    return np.concatenate([np.empty((len(values), 0)), *blocks], axis=1)


def _means(values: F64, times: F64) -> F64:
    """The mean ``(draw,)`` of values ``(row,)`` that are taken so many times ``(draw, row)``."""
    with np.errstate(invalid="ignore"):  # no infinite value has a mean
        return np.asarray(times @ values / times.sum(axis=1), np.float64)


def _medians(values: F64, times: F64) -> F64:
    """The median likewise: the mean of the two in the middle."""
    if np.isnan(values).any():
        return np.full(len(times), math.nan)
    order = np.argsort(values, kind="stable")
    until = np.cumsum(times[:, order], axis=1)
    size = until[:, -1:]
    low, high = ((until <= middle).sum(axis=1) for middle in ((size - 1) // 2, size // 2))
    return np.asarray((values[order[low]] + values[order[high]]) / 2, np.float64)


def class_mean(values: Sequence[F64], *, seed: int = 0, draws: int = DRAWS) -> Figure:
    """The mean over classes of the mean over each one's values ``(query,)``, with the interval of
    drawing queries anew within each class: for these classes, whatever the number of each."""
    if not values:
        return Figure(math.nan)
    rng = np.random.default_rng(seed)
    drawn = np.zeros(draws)
    for own in values:
        blocks = _times_drawn(rng, len(own), draws, _BLOCK // max(len(own), 1))
        drawn += np.concatenate([_means(own, times) for times in blocks])
    return Figure(float(np.mean([own.mean() for own in values])), *interval(drawn / len(values)))
