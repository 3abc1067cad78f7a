"""The heads that bring photos and places to the same vectors."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from geoloc.encoders.formats.landuse import EMBEDDED, PHOTO_FEATURES, PLACE_FEATURES
from geoloc.training.shared_space import Space, SpaceSpec, Views, embed, train_space

LABELS = np.repeat(np.arange(3), 10)
OTHERS = np.arange(30) % 3  # tell nothing of the labels
AFAR, NEAR = 0, 1000  # where the features begin that may tell a class


def _features(width: int, seed: int, **shown: np.ndarray) -> np.ndarray:
    """Noise of images ``(image, feature)``, where 50 features are high for a class that is
    ``afar``, and 50 others for one that is ``near``."""
    features = np.random.default_rng(seed).uniform(0, 1, (len(LABELS), width))
    for name, begin in (("afar", AFAR), ("near", NEAR)):
        for row, label in enumerate(shown.get(name, ())):
            features[row, begin + 50 * label : begin + 50 * (label + 1)] += 2
    features[:, -112:] += 1  # means of squares, larger than the squares of the means before them
    return features.astype(np.float32)


def _whole(seed: int) -> np.ndarray:
    return _features(PLACE_FEATURES, seed, afar=LABELS, near=OTHERS)


def _closer(seed: int) -> np.ndarray:
    return _features(PLACE_FEATURES, seed, near=LABELS)


def _trained(closer: np.ndarray | None) -> Space:
    photos = Views(_features(PHOTO_FEATURES, 1, afar=LABELS)[:, None], LABELS)
    places = Views(np.stack([_whole(2), _whole(3)], 1), LABELS, closer)
    return train_space(photos, places, np.eye(3, dtype=bool), SpaceSpec(epochs=40, batch=24))


@pytest.fixture(scope="module")
def with_closer() -> Space:
    return _trained(_closer(4))


@pytest.fixture(scope="module")
def without() -> Space:
    return _trained(None)


def _recognised(space: Space, places: np.ndarray) -> float:
    """The share of places whose embedding is nearest to their own class."""
    nearest = embed(space.overhead, places)[:, -EMBEDDED:] @ space.overhead_classes[:, -EMBEDDED:].T
    return float((nearest.argmax(1) == LABELS).mean())


def test_networks_learn_from_closer_views_too(with_closer: Space, without: Space) -> None:
    assert _recognised(with_closer, _whole(5)) > 0.9
    assert _recognised(without, _whole(5)) > 0.9
    assert _recognised(with_closer, _closer(6)) > 0.9
    assert _recognised(without, _closer(6)) < 0.7  # chance: a third


def test_all_else_is_of_whole_places(with_closer: Space, without: Space) -> None:
    for name in ("shift", "weights", "bias", "project.weight"):
        given, expected = (space.overhead.state_dict()[name] for space in (with_closer, without))
        assert torch.equal(given, expected), name


def test_images_are_chosen_with_their_closer_views() -> None:
    views = Views(_whole(2)[:, None], LABELS, _closer(4))
    rows = LABELS == 1
    chosen = views[rows]
    assert chosen.closer is not None and views.closer is not None
    assert np.array_equal(chosen.closer, views.closer[10:20])
    assert np.array_equal(chosen.mean(), views.features[10:20, 0])
    assert Views(views.features, LABELS)[rows].closer is None
