"""Intervals: seeded, over places, and as wide as theory says."""

from __future__ import annotations

import math

import numpy as np
import pytest

from geoloc.evaluation.bootstrap import Figure, class_mean, figures, mean_figure, resamples
from geoloc.evaluation.ranks import MiddlePercentile, Ranks, TopK


def test_photos_of_one_place_are_drawn_together() -> None:
    groups = ["b", "a", "b", "c", "a", "b"]
    rows = {"a": {1, 4}, "b": {0, 2, 5}, "c": {3}}
    counts = set()
    for drawn in resamples(groups, 50, seed=3):
        times = np.bincount(drawn, minlength=6)
        counts.add(len(drawn))
        for own in rows.values():
            assert len({times[row] for row in own}) == 1
    assert len(counts) > 1
    first, again = (np.concatenate(list(resamples(groups, 5, seed=3))) for _ in range(2))
    assert (first == again).all()
    assert list(resamples(["a", "a"], 5)) == []


def test_an_interval_is_that_of_the_normal_approximation_for_many_values() -> None:
    values = np.random.default_rng(0).exponential(2, 400)
    found = mean_figure(values)
    half = 1.96 * values.std() / 20
    assert found.value == pytest.approx(values.mean())
    assert found.low == pytest.approx(values.mean() - half, abs=0.15 * half)
    assert found.high == pytest.approx(values.mean() + half, abs=0.15 * half)
    doubled = mean_figure(np.repeat(values, 2), np.repeat(np.arange(400), 2).tolist())
    assert (doubled.low, doubled.high) == pytest.approx((found.low, found.high))


def test_each_metric_has_its_interval_and_chance() -> None:
    ranks = Ranks.of(np.arange(1, 101), 100)
    found = figures((TopK(5), MiddlePercentile(median=True)), ranks, seed=1)
    assert found["top5"].value == 5 and found["top5"].chance == 5
    assert found["top5"].low < 5 < found["top5"].high
    middle = found["median_percentile"]
    assert middle.low < 50.5 < middle.high
    assert middle.to_json()["value"] == 50.5
    alone = figures((TopK(5),), Ranks.of([3], 100))["top5"]
    assert alone.value == 100 and alone.to_json()["ci"] == [None, None]


def test_each_class_counts_the_same() -> None:
    classes = [np.zeros(90), np.ones(10), np.array([0.5])]
    found = class_mean(classes)
    assert found.value == pytest.approx(0.5) and (found.low, found.high) == (0.5, 0.5)
    mixed = class_mean([np.array([0.0, 1.0] * 50), np.ones(4)])
    assert mixed.low < 0.75 < mixed.high and math.isnan(Figure(1.0).low)
