"""A linear discriminant of classes, in closed form: by the classes' means and how images spread.

Fisher's discriminant with the spread of the images around their class's mean shrunk towards a
ball (Friedman, "Regularized discriminant analysis", 1989), as features outnumber images.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]

_SHARPNESS = np.geomspace(0.3, 12, 30)  # tried, of logits of spread 1
_LEAST = 1e-6  # of the images' spread: where every class has one image


@dataclass(frozen=True, eq=False)
class Discriminant:
    """Logits ``features @ weights.T + bias``: ``weights`` ``(class, feature)``, ``bias``."""

    weights: F32
    bias: F32

    def logits(self, features: F32) -> F32:
        """``(image, class)``."""
        return features @ self.weights.T + self.bias

    def scaled(self, by: float) -> Discriminant:
        """With logits ``by`` times as large."""
        return Discriminant(np.float32(by) * self.weights, np.float32(by) * self.bias)


def fit_discriminant(features: F32, labels: NDArray[np.int64], shrinkage: float) -> Discriminant:
    """Of images ``(image, feature)`` around zero, each of a class of ``labels`` 0..n-1.

    How sure it is of itself is found by halves: each half of the images is recognised by the
    other, and the logits are scaled to give the least cross-entropy there.
    """
    half = alternate(labels)
    sure = [
        _scale(_fit(features[rows], labels[rows], shrinkage), features[~rows], labels[~rows])
        for rows in (half, ~half)
    ]
    return _fit(features, labels, shrinkage).scaled(float(np.mean(sure)))


def alternate(labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Every second image of each class, ``(image,)``, the first of a class among them."""
    order = np.argsort(labels, kind="stable")
    ranked = labels[order]
    turn = (np.arange(len(labels)) - np.searchsorted(ranked, ranked)) % 2 == 0
    half = np.empty(len(labels), bool)
    half[order] = turn
    return half


def _fit(features: F32, labels: NDArray[np.int64], shrinkage: float) -> Discriminant:
    """With logits as they come: their spread depends on the shrinkage."""
    members = np.eye(labels.max() + 1, dtype=np.float32)[labels]
    means = members.T @ features / members.sum(0)[:, None]
    apart = features - means[labels]
    ball = shrinkage * np.square(apart).mean() + _LEAST * np.square(features).mean()
    weights = _solve(apart, (1 - shrinkage) / len(features), ball, means)
    bias = -0.5 * (weights * means).sum(1)
    result = Discriminant(np.asarray(weights, np.float32), np.asarray(bias, np.float32))
    return result.scaled(1 / max(float(result.logits(features).std()), 1e-12))


def _solve(rows: F32, share: float, ball: float, means: F32) -> F32:
    """``means`` ``(class, feature)`` times the inverse of ``share * rows.T @ rows + ball``.

    By the smaller of both Gram matrices (Woodbury's identity): images may be few for so many
    features.
    """
    few = len(rows) < rows.shape[1]
    gram = share * (rows @ rows.T if few else rows.T @ rows)
    gram[np.diag_indices_from(gram)] += ball
    if not few:
        return np.asarray(np.linalg.solve(gram, means.T).T)
    within = np.linalg.solve(gram, rows @ means.T).T @ rows
    return np.asarray((means - share * within) / ball)


def _scale(discriminant: Discriminant, features: F32, labels: NDArray[np.int64]) -> float:
    """By what to multiply logits, for the least cross-entropy of images that were not seen."""
    logits = discriminant.logits(features).astype(np.float64)
    losses = [_cross_entropy(by * logits, labels) for by in _SHARPNESS]
    return float(_SHARPNESS[int(np.argmin(losses))])


def _cross_entropy(logits: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    most = logits.max(1)
    total = most + np.log(np.exp(logits - most[:, None]).sum(1))
    return float((total - logits[np.arange(len(labels)), labels]).mean())
