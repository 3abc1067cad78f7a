"""Scores of several models on one scale, against writing them out."""

from __future__ import annotations

import numpy as np
import pytest

from geoloc.errors import UsageError
from geoloc.evaluation.tandem import Bank, by_places, fused


def test_a_bank_takes_away_what_a_place_is_to_every_photo() -> None:
    rng = np.random.default_rng(0)
    near = np.array([0.0, 3.0, 1.0, -2.0])  # the last place is near to everything
    bank = Bank.of(5 + near + rng.normal(0, 0.5, (200, 4)))
    np.testing.assert_allclose(bank.mean, 5 + near, atol=0.15)
    assert bank.spread == pytest.approx(0.5, rel=0.1)
    distances = 5 + near + np.array([[0, -1, 0, 0]])
    scores = bank.scores(distances)
    assert scores.shape == (1, 4) and scores[0].argmin() == 1 and distances[0].argmin() == 3
    np.testing.assert_allclose(scores, (distances - bank.mean) / bank.spread)


def test_missing_places_stay_missing_and_do_not_spread() -> None:
    rng = np.random.default_rng(1)
    full = rng.normal(5, 1, (20, 3, 2))
    with_gap = full.copy()
    with_gap[:, 1, 1] = np.nan
    scores = Bank.of(with_gap).scores(with_gap[:2])
    assert np.isnan(scores[:, 1, 1]).all() and np.isfinite(scores[:, 0]).all()
    together = fused([np.array([1.0, np.nan]), np.array([3.0, 4.0])])
    assert together[0] == 2 and np.isnan(together[1])


def test_by_places_is_the_z_score_of_each_photo() -> None:
    values = np.array([[1.0, 2.0, 6.0, np.nan], [4.0, 4.0, 4.0, 4.0]])
    found = by_places(values)
    np.testing.assert_allclose(found[0, :3], (values[0, :3] - 3) / values[0, :3].std())
    assert np.isnan(found[0, 3]) and (found[1] == 0).all()
    scaled = by_places(values * 1000 + 7)  # whatever the size of a model's distances
    np.testing.assert_allclose(scaled[0, :3], found[0, :3])


@pytest.mark.parametrize("bank", [np.zeros((7, 3)), np.ones((20, 3)), np.full((20, 3), np.nan)])
def test_a_bank_that_says_nothing_is_refused(bank: np.ndarray) -> None:
    with pytest.raises(UsageError, match="bank"):
        Bank.of(bank)


def test_weights_are_relative_and_fit_the_models() -> None:
    scores = [np.array([1.0, 2.0]), np.array([5.0, 0.0])]
    np.testing.assert_allclose(fused(scores, [3, 1]), [2.0, 1.5])
    np.testing.assert_allclose(fused(scores, [0, 2]), scores[1])
    for weights in ([1], [1, -1], [0, 0], [1, np.nan]):
        with pytest.raises(UsageError, match="2 models"):
            fused(scores, weights)
