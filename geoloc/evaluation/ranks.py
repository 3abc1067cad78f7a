"""Where the true place stands among all: ranks, the study's figures of them, and chance.

A rank counts the distances that are at most the true one, so ties count against (1 is best). Each
metric is a small frozen object that makes a value of every rank, and a figure of the values.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike

from ..arrays import F64
from ..search import Heatmap, standing


@dataclass(frozen=True)
class Placement:
    """The rank (1 is best) of one photo's true cell among ``cells`` with a distance."""

    photo: str
    rank: float
    cells: int

    @property
    def percentile(self) -> float:
        """100 * rank / cells: lower is better, chance is 50."""
        return 100 * self.rank / self.cells


def place(
    photo: str,
    heatmap: Heatmap,
    cell: tuple[int, int],
    ties: Literal["worst", "middle"] = "worst",
) -> Placement | None:
    """The placement of a photo taken in ``cell`` of a heatmap ``(y, x)``; None if that is missing.

    Its rank is how many cells are at least as near. ``ties="worst"`` counts every equal cell, as
    the study does; "middle" counts half of the other equal ones, which is fair to a method with
    few distinct values.
    """
    value = float(heatmap[cell])
    if not math.isfinite(value):
        return None
    true = standing(heatmap, value)
    equal = true.equal if ties == "worst" else (true.equal + 1) / 2
    return Placement(photo, float(true.smaller + equal), true.known)


@dataclass(frozen=True)
class Summary:
    """Figures over many photos; ``top…``: percentage of photos, 0 to 100."""

    photos: int
    missing: int
    median_percentile: float
    mean_percentile: float
    top1pct: float
    top5pct: float
    top10pct: float

    def as_dict(self) -> dict[str, float]:
        """For JSON."""
        return asdict(self)

    def __str__(self) -> str:
        left_out = f"{self.missing} of {self.photos + self.missing} photos are not counted, as the "
        left_out += "cube has no vector where they were taken"
        if not self.photos:
            return left_out if self.missing else "no photos to count"
        plural = "s" * (self.photos != 1)
        figures = (
            f"{self.photos} photo{plural}: true cell at the {self.median_percentile:.1f}th "
            f"percentile (median; chance 50), in the best 1 % for {self.top1pct:.0f} %, "
            f"5 % for {self.top5pct:.0f} %, 10 % for {self.top10pct:.0f} %"
        )
        return f"{figures}; {left_out}" if self.missing else figures


def summarize(placements: Iterable[Placement | None]) -> Summary:
    """Median percentile and top-k figures; photos without a placement are counted as missing."""
    given = list(placements)
    placed = [placement for placement in given if placement is not None]
    ranks = Ranks.of_placements(placed)
    measured = {metric.name: figure(metric, ranks) for metric in ON_A_MAP[:-1]}
    return Summary(len(placed), len(given) - len(placed), **measured)


@dataclass(frozen=True, eq=False)
class Ranks:
    """Ranks of true places ``(query,)``, 1 is best, each among so many ``items`` ``(query,)``."""

    rank: F64
    items: F64

    @classmethod
    def of(cls, rank: ArrayLike, items: ArrayLike) -> Ranks:
        """One number of items may stand for all queries."""
        ranks = np.asarray(rank, np.float64)
        return cls(ranks, np.broadcast_to(np.asarray(items, np.float64), ranks.shape))

    @classmethod
    def of_placements(cls, placements: Iterable[Placement]) -> Ranks:
        """Those of photos on a cube."""
        given = [(placement.rank, placement.cells) for placement in placements]
        rank, cells = np.array(given, np.float64).reshape(-1, 2).T
        return cls(rank, cells)

    @property
    def share(self) -> F64:
        """``(query,)``: which share (0..1) of the items is at least as near as the true one."""
        return self.rank / self.items


class Metric(Protocol):
    """A figure of ranks: the mean, or else the median, of a value of each."""

    @property
    def name(self) -> str: ...

    @property
    def median(self) -> bool: ...

    def values(self, ranks: Ranks) -> F64:
        """``(query,)``."""
        ...

    def chance(self, items: F64) -> float:
        """What a uniformly random rank among ``items`` ``(query,)`` is expected to give."""
        ...


