"""Ranks in blocks against the whole matrix of distances."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from geoloc.errors import ModelError
from geoloc.evaluation.pair_ranks import pair_ranks

WHOLE = st.integers(-3, 3).map(float)  # so that ties are many, and sums exact


@given(st.data(), st.integers(1, 12), st.integers(1, 15), st.integers(1, 3), st.integers(1, 5))
def test_ranks_count_the_places_at_most_as_far_as_the_own_one(
    data: st.DataObject, n: int, m: int, dim: int, block: int
) -> None:
    photos = data.draw(hnp.arrays(np.float32, (n, dim), elements=WHOLE))
    places = data.draw(hnp.arrays(np.float32, (m, dim), elements=WHOLE))
    own = data.draw(hnp.arrays(np.int64, n, elements=st.integers(0, m - 1)))
    found = pair_ranks(photos, places, own, block=block)
    for photo, rank, mine in zip(photos.tolist(), found.rank, own, strict=True):
        squares = [
            sum((a - b) ** 2 for a, b in zip(photo, p, strict=True)) for p in places.tolist()
        ]
        assert rank == sum(square <= squares[mine] for square in squares)
    assert (found.items == m).all()


def test_distances_that_float32_cannot_tell_apart_are_told_apart_and_equal_ones_are_equal() -> None:
    rng = np.random.default_rng(2)
    places = 1000 + rng.normal(0, 1e-3, (60, 9))
    places[40:] = places[:20]  # each of these has a twin
    photos = places + rng.normal(0, 1e-3, places.shape)
    found = pair_ranks(photos, places, np.arange(60), block=16)
    exact = ((photos[:, None] - places[None]) ** 2).sum(axis=2)
    true = exact[np.arange(60), np.arange(60)]
    assert (found.rank == (exact <= true[:, None]).sum(axis=1)).all()
    assert found.rank[:20].min() >= 2 and found.rank[40:].min() >= 2


def test_no_matrix_of_all_pairs_is_held() -> None:
    rng = np.random.default_rng(0)
    photos, places = (rng.normal(size=(5000, 6)).astype(np.float32) for _ in range(2))
    heard: list[tuple[int, int]] = []
    tracemalloc.start()
    pair_ranks(photos, places, np.arange(5000), block=250, progress=lambda *at: heard.append(at))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000  # the matrix would be 100 MB in float32
    assert heard[0] == (250, 5000) and heard[-1] == (5000, 5000) and len(heard) == 20


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("which", ["photos", "places"])
def test_vectors_that_are_no_numbers_are_refused_not_ranked_first(bad: float, which: str) -> None:
    vectors = {name: np.arange(12, dtype=np.float32).reshape(4, 3) for name in ("photos", "places")}
    vectors[which][2, 1] = bad
    with pytest.raises(ModelError, match=f"of the {which} are not finite"):
        pair_ranks(vectors["photos"], vectors["places"], np.arange(4), block=2)


@pytest.mark.parametrize("scale", [1e-30, 1e-22, 1.0, 1e20, 1e37])
def test_the_size_of_vectors_changes_no_rank(scale: float) -> None:
    """Of a training that diverged, squares exceed float32: such places were the best ones."""
    rng = np.random.default_rng(3)
    photos, places = (rng.integers(-9, 9, (12, 4)).astype(np.float32) for _ in range(2))
    expected = pair_ranks(photos, places, np.arange(12)).rank
    found = pair_ranks(photos * np.float32(scale), places * np.float32(scale), np.arange(12)).rank
    assert found.min() >= 1 and np.abs(found - expected).max() <= (scale != 1)  # ties may be told
