"""A split by place: no place in two splits, whatever the places are and wherever they lie."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Geod

from geoloc.errors import UsageError
from geoloc.pairs.splitting import DROPPED, SPLITS, SplitRule, block_of, split_by_place

EARTH = Geod(ellps="WGS84")
degrees = st.floats(-0.05, 0.05)
centres = st.sampled_from(
    [(30.5, 50.4), (-100.0, 39.0), (180.0, 0.0), (-179.99, -16.5), (10, 89.9)]
)


def around(centre: tuple[float, float], offsets: list[tuple[float, float]]) -> np.ndarray:
    lon = [(centre[0] + dx + 180.0) % 360.0 - 180.0 for dx, _ in offsets]
    lat = [min(centre[1] + dy, 90.0) for _, dy in offsets]
    return np.stack([lon, lat], axis=1)


@settings(max_examples=60, deadline=None)
@given(
    centre=centres,
    offsets=st.lists(st.tuples(degrees, degrees), min_size=2, max_size=40),
    block=st.sampled_from([300.0, 1000.0, 5000.0]),
    buffer=st.sampled_from([0.0, 50.0, 400.0]),
    seed=st.integers(0, 5),
)
def test_no_place_is_in_two_splits_even_across_borders(
    centre: tuple[float, float],
    offsets: list[tuple[float, float]],
    block: float,
    buffer: float,
    seed: int,
) -> None:
    places = around(centre, offsets)
    dealt = split_by_place(places, SplitRule(0.3, 0.2, block, buffer, seed))
    for i, one in enumerate(places):
        for j in range(i):
            a, b = dealt.splits[i], dealt.splits[j]
            if DROPPED not in (a, b) and a != b:
                apart = EARTH.inv(*one, *places[j])[2]
                assert apart > buffer - 1e-3
                assert apart > 0


@settings(max_examples=40, deadline=None)
@given(lon=st.floats(-180, 180), lat=st.floats(-89.9, 89.9), size=st.floats(50, 20_000))
def test_blocks_are_as_wide_as_they_are_said_to_be(lon: float, lat: float, size: float) -> None:
    bearing = list(range(0, 360, 45))
    here = block_of(np.array([[lon, lat]]), size)
    beyond = EARTH.fwd([lon] * 8, [lat] * 8, bearing, [1.5 * size] * 8)[:2]
    assert not (block_of(np.stack(beyond, axis=1), size) == here).all(axis=1).any()
    beside = EARTH.fwd([lon] * 8, [lat] * 8, bearing, [0.3 * size] * 8)[:2]
    assert len(np.unique(block_of(np.stack(beside, axis=1), size), axis=0)) <= 5


def test_180_and_minus_180_are_one_place() -> None:
    rows = block_of(np.array([[180.0, 12.0], [-180.0, 12.0]]), 1000.0)
    assert (rows[0] == rows[1]).all()


def test_more_places_do_not_change_what_others_got() -> None:
    rng = np.random.default_rng(3)
    places = np.stack([rng.uniform(20, 40, 400), rng.uniform(40, 60, 400)], axis=1)
    rule = SplitRule(0.3, 0.2, 5000.0)
    some, all_ = split_by_place(places[:200], rule), split_by_place(places, rule)
    both = (some.splits != DROPPED) & (all_.splits[:200] != DROPPED)
    assert (some.splits == all_.splits[:200])[both].all()
    assert (split_by_place(places, SplitRule(0.3, 0.2, 5000.0, seed=1)).splits != all_.splits).any()


def test_shares_are_those_of_the_rule() -> None:
    rng = np.random.default_rng(0)
    places = np.stack([rng.uniform(-120, -70, 5000), rng.uniform(30, 48, 5000)], axis=1)
    counts = split_by_place(places, SplitRule(0.2, 0.1, 5000.0, 0.0)).counts()
    assert counts["test"] == pytest.approx(1000, abs=90)
    assert counts["valid"] == pytest.approx(500, abs=70)


def test_few_places_get_smaller_blocks() -> None:
    rng = np.random.default_rng(1)
    places = np.stack([rng.uniform(30.50, 30.54, 300), rng.uniform(50.40, 50.43, 300)], axis=1)
    dealt = split_by_place(places, SplitRule(buffer_m=50.0))
    assert 200 <= dealt.block_m < 5000
    assert all(dealt.counts().values())


def test_the_buffer_keeps_the_test_and_drops_from_the_training() -> None:
    stated = np.array([SPLITS.index("train"), SPLITS.index("test"), SPLITS.index("valid")], np.int8)
    places = np.array([[30.0, 50.0], [30.0005, 50.0], [31.0, 50.0]])
    dealt = split_by_place(places, SplitRule(buffer_m=100.0), stated)
    assert dealt.splits.tolist() == [DROPPED, SPLITS.index("test"), SPLITS.index("valid")]


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"test": 0.7, "valid": 0.3}, "leave some to train"),
        ({"block_m": 0.0}, "block 0 m"),
        ({"buffer_m": -1.0}, "buffer -1 m"),
    ],
)
def test_rules_that_cannot_be_followed_are_refused(rule: dict[str, float], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        SplitRule(**rule)  # type: ignore[arg-type]


def test_places_off_the_earth_are_refused() -> None:
    with pytest.raises(UsageError, match="not in degrees"):
        split_by_place(np.array([[364_500.0, 5_577_500.0]]), SplitRule())
