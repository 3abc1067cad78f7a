"""The closed form of a discriminant."""

from __future__ import annotations

import numpy as np
import pytest

from geoloc.training.discriminant import alternate, fit_discriminant


def _images(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Three classes that differ by little along one axis, and vary much along another."""
    rng = np.random.default_rng(seed)
    labels = np.sort(rng.integers(0, 3, count))
    features = rng.normal(0, 1, (count, 6)) * [0.3, 5, 1, 1, 1, 1]
    features[:, 0] += labels
    features[:, 1] += 0.4 * labels
    return (features - features.mean(0)).astype(np.float32), labels


@pytest.mark.parametrize("others", [0, 90])  # fewer features than images, and more
def test_it_equals_the_formula_written_out(others: int) -> None:
    features, labels = _images(60, 0)
    noise = np.random.default_rng(1).normal(0, 1, (60, others)).astype(np.float32)
    features = np.hstack([features, noise])
    found = fit_discriminant(features, labels, 0.4)
    means = [features[labels == k].mean(0).astype(float) for k in range(3)]
    width = features.shape[1]
    spread = np.zeros((width, width))
    for row, label in zip(features.astype(float), labels, strict=True):
        spread += np.outer(row - means[label], row - means[label]) / 60
    shrunk = 0.6 * spread + 0.4 * np.trace(spread) / width * np.eye(width)
    inverse = np.linalg.inv(shrunk)
    expected = np.array(
        [[row @ inverse @ m - m @ inverse @ m / 2 for m in means] for row in features.astype(float)]
    )
    logits = found.logits(features)
    scale = logits.std() / expected.std()
    assert np.allclose(logits, scale * expected, atol=1e-3 * logits.std())


def test_it_looks_past_what_varies_within_a_class() -> None:
    features, labels = _images(400, 1)
    seen, known = _images(300, 2)
    right = [
        (fit_discriminant(features, labels, share).logits(seen).argmax(1) == known).mean()
        for share in (0.05, 1.0)
    ]
    assert right[0] > 0.85 > right[1] + 0.2  # shrunk wholly it takes the nearest mean


def test_its_certainty_is_that_of_images_not_seen() -> None:
    features, labels = _images(200, 3)
    seen, known = _images(2000, 4)
    rng = np.random.default_rng(5)
    noise = [rng.normal(0, 1, (len(x), 150)).astype(np.float32) for x in (features, seen)]
    found = fit_discriminant(np.hstack([features, noise[0]]), labels, 0.2)
    logits = found.logits(np.hstack([seen, noise[1]]))
    losses = [_cross_entropy(by * logits, known) for by in (0.4, 1.0, 2.5)]
    assert losses[1] == min(losses)
    # on the images it was made of it would be surer by far
    own = found.logits(np.hstack([features, noise[0]]))
    assert _cross_entropy(2.5 * own, labels) < _cross_entropy(own, labels)


def _cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    likely = np.exp(logits - logits.max(1, keepdims=True))
    likely /= likely.sum(1, keepdims=True)
    return float(-np.log(likely[np.arange(len(labels)), labels]).mean())


@pytest.mark.parametrize("each", [1, 2])
def test_few_images_of_a_class_still_give_numbers(each: int) -> None:
    labels = np.repeat(np.arange(4), 2 * each)
    features = np.random.default_rng(6).normal(0, 1, (len(labels), 5)).astype(np.float32)
    found = fit_discriminant(features + 9 * np.eye(4, 5, dtype=np.float32)[labels], labels, 0.7)
    assert np.isfinite(found.weights).all() and np.isfinite(found.bias).all()


def test_halves_take_turns_within_each_class_in_any_order() -> None:
    labels = np.array([2, 0, 2, 1, 0, 2, 0])
    assert alternate(labels).tolist() == [True, True, False, True, False, True, True]
