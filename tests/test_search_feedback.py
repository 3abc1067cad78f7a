"""Relevance feedback: as its definition computes it, photo by photo."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from geoloc.models import Distance, FeatureSpace
from geoloc.search.feedback import AWAY, SHARE, TOWARDS, with_feedback

DIM = 6


def distances() -> list[Distance]:
    """Plain, weighted, and by a metric."""
    rng, names = np.random.default_rng(2), tuple(map(str, range(DIM)))
    weights = np.float32([1, 2, 0, 1, 0.5, 3])
    metric = rng.normal(size=(DIM, 3)).astype(np.float32)
    return [
        FeatureSpace(names).distance(),
        FeatureSpace(names, weights=weights).distance(),
        FeatureSpace(names, metric=metric).distance(),
    ]


def vectors(count: int, seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(1, 2, (count, DIM)).astype(np.float32)


@pytest.mark.parametrize("distance", distances())
@pytest.mark.parametrize("count", [3, 420])
def test_a_vector_moves_as_it_is_defined(distance: Distance, count: int) -> None:
    photos, places = vectors(300, 4), vectors(count, 5)
    found = with_feedback(photos, places, distance)
    assert found.dtype == np.float32 and found.shape == photos.shape
    usual = np.mean(places.astype(np.float64), axis=0)
    nearest = max(1, round(SHARE * count))
    for photo, moved in list(zip(photos, found, strict=True))[::23]:
        first = (photo - AWAY * usual) / (1 - AWAY)
        order = sorted(range(count), key=lambda n: distance.between(first, places[n]))
        near = np.mean([places[n] for n in order[:nearest]], axis=0)
        expected = (photo - AWAY * usual + TOWARDS * near) / (1 - AWAY + TOWARDS)
        np.testing.assert_allclose(moved, expected, rtol=1e-4, atol=1e-4)


def test_nothing_depends_on_where_zero_is() -> None:
    photos, places, plain = vectors(5, 6), vectors(250, 7), distances()[0]
    shift = np.arange(DIM, dtype=np.float32)
    moved = with_feedback(photos + shift, places + shift, plain)
    np.testing.assert_allclose(moved, with_feedback(photos, places, plain) + shift, atol=1e-4)


def test_a_photo_finds_more_of_what_its_kind_looks_like_here() -> None:
    """Of two kinds of places the photo knows what differs least between them here."""
    kind = np.repeat([0, 1], 150)
    places = np.random.default_rng(8).normal(0, 0.2, (300, DIM)).astype(np.float32)
    places[:, 0] += np.where(kind == 0, 0.2, -0.2)
    places[:, 1] += np.where(kind == 0, 0.5, -0.5)
    places[:, 2] += 1
    places /= np.linalg.norm(places, axis=1, keepdims=True)
    photo = np.eye(1, DIM, dtype=np.float32)

    def right(vector: NDArray[np.float32]) -> float:
        off = np.linalg.norm(places - vector, axis=1)
        return float((kind[np.argsort(off)[:150]] == 0).mean())

    assert right(photo[0]) < 0.88 < 0.9 < right(with_feedback(photo, places, distances()[0])[0])


def test_without_places_vectors_stay_as_they_are() -> None:
    photos = vectors(4, 9)
    found = with_feedback(photos, np.empty((0, DIM), np.float32), distances()[0])
    np.testing.assert_array_equal(found, photos)
