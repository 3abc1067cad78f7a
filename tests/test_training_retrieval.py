"""Figures of places and of classes, against counting by hand."""

from __future__ import annotations

import numpy as np

from geoloc.evaluation import ClassRetrieval, Summary
from geoloc.training.data import ArrayChips, PairData
from geoloc.training.retrieval import own_distances, retrieve

RNG = np.random.default_rng(4)


def of(rows: list[list[int]], groups: list[int], photos: int) -> PairData:
    chips = ArrayChips(np.zeros((len(rows), 3, 2, 2), np.uint8))
    targets = RNG.normal(0, 1, (photos, 3)).astype(np.float32)
    return PairData(chips, targets, tuple(np.array(r) for r in rows), np.array(groups))


def test_places_are_ranked_among_all_chips() -> None:
    data = of([[3], [0, 4], [1]], [0, 1, 2], 5)  # photo 2 belongs to another split
    own = {3: 0, 0: 1, 4: 1, 1: 2}
    assert data.own is not None
    assert dict(zip(data.photos.tolist(), data.own.tolist(), strict=True)) == own
    predicted = RNG.normal(0, 1, (3, 3)).astype(np.float32)
    metric = RNG.normal(0, 1, (3, 3)).astype(np.float32)
    found = retrieve(data, predicted, metric)
    ranks = []
    for photo in data.photos:
        apart = np.linalg.norm((data.targets[photo] - predicted) @ metric, axis=1)
        ranks.append((apart <= apart[own[int(photo)]]).sum())
    assert isinstance(found.figures, Summary)
    assert np.isclose(found.figures.median_percentile, 100 * np.median(ranks) / 3)
    assert np.isclose(found.score, -np.log(np.array(ranks) / 3).mean())
    apart_own = own_distances(data, predicted, metric)
    assert apart_own is not None
    wanted = np.linalg.norm((data.targets[3] - predicted[0]) @ metric) / np.sqrt(3)
    assert np.isclose(apart_own[data.photos.tolist().index(3)], wanted)


def test_what_belongs_together_by_groups_is_measured_by_classes() -> None:
    for rows, groups in (([[0, 1], [0, 1], [2]], [0, 0, 1]), ([[0], [0], [1]], [0, 1, 2])):
        data = of(rows, groups, 3)
        assert data.own is None
        found = retrieve(data, RNG.normal(0, 1, (3, 3)).astype(np.float32), None)
        assert isinstance(found.figures, ClassRetrieval)
        assert own_distances(data, np.zeros((3, 3), np.float32), None) is None
