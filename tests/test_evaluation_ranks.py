"""Metrics of ranks against counts by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoloc.evaluation.ranks import (
    ON_A_MAP,
    STUDY,
    MiddlePercentile,
    Ranks,
    TopPercent,
    figure,
    recall_curve,
)

RANKED = st.lists(
    st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(1, n), st.just(n))), min_size=1
)


@given(RANKED)
def test_figures_are_those_of_counting(ranked: list[tuple[int, int]]) -> None:
    ranks = Ranks.of(*zip(*ranked, strict=True))
    found = {metric.name: figure(metric, ranks) for metric in (*STUDY, *ON_A_MAP)}
    many = len(ranked)
    for k in (1, 5, 10):
        assert found[f"top{k}"] == pytest.approx(100 * sum(r <= k for r, _ in ranked) / many)
        share = sum(r * 100 <= k * n for r, n in ranked) / many
        assert found[f"top{k}pct"] == pytest.approx(100 * share)
    assert found["mean_rank"] == pytest.approx(sum(r for r, _ in ranked) / many)
    assert found["median_rank"] == np.median([r for r, _ in ranked])
    assert found["median_percentile"] == pytest.approx(np.median([100 * r / n for r, n in ranked]))
    steps = np.linspace(0, 1, 100_001)  # the area under the curve, by its definition
    area = recall_curve(ranks, steps)[:-1].mean()
    assert found["area_under_recall"] == pytest.approx(area, abs=1e-4)


def test_chance_is_what_random_ranks_give() -> None:
    items = np.repeat([40.0, 250.0], 20_000)
    drawn = np.random.default_rng(1).integers(1, items + 1)
    ranks = Ranks.of(drawn, items)
    for metric in (*STUDY, *ON_A_MAP):
        if metric.median:
            continue
        spread = metric.values(ranks).std() / math.sqrt(len(items))
        assert metric.chance(items) == pytest.approx(figure(metric, ranks), abs=4 * spread + 1e-9)


def test_the_best_percent_needs_a_whole_rank_and_none_gives_no_figure() -> None:
    assert TopPercent(1).values(Ranks.of([1, 2, 3], 200)).tolist() == [100, 100, 0]
    assert TopPercent(1).values(Ranks.of([1], 99)).tolist() == [0]
    assert math.isnan(figure(MiddlePercentile(), Ranks.of([], 5)))
