"""How often the true region is good: by hand, and against flags drawn at random."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from geoloc.evaluation.regions import (
    RegionScore,
    ranks_of,
    region_figures,
    region_items,
    shares,
)
from geoloc.evaluation.truth import Truth

SCORES = (
    RegionScore(True, 2, 50, 0.1),
    RegionScore(False, 20, 50, 0.2),
    RegionScore(False, None, 50, 0.3),
    RegionScore(True, 5, 40, 0.4),
)


def _ranked(region: int | None, rank: list[int], good: list[bool]) -> Any:
    order = np.flatnonzero(rank)
    return SimpleNamespace(
        region_of=lambda _lon, _lat: region, order=order, rank=np.array(rank),
        good=np.array(good), best_good=order[np.array(good)[order]],
    )  # fmt: skip


def test_a_score_is_that_of_the_region_that_holds_the_truth() -> None:
    truth = Truth("a.jpg", 30.0, 50.0)
    rank, good = [3, 0, 1, 2], [False, False, True, True]
    assert RegionScore.of(_ranked(2, rank, good), truth) == RegionScore(True, 1, 3, 2 / 3)
    assert RegionScore.of(_ranked(0, rank, good), truth) == RegionScore(False, 3, 3, 2 / 3)
    unknown, outside = (RegionScore.of(_ranked(at, rank, good), truth) for at in (1, None))
    assert unknown == outside == RegionScore(False, None, 3, 2 / 3)


def test_figures_by_hand_a_region_of_which_nothing_is_known_is_found_last() -> None:
    found = region_figures(SCORES)
    assert found["truth_in_good"].value == 50
    assert found["good_share"].value == pytest.approx(25)
    assert found["gain"].value == pytest.approx(25)
    assert ranks_of(SCORES).share.tolist() == [0.04, 0.4, 1.0, 0.125]
    assert found["top5pct"].value == 25 and found["top15pct"].value == 50
    assert found["median_percentile"].value == pytest.approx(100 * (0.4 + 0.125) / 2)
    assert shares(SCORES) == {"truth_in_good": 0.5, "good_share": 0.25}
    assert shares([]) == {"truth_in_good": None, "good_share": None}
    assert region_items({"minimum": SCORES[1]}) == {
        "minimum": {"good": False, "rank": 20, "regions": 50, "good_share": 0.2}
    }


def test_regions_that_are_flagged_at_random_gain_nothing() -> None:
    rng = np.random.default_rng(3)
    scores = []
    for _ in range(3000):
        flagged = int(rng.integers(1, 20))
        rank = int(rng.integers(1, 51))
        scores.append(RegionScore(bool(rng.random() < flagged / 50), rank, 50, flagged / 50))
    found = region_figures(scores, seed=1)
    assert found["gain"].low < 0 < found["gain"].high
    hits = found["truth_in_good"]
    assert hits.low < found["good_share"].value < hits.high
    assert found["area_under_recall"].value == pytest.approx(0.49, abs=0.02)


def test_photos_of_one_place_are_drawn_together() -> None:
    twice = [score for score in SCORES for _ in range(2)]
    alone, paired = region_figures(twice), region_figures(twice, [0, 0, 1, 1, 2, 2, 3, 3])
    width = [one["gain"].high - one["gain"].low for one in (alone, paired)]
    assert width[1] > width[0] and alone["gain"].value == paired["gain"].value