@dataclass(frozen=True)
class TopK:
    """Percentage of queries whose true place is among the best ``k``."""

    k: int
    median = False

    @property
    def name(self) -> str:
        """Such as ``top5``."""
        return f"top{self.k}"

    def values(self, ranks: Ranks) -> F64:
        """100 or 0."""
        return np.asarray(100.0 * (ranks.rank <= self.k))

    def chance(self, items: F64) -> float:
        """k of the items."""
        return float(np.mean(100 * np.minimum(self.k / items, 1)))


@dataclass(frozen=True)
class TopPercent:
    """Percentage of queries whose true place is among the best ``percent``: rank * 100 <= N."""

    percent: float
    median = False

    @property
    def name(self) -> str:
        """Such as ``top5pct``."""
        return f"top{self.percent:g}pct"

    def values(self, ranks: Ranks) -> F64:
        """100 or 0."""
        return np.asarray(100.0 * (ranks.rank * 100 <= self.percent * ranks.items))

    def chance(self, items: F64) -> float:
        """As many whole ranks as the percentage holds."""
        return float(np.mean(100 * np.floor(self.percent * items / 100) / items))


@dataclass(frozen=True)
class MiddleRank:
    """The mean or the median rank."""

    median: bool = False

    @property
    def name(self) -> str:
        """``mean_rank`` or ``median_rank``."""
        return f"{'median' if self.median else 'mean'}_rank"

    def values(self, ranks: Ranks) -> F64:
        """The ranks themselves."""
        return ranks.rank

    def chance(self, items: F64) -> float:
        """The middle one."""
        return float((_middle(items, self.median) + 1) / 2)


@dataclass(frozen=True)
class MiddlePercentile:
    """The mean or the median percentile of the true place, 100 * rank / N."""

    median: bool = False

    @property
    def name(self) -> str:
        """``mean_percentile`` or ``median_percentile``."""
        return f"{'median' if self.median else 'mean'}_percentile"

    def values(self, ranks: Ranks) -> F64:
        """0 to 100."""
        return 100 * ranks.share

    def chance(self, items: F64) -> float:
        """50, and a little more where items are few."""
        return float(50 * (1 + 1 / _middle(items, self.median)))


@dataclass(frozen=True)
class AreaUnderRecall:
    """Area under the curve of recall (which share of the true places is found) against the share
    of the items that is searched, the best first: 1 is perfect, chance 0.5."""

    median = False
    name = "area_under_recall"

    def values(self, ranks: Ranks) -> F64:
        """A query is found from its own share on."""
        return 1 - ranks.share

    def chance(self, items: F64) -> float:
        """0.5, and a little less where items are few."""
        return float(np.mean(0.5 - 0.5 / items))


def _middle(items: F64, median: bool) -> float:
    return float(np.median(items) if median else np.mean(items))


STUDY: tuple[Metric, ...] = (
    TopK(1), TopK(5), TopK(10), TopPercent(1), TopPercent(5), TopPercent(10),
    MiddleRank(), MiddleRank(median=True),
)  # fmt: skip
"""The figures of the study."""

ON_A_MAP: tuple[Metric, ...] = (
    MiddlePercentile(median=True), MiddlePercentile(), TopPercent(1), TopPercent(5),
    TopPercent(10), AreaUnderRecall(),
)  # fmt: skip
"""Those of photos on a cube, where the number of cells means nothing."""


def figure(metric: Metric, ranks: Ranks) -> float:
    """A metric of ranks; NaN of none."""
    values = metric.values(ranks)
    if not len(values):
        return math.nan
    return float(np.median(values) if metric.median else np.mean(values))


def recall_curve(ranks: Ranks, shares: ArrayLike) -> F64:
    """``(share,)``: which part (0..1) of the true places is found in these shares of the items."""
    ranked = np.sort(ranks.share)
    return np.searchsorted(ranked, np.asarray(shares, np.float64), side="right") / max(
        len(ranked), 1
    )
