"""The translator between two feature spaces against comparing everything with everything."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from geoloc.errors import UsageError
from geoloc.search import translating
from geoloc.search.translating import Translator


def naive(
    source: NDArray[np.float32], target: NDArray[np.float32], x: NDArray[np.float32], k: int,
    power: float,
) -> NDArray[np.float64]:  # fmt: skip
    """One vector, in plain loops."""
    away = [float(np.sqrt(((x.astype(float) - row) ** 2).sum())) for row in source.astype(float)]
    near = sorted(range(len(away)), key=lambda i: (away[i], i))[:k]
    if power > 0 and any(away[i] == 0 for i in near):
        near = [i for i in near if away[i] == 0]
        return np.mean([target[i].astype(float) for i in near], axis=0)
    weights = [away[i] ** -power if power else 1.0 for i in near]
    total = sum(w * target[i].astype(float) for w, i in zip(weights, near, strict=True))
    return np.asarray(total / sum(weights))


@given(
    st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 6), st.integers(1, 4),
    st.sampled_from([0.0, 1.0, 2.0]), st.integers(1, 7),
)  # fmt: skip
def test_it_is_what_comparing_everything_gives(
    seed: int, examples: int, dim: int, values: int, power: float, block: int
) -> None:
    rng = np.random.default_rng(seed)
    source = rng.integers(-3, 4, (examples, dim)).astype(np.float32)  # so that many are equal
    target = rng.normal(0, 1, (examples, values)).astype(np.float32)
    x = rng.integers(-3, 4, (5, dim)).astype(np.float32)
    k = int(rng.integers(1, examples + 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(translating, "_BLOCK", block)
        patch.setattr(translating, "_ROWS", 2)
        found = Translator(source, target, k, power).translate(x)
    for got, row in zip(found, x, strict=True):
        np.testing.assert_allclose(got, naive(source, target, row, k, power), rtol=1e-5, atol=1e-6)


def test_an_example_is_itself_and_missing_stays_missing() -> None:
    rng = np.random.default_rng(0)
    source = (1000 + rng.normal(0, 1, (300, 12))).astype(np.float32)  # far from 0: digits are lost
    target = rng.normal(0, 1, (300, 3)).astype(np.float32)
    translator = Translator(source, target)
    np.testing.assert_allclose(translator.translate(source), target, rtol=1e-6)
    x = source[:6].reshape(2, 3, 12).copy()
    x[1, 2, 5] = np.nan
    found = translator.translate(x)
    assert found.shape == (2, 3, 3)
    np.testing.assert_array_equal(np.isnan(found).all(-1), np.isnan(x).any(-1))


def test_a_smooth_map_between_spaces_is_learnt() -> None:
    rng = np.random.default_rng(1)
    hidden = rng.normal(0, 1, (4000, 3))
    one, other = (hidden @ rng.normal(0, 1, (3, 8)) for _ in range(2))
    translator = Translator(np.float32(one[:3900]), np.float32(other[:3900]))
    error = translator.translate(one[3900:]) - other[3900:]
    assert (error**2).mean() < 0.05 * other.var()


@pytest.mark.parametrize(
    ("source", "target", "keywords"),
    [
        (np.zeros((3, 2)), np.zeros((2, 2)), {"k": 1}),
        (np.zeros((0, 2)), np.zeros((0, 2)), {"k": 1}),
        (np.zeros(3), np.zeros((3, 1)), {"k": 1}),
        (np.full((3, 2), np.nan), np.zeros((3, 2)), {"k": 1}),
        (np.zeros((3, 2)), np.zeros((3, 2)), {"k": 4}),
        (np.zeros((3, 2)), np.zeros((3, 2)), {"k": 0}),
        (np.zeros((3, 2)), np.zeros((3, 2)), {"k": 1, "power": -1}),
    ],
)
def test_examples_that_do_not_fit_are_one_line(
    source: NDArray[np.float64], target: NDArray[np.float64], keywords: dict[str, float]
) -> None:
    with pytest.raises(UsageError) as told:
        Translator(source, target, **keywords)  # type: ignore[arg-type]
    assert "\n" not in str(told.value)


def test_vectors_of_another_length_are_one_line() -> None:
    with pytest.raises(UsageError, match="2 values"):
        Translator(np.zeros((3, 2), np.float32), np.zeros((3, 2), np.float32), 1).translate([1.0])
