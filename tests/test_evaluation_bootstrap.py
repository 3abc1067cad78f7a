"""Intervals: seeded, over places, and as wide as theory says."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from geoloc.evaluation import bootstrap
from geoloc.evaluation.bootstrap import Figure, class_mean, figures, mean_figure, resamples
from geoloc.evaluation.ranks import MiddlePercentile, Ranks, TopK


def test_photos_of_one_place_are_drawn_together() -> None:
    groups = ["b", "a", "b", "c", "a", "b"]
    rows = {"a": [1, 4], "b": [0, 2, 5], "c": [3]}
    (times,) = resamples(groups, 50, seed=3)
    assert times.shape == (50, 6)
    of_groups = np.array([times[:, own[0]] for own in rows.values()])
    for own, drawn in zip(rows.values(), of_groups, strict=True):
        assert (times[:, own] == drawn[:, None]).all()
    assert (of_groups.sum(axis=0) == 3).all() and len(set(times.sum(axis=1))) > 1
    first, again = (np.concatenate(list(resamples(groups, 5, seed=3))) for _ in range(2))
    assert (first == again).all()
    assert list(resamples(["a", "a"], 5)) == []


@pytest.mark.parametrize("median", [False, True])
@pytest.mark.parametrize("groups", [range(9), [3, 1, 3, 3, 0, 1, 2, 2, 1]])
def test_drawn_figures_are_those_of_the_rows_that_were_drawn(
    groups: Sequence[int], median: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap, "_BLOCK", 60)  # draws in several blocks
    ranks = Ranks.of([5, 900, 5, 31, 7, 7, 120, 1, 2], 1000)
    metric = MiddlePercentile(median=median)
    found = figures((metric,), ranks, groups, draws=200, seed=4)[metric.name]
    values = metric.values(ranks)
    rng = np.random.default_rng(4)
    order = sorted(set(groups))
    drawn = []
    for _ in range(200):
        taken = [order[k] for k in rng.integers(len(order), size=len(order))]
        own = [values[row] for name in taken for row, group in enumerate(groups) if group == name]
        drawn.append(np.median(own) if median else np.mean(own))
    assert (found.low, found.high) == pytest.approx(np.quantile(drawn, [0.025, 0.975]))


def test_unknown_and_infinite_values_give_no_interval_but_where_a_median_needs_none() -> None:
    for value in (math.nan, math.inf):
        assert math.isnan(mean_figure(np.array([1.0, value, 2.0])).low)
    far = Ranks.of(np.array([1, 2, 3, 4, 5, 6, 7, math.inf]), 100)
    middle = MiddlePercentile(median=True)
    assert math.isfinite(figures((middle,), far, seed=1, draws=20)[middle.name].low)


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
