"""From one feature space to another by examples: the study's nearest-neighbour translator.

Of many things both vectors are known, that in the first space and that in the second. A vector of
the first space becomes the mean of the second vectors of its ``k`` nearest examples, weighted by
``1 / d^power``. No model is trained, and every step can be looked at.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ..arrays import F32, F64, I64
from ..errors import UsageError

_BLOCK = 4096  # examples compared at a time
_ROWS = 1024  # vectors translated at a time: 32 MB of distances


@dataclass(frozen=True, eq=False)
class Translator:
    """Examples of both spaces: ``source`` ``(example, feature)``, ``target`` ``(example, value)``.

    k: how many of the nearest are averaged; power: 0 for a plain mean, 1 for ``1 / d``. Exact: the
    neighbours are those of comparing with every example, in double precision; of equally near ones
    the earlier. Raises UsageError for arrays that do not fit or are not finite.
    """

    source: F32
    target: F32
    k: int = 10
    power: float = 1.0

    def __post_init__(self) -> None:
        source, target = (np.asarray(part, np.float32) for part in (self.source, self.target))
        if source.ndim != 2 or target.ndim != 2 or len(source) != len(target) or not len(source):
            raise UsageError(
                f"examples {source.shape} and {target.shape}: give one row each of both spaces"
            )
        if not (np.isfinite(source).all() and np.isfinite(target).all()):
            raise UsageError("examples of a translator must be finite: leave missing ones out")
        if not (1 <= self.k <= len(source) and 0 <= self.power < np.inf):
            raise UsageError(
                f"k {self.k} must be 1 to {len(source)}, the number of examples, and power "
                f"{self.power} 0 or more"
            )
        object.__setattr__(self, "source", source)
        object.__setattr__(self, "target", target)

    def translate(self, vectors: ArrayLike) -> F32:
        """Vectors ``(..., value)`` of the second space for ``(..., feature)``; NaN stays NaN.

        A vector that is an example becomes that example's own, where ``power`` is above 0.
        Memory: a few blocks, whatever the number of examples.
        """
        given = np.asarray(vectors, np.float32)
        if given.shape[-1:] != self.source.shape[1:]:
            raise UsageError(
                f"vectors {given.shape} have not the {self.source.shape[1]} values of the examples"
            )
        flat = given.reshape(-1, given.shape[-1])
        out = np.full((len(flat), self.target.shape[1]), np.nan, np.float32)
        there = np.flatnonzero(np.isfinite(flat).all(axis=1))
        for start in range(0, len(there), _ROWS):
            rows = there[start : start + _ROWS]
            out[rows] = self._mean(*self.neighbours(flat[rows]))
        return out.reshape(*given.shape[:-1], -1)

    def neighbours(self, vectors: F32) -> tuple[I64, F64]:
        """The ``k`` nearest examples ``(vector, k)`` of each, the nearest first, and how far."""
        index = np.empty((len(vectors), 0), np.int64)
        squares = np.empty((len(vectors), 0))
        for start in range(0, len(self.source), _BLOCK):
            part = self.source[start : start + _BLOCK]
            near = _squares(vectors, part)
            at = np.broadcast_to(np.arange(start, start + len(part)), near.shape)
            index = np.concatenate([index, at], axis=1)
            squares = np.concatenate([squares, near], axis=1)
            order = np.argsort(squares, axis=1, kind="stable")[:, : self.k]
            index = np.take_along_axis(index, order, axis=1)
            squares = np.take_along_axis(squares, order, axis=1)
        return index, np.sqrt(squares)

    def _mean(self, index: I64, distances: F64) -> F64:
        exact = distances[:, :1] == 0
        with np.errstate(divide="ignore"):
            weights = distances**-self.power
        if self.power > 0:  # an example itself says more than all that are only near
            weights = np.where(exact, distances == 0, weights)
        weights /= weights.sum(axis=1, keepdims=True)
        return np.asarray(np.einsum("nk,nkv->nv", weights, self.target[index].astype(np.float64)))


def _squares(a: F32, b: F32) -> F64:
    """Squared distances ``(a, b)``, exactly 0 between equal vectors: summed feature by feature
    where the quick form has lost its digits."""
    x, y = a.astype(np.float64), b.astype(np.float64)
    norms = (x**2).sum(1)[:, None] + (y**2).sum(1)[None]
    quick = norms - 2 * x @ y.T
    rows, columns = np.nonzero(quick <= 1e-9 * norms)
    quick[rows, columns] = ((x[rows] - y[columns]) ** 2).sum(1)
    return np.asarray(quick)
