"""How often the region of a true place is good, and what that is worth: the study's measure.

A region that is flagged by chance holds the truth as often as it is flagged, so a share of
photos whose true region is good says nothing without the share of regions that are.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..candidates.regions import RankedRegions
from .bootstrap import Figure, figures, mean_figure
from .ranks import AreaUnderRecall, MiddlePercentile, Ranks, TopPercent
from .truth import Truth

_OF_RANKS = (TopPercent(5), TopPercent(10), TopPercent(15), TopPercent(30),
             MiddlePercentile(median=True), AreaUnderRecall())  # fmt: skip


@dataclass(frozen=True)
class RegionScore:
    """How the region that holds the true place did: whether it is good, and its rank from 1 among
    the known ``regions`` (None where nothing is known of it); the share of those that are good."""

    good: bool
    rank: int | None
    regions: int
    good_share: float

    @classmethod
    def of(cls, ranked: RankedRegions, truth: Truth) -> RegionScore:
        """Of one answer."""
        region, known = ranked.region_of(truth.lon, truth.lat), len(ranked.order)
        share = len(ranked.best_good) / max(known, 1)
        if region is None or ranked.rank[region] <= 0:
            return cls(False, None, known, share)
        return cls(bool(ranked.good[region]), int(ranked.rank[region]), known, share)

    @property
    def rank_or_last(self) -> int:
        """A region of which nothing is known is found after all others."""
        return self.regions if self.rank is None else self.rank


def ranks_of(scores: Iterable[RegionScore]) -> Ranks:
    """Of the true regions, each among those of its answer."""
    given = [(one.rank_or_last, max(one.regions, 1)) for one in scores]
    rank, regions = np.array(given, np.float64).reshape(-1, 2).T
    return Ranks(rank, regions)


def region_figures(
    scores: Sequence[RegionScore], groups: Sequence[Hashable] | None = None, seed: int = 0
) -> dict[str, Figure]:
    """Percentages of photos and of regions, with intervals over groups (of one place).

    truth_in_good: photos whose true region is good; good_share: regions that are, so what as many
    random ones would give. gain: the difference of these two, photo by photo. The others are of the
    rank of the true region, whatever the rule calls good.
    """
    good = np.array([100.0 * one.good for one in scores])
    share = np.array([100.0 * one.good_share for one in scores])
    return {
        "truth_in_good": mean_figure(good, groups, seed=seed),
        "good_share": mean_figure(share, groups, seed=seed),
        "gain": mean_figure(good - share, groups, seed=seed),
        **figures(_OF_RANKS, ranks_of(scores), groups, seed=seed),
    }


def shares(scores: Sequence[RegionScore]) -> dict[str, float | None]:
    """The share (0..1) of photos whose true region is good, and the mean share of good regions."""
    if not scores:
        return {"truth_in_good": None, "good_share": None}
    return {
        "truth_in_good": round(float(np.mean([one.good for one in scores])), 4),
        "good_share": round(float(np.mean([one.good_share for one in scores])), 4),
    }


def region_items(scores: Mapping[str, RegionScore]) -> dict[str, Any]:
    """One photo's, by what regions are ranked by, for machines."""
    return {
        name: {"good": one.good, "rank": one.rank, "regions": one.regions,
               "good_share": round(one.good_share, 4)}
        for name, one in scores.items()
    }  # fmt: skip
