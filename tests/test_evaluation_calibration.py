"""Levels: their definition, and that they hold for places that were not seen."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoloc.evaluation.calibration import calibrate, left_out, level, place_weights
from geoloc.evaluation.ranks import Ranks


@given(st.lists(st.integers(1, 20), min_size=1, max_size=40), st.sampled_from([50, 80, 90]))
def test_a_level_is_the_value_of_rank_p_times_n_plus_one(values: list[int], percent: int) -> None:
    shares = np.array(values) / 20
    rank = math.ceil(round(percent * (len(values) + 1) / 100, 9))
    expected = sorted(shares)[rank - 1] if rank <= len(values) else 1.0
    assert level(shares, np.ones(len(values)), percent) == expected


def test_a_place_counts_once_whatever_the_number_of_its_photos() -> None:
    shares, groups = np.array([0.1, 0.9, 0.9, 0.9, 0.3]), ["a", "b", "b", "b", "c"]
    weights = place_weights(groups)
    assert weights.tolist() == pytest.approx([1, 1 / 3, 1 / 3, 1 / 3, 1])
    assert level(shares, weights, 50) == 0.3  # of four places at random two
    assert level(shares, weights, 95) == 1.0  # three places cannot tell


def test_places_are_left_out_with_all_their_photos() -> None:
    rng = np.random.default_rng(1)
    shares, groups = rng.random(40), rng.integers(0, 15, 40)
    weights = place_weights(groups)
    expected = [
        share <= level(shares[groups != own], weights[groups != own], 80)
        for share, own in zip(shares, groups, strict=True)
    ]
    assert left_out(shares, groups.tolist(), 80).tolist() == expected


def test_what_is_stated_holds_for_new_places_of_the_same_kind() -> None:
    rng = np.random.default_rng(5)
    held = []
    for _ in range(300):
        seen, unseen = rng.beta(1, 12, (2, 60))
        held.append(100 * (unseen <= level(seen, np.ones(60), 80)).mean())
    assert np.mean(held) == pytest.approx(80, abs=2)  # one draw of 60 alone is off by 5
    ranks = Ranks.of(np.ceil(rng.beta(1, 12, 150) * 1e4), 1e4)
    found = calibrate(ranks, range(150), model="m", source="s")
    assert 75 <= (found.levels[80].coverage or 0) <= 85
    share = found.share() or 0
    assert 100 * (ranks.share <= share).mean() == pytest.approx(80, abs=2)
    assert found.photos == found.places == 150
    assert found.levels[50].share < share < found.levels[95].share
