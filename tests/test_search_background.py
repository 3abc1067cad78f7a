"""The distribution of all distances, against sorting them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoloc.search import Background
from geoloc.search.background import BINS, edges


def background(distances: list[float]) -> Background:
    counts, _ = np.histogram(np.asarray(distances, np.float32), edges())
    return Background(counts.astype(np.int64))


some = st.lists(st.floats(0.125, 5000, width=32), min_size=1, max_size=60)


@given(distances=some)
def test_shares_are_right_to_a_bin_and_rise(distances: list[float]) -> None:
    known, at = background(distances), np.sort(distances)
    shares = known.share(at)
    for value, share in zip(at, shares, strict=True):
        low, high = value * (1 - 1 / 100), value * (1 + 1 / 100)
        assert np.mean(at < low) - 1e-9 <= share <= np.mean(at <= high) + 1e-9
    assert (np.diff(shares) >= 0).all() and known.total == len(distances)
    assert (shares >= 0).all() and shares.max() <= 1


@given(distances=some)
def test_quantiles_undo_shares(distances: list[float]) -> None:
    known, at = background(distances), np.array(distances)
    share = known.share(at)
    inner = share > 0  # on the lower edge of the first bin every smaller distance has the same
    np.testing.assert_allclose(known.quantile(share)[inner], at[inner], rtol=0.009)
    assert (np.diff(known.quantile(np.linspace(0, 1, 30))) >= 0).all()
    assert known.quantile(np.array([1.0]))[0] <= max(distances) * 1.01


def test_of_nothing_nothing_is_known() -> None:
    empty = Background(np.zeros(BINS, np.int64))
    assert np.isnan(empty.quantile(np.array([0.5]))).all() and empty.total == 0
    assert empty.share(np.array([1.0])).tolist() == [0.0]


def test_bins_are_a_hundred_and_twenty_eighth_of_an_octave() -> None:
    told = edges()
    assert len(told) == BINS + 1 and told[0] == 0 and told[1] == pytest.approx(2**-16, rel=0.01)
    assert told[-1] == 2.0**24 and (np.diff(told[1:]) / told[1:-1]).max() <= 1 / 128
