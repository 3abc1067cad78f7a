"""Queries, and the ruler that compares two feature vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..cube import distance_operator
from ..errors import UsageError

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]


class Measurable(Protocol):
    """What a ruler needs of a cube: its scale ``(feature,)``, its model's weights and metric."""

    scale: F32
    weights: F32 | None
    metric: F32 | None


@dataclass(frozen=True, eq=False)
class Query:
    """Feature vectors to look for.

    vectors: float32 ``(photo, feature)``, raw logits; one vector ``(feature,)`` is one photo.
    weights: float32 ``(feature,)`` from 0 up, or None for those of the cube's model.
    Raises UsageError for values that are not numbers, or weights that are negative or all zero.
    """

    vectors: F32
    weights: F32 | None = None

    def __post_init__(self) -> None:
        vectors = np.atleast_2d(np.asarray(self.vectors, np.float32))
        if vectors.ndim != 2 or not vectors.size or not np.isfinite(vectors).all():
            raise UsageError(
                f"query vectors of shape {vectors.shape} must be finite (photo, feature): "
                "encode the photo again"
            )
        object.__setattr__(self, "vectors", vectors)
        if self.weights is not None:
            object.__setattr__(self, "weights", _checked(self.weights, vectors.shape[1]))


@dataclass(frozen=True, eq=False)
class Ruler:
    """How two vectors are compared: ``d(a, b) = |(a - b) A|``.

    operator: ``A``, float64, see `geoloc.cube.distance_operator`: ``(feature,)`` for weights
        (equal ones make ``d`` the root mean square difference), ``(feature, component)`` where
        the model has a metric of its own.
    """

    operator: F64

    @classmethod
    def of(cls, dim: int, weights: ArrayLike | None = None, metric: F32 | None = None) -> Ruler:
        """A ruler of ``dim`` features by weights (default: equal) or by a metric ``L``."""
        checked = None if weights is None else _checked(weights, dim)
        return cls(distance_operator(dim, checked, metric))

    @classmethod
    def of_cube(cls, cube: Measurable, weights: ArrayLike | None = None) -> Ruler:
        """The ruler of a cube's model; ``weights`` take the place of the model's weights.

        Raises UsageError for weights where the model has a metric.
        """
        if weights is not None and cube.metric is not None:
            raise UsageError(
                "this cube's model measures distance by a metric of its own, "
                "to which class weights do not apply: leave the weights out"
            )
        return cls.of(len(cube.scale), cube.weights if weights is None else weights, cube.metric)

    def apply(self, vectors: ArrayLike) -> F64:
        """Vectors ``(n, feature)`` where plain Euclidean distances are this ruler's."""
        rows = np.asarray(vectors, np.float64)
        return np.asarray(rows * self.operator if self.operator.ndim == 1 else rows @ self.operator)

    def contributions(self, a: ArrayLike, b: ArrayLike) -> F64:
        """What each feature adds to ``d ** 2`` ``(feature,)``; the sum is ``d ** 2`` exactly.

        Under a metric a feature adds ``(a - b) * (A A^T (a - b))``, which may be negative: it
        then explains part of another feature's difference.
        """
        delta = np.asarray(a, np.float64) - np.asarray(b, np.float64)
        if self.operator.ndim == 1:
            return np.asarray((self.operator * delta) ** 2)
        return np.asarray(delta * (self.operator @ (self.operator.T @ delta)))

    def distance(self, a: ArrayLike, b: ArrayLike) -> float:
        """The distance of two vectors ``(feature,)``, in float64."""
        return float(np.sqrt(max(self.contributions(a, b).sum(), 0.0)))


def fuse(vectors: Sequence[ArrayLike] | F32) -> F32:
    """One vector ``(feature,)`` for several photos of one place: their mean."""
    if not len(vectors):
        raise UsageError("no photos to fuse: give at least one")
    return np.asarray(np.mean(np.asarray(vectors, np.float32), axis=0), np.float32)


def _checked(weights: ArrayLike, dim: int) -> F32:
    w = np.asarray(weights, np.float32)
    if w.shape != (dim,):
        raise UsageError(f"weights of shape {w.shape} do not fit {dim} classes: give one per class")
    if not (np.isfinite(w).all() and (w >= 0).all() and w.any()):
        raise UsageError("class weights must be numbers from 0 up, at least one of them above 0")
    return w
