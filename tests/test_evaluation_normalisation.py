"""Normalised scores against their formulas, cell by cell."""

from __future__ import annotations

import math

import numpy as np
import pytest

from geoloc.evaluation.normalisation import KINDS, BackgroundRank, InvertedSoftmax

RNG = np.random.default_rng(7)
DISTANCES, BANK = (RNG.integers(0, 5, (n, 30)).astype(np.float32) / 2 for n in (4, 9))


def test_the_inverted_softmax_is_the_logarithm_of_a_softmax_over_photos() -> None:
    found = InvertedSoftmax(3.0).scores(DISTANCES, BANK)
    for (photo, cell), score in np.ndenumerate(found):
        others = sum(math.exp(-3 * d) for d in BANK[:, cell]) / 9
        softmax = math.exp(-3 * DISTANCES[photo, cell]) / others
        assert score == pytest.approx(-math.log(softmax) / 3, abs=1e-5)


def test_the_background_rank_counts_the_bank_and_breaks_ties_by_distance() -> None:
    found = BackgroundRank().scores(DISTANCES, BANK)
    for (photo, cell), score in np.ndenumerate(found):
        own = DISTANCES[photo, cell]
        assert math.floor(score) == sum(BANK[:, cell] <= own)
        assert score - math.floor(score) == pytest.approx(own / (1 + own), abs=1e-6)


def test_missing_cells_stay_missing() -> None:
    distances, bank = DISTANCES.copy(), BANK.copy()
    distances[:, 3] = bank[:, 3] = np.nan
    for kind in KINDS.values():
        assert (np.isnan(kind.scores(distances, bank)) == np.isnan(distances)).all()
