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

from ..arrays import F64, I64
from .ranks import Metric, Ranks, figure

DRAWS = 1000
LEVEL = 0.95
_MOST = 100_000_000  # values drawn in all: of millions of photos fewer draws do
_FEWEST = 100
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


def resamples(groups: Sequence[Hashable], draws: int = DRAWS, seed: int = 0) -> Iterator[I64]:
    """For each draw the rows that it takes, with repetitions: all rows of each drawn group.

    Nothing where there are fewer than two groups. Of many rows there are fewer draws.
    """
    _, group = np.unique(np.asarray(groups), return_inverse=True)
    count = int(group.max(initial=-1)) + 1
    if count < _SEVERAL:
        return
    rng = np.random.default_rng(seed)
    order = np.argsort(group, kind="stable")
    sizes = np.bincount(group, minlength=count)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    for _ in range(max(min(draws, _MOST // len(group)), min(draws, _FEWEST))):
        drawn = rng.integers(count, size=count)
        yield order[_rows(starts[drawn], sizes[drawn])]


def _rows(starts: I64, sizes: I64) -> I64:
    """The ranges ``start .. start + size`` one after the other."""
    ends = np.cumsum(sizes)
    return np.asarray(np.arange(ends[-1]) + np.repeat(starts - (ends - sizes), sizes), np.int64)


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
    samples = [
        [float(np.median(v[rows]) if m else v[rows].mean())
         for v, m in zip(values, medians, strict=True)]
        for rows in resamples(groups, draws, seed)
    ]  # fmt: skip
    return np.array(samples, np.float64).reshape(-1, len(values)).T


def class_mean(values: Sequence[F64], *, seed: int = 0, draws: int = DRAWS) -> Figure:
    """The mean over classes of the mean over each one's values ``(query,)``, with the interval of
    drawing queries anew within each class: for these classes, whatever the number of each."""
    if not values:
        return Figure(math.nan)
    rng = np.random.default_rng(seed)
    drawn = np.zeros(draws)
    for own in values:
        drawn += [own[rng.integers(len(own), size=len(own))].mean() for _ in range(draws)]
    return Figure(float(np.mean([own.mean() for own in values])), *interval(drawn / len(values)))
