"""What a feature vector means: the names behind it, how far apart two are, how one is stored.

Pure arithmetic: no I/O. A feature space belongs to a model and is copied into its cubes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..arrays import F32, F64
from ..errors import UsageError
from ..scenes import describe, find_class
from .quantizer import Quantizer

UNNAMED = "(unnamed)"
"""In place of a name: the part of a difference that the readout does not see."""

_STRIP = 2048  # vectors at once in double precision: bounds the temporaries of a block
_ROUNDING = 1e-9  # of a squared distance


@dataclass(frozen=True, eq=False)
class Distance:
    """How two vectors are compared: ``d(a, b) = |(a - b) A|``.

    operator: ``A``, float64: ``(feature,)`` for weights (equal ones make ``d`` the root mean
        square difference), else ``(feature, component)``.
    own: whether this is the model's own distance, whose norms its cubes store.
    named: whether the components of ``A`` are the names of the feature space.
    """

    operator: F64
    own: bool = True
    named: bool = False

    def apply(self, vectors: ArrayLike) -> F64:
        """Vectors ``(..., feature)`` where plain Euclidean distances are this distance."""
        rows = np.asarray(vectors, np.float64)
        return np.asarray(rows * self.operator if self.operator.ndim == 1 else rows @ self.operator)

    def pull(self, vectors: ArrayLike) -> F64:
        """``v A A^T`` of vectors ``(..., feature)``: the gradient of half the squared norm."""
        if self.operator.ndim == 1:
            return np.asarray(np.asarray(vectors, np.float64) * self.operator**2)
        return np.asarray(self.apply(vectors) @ self.operator.T)

    def between(self, a: ArrayLike, b: ArrayLike) -> float:
        """The distance of two vectors ``(feature,)``, in float64."""
        return float(np.linalg.norm(self.apply(np.subtract(a, b, dtype=np.float64))))

    def squared_norm(self, vectors: F32) -> F32:
        """``|a A|^2`` float32 of shape ``(...)`` for vectors ``(..., feature)``; NaN stays NaN.

        So ``d(a, b)^2 = squared_norm(a) + squared_norm(b) - 2 a . (A A^T b)``. Summed in double
        precision, so that the result does not depend on how many threads multiply.
        """
        flat = vectors.reshape(-1, vectors.shape[-1])
        out = np.empty(len(flat), np.float32)
        for start in range(0, len(flat), _STRIP):
            strip = self.apply(flat[start : start + _STRIP])
            out[start : start + _STRIP] = np.einsum("ij,ij->i", strip, strip)
        return out.reshape(vectors.shape[:-1])


@dataclass(frozen=True)
class Term:
    """One scene's part in a distance.

    photo, place: its logits; share: its part of the squared distance, so that the shares of all
    scenes sum to 1. Under a metric or a readout a share may be negative.
    """

    scene: str
    photo: float
    place: float
    share: float

    @property
    def unnamed(self) -> bool:
        """Whether it is what no scene names, of which photo and place have no logits."""
        return self.scene == UNNAMED


@dataclass(frozen=True, eq=False)
class FeatureSpace:
    """What the vectors ``(feature,)`` of a model mean.

    names: the scene classes that vectors are described, explained and searched by.
    code: how vectors are stored as int8, or None where that is not chosen yet.
    weights: float32 ``(feature,)`` from 0 up, or None for equal ones.
    metric: float32 ``(feature, component)``, a model's own metric ``L``, or None.
    readout: float32 ``(name, feature)``, which makes logits of vectors, or None where each
        feature is the logit of a name.
    norms_stored: whether the norms in a cube of this space are of its own distance.
    """

    names: tuple[str, ...]
    code: Quantizer | None = None
    weights: F32 | None = None
    metric: F32 | None = None
    readout: F32 | None = None
    norms_stored: bool = True

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return len(self.names) if self.readout is None else self.readout.shape[1]

    def with_code(self, code: Quantizer) -> FeatureSpace:
        """The same space, its vectors stored in this code."""
        return replace(self, code=code)

    def with_name(self, name: str, row: F32) -> FeatureSpace:
        """The same space with one name more, whose logit is ``row`` ``(feature,)`` . vector.

        Raises ValueError where there is no readout, so that each feature is a name already.
        """
        if self.readout is None:
            raise ValueError("this feature space has no readout to add a name to")
        return replace(self, names=(*self.names, name), readout=np.vstack([self.readout, row]))

    def encode(self, vectors: F32) -> tuple[NDArray[np.int8], int]:
        """Codes of ``(..., feature)`` float32, and how many values were clipped."""
        return self.stored_code.encode(vectors)

    def decode(self, codes: NDArray[np.int8]) -> F32:
        """float32 ``(..., feature)`` of the codes; missing cells are NaN."""
        return self.stored_code.decode(codes)

    @property
    def stored_code(self) -> Quantizer:
        """The code. Raises ValueError where none is chosen yet."""
        if self.code is None:
            raise ValueError("no code is chosen for this feature space")
        return self.code

    def index(self, name: str) -> int:
        """Where a name is among the names. Raises UnknownClassError with the nearest ones."""
        return self.names.index(find_class(name, self.names))

    def logits(self, vectors: ArrayLike) -> F32:
        """float32 ``(..., name)`` of vectors ``(..., feature)``."""
        given = np.asarray(vectors, np.float32)
        return given if self.readout is None else np.asarray(given @ self.readout.T, np.float32)

    def describe(self, vector: ArrayLike, top: int = 5) -> tuple[tuple[str, float], ...]:
        """The ``top`` names of a vector with their softmax share: for display only."""
        return describe(self.logits(vector), self.names, top)

    def named_vector(self, names: Sequence[str]) -> F32:
        """Logits ``(name,)`` whose softmax is shared by these names alone, for display."""
        logits = np.zeros(len(self.names), np.float32)
        logits[[self.index(name) for name in names]] = 20
        return logits

    def distance(self, weights: ArrayLike | None = None) -> Distance:
        """The model's own distance; ``weights`` ``(name,)`` from 0 up take the place of its own.

        ``A = diag(w / ||w||)``, ``w`` being all ones where the model names no weights; with the
        model's metric ``A = diag(w / ||w||) L``. Weights of names, where there is a readout
        ``R``, compare logits: ``A = R^T diag(w / ||w||)``.

        Raises UsageError for weights that do not fit, or where the model has a metric.
        """
        if weights is None:
            w = _normalized(np.ones(self.dim) if self.weights is None else self.weights)
            operator = w if self.metric is None else w[:, None] * self.metric.astype(np.float64)
            named = self.metric is None and self.readout is None
            return Distance(operator, own=self.norms_stored, named=named)
        if self.metric is not None:
            raise UsageError(
                "this cube's model measures distance by a metric of its own, "
                "to which class weights do not apply: leave the weights out"
            )
        w = _normalized(checked_weights(weights, len(self.names)))
        return Distance(w if self.readout is None else self.readout.T * w, own=False, named=True)

    def contributions(self, a: ArrayLike, b: ArrayLike, distance: Distance) -> F64:
        """What each name adds to the squared distance ``(name,)``.

        They sum to it exactly but for what no name sees (see `explain`). Under a metric a name
        adds ``(a - b) * (A A^T (a - b))``, which may be negative: it then explains part of
        another's difference. Under a readout ``R`` the difference is ``R^+ r`` of the logits'
        difference ``r``, and a name adds ``r * (R^+^T A A^T (a - b))``.
        """
        delta = np.subtract(a, b, dtype=np.float64)
        if distance.named:
            return np.asarray(distance.apply(delta) ** 2)
        pulled = distance.pull(delta)
        if self.readout is None:
            return np.asarray(delta * pulled)
        return np.asarray((self.readout @ delta) * (pulled @ self._inverse))

    def explain(self, photo: ArrayLike, place: ArrayLike, distance: Distance) -> tuple[Term, ...]:
        """Every name's part in the distance, the largest first; the shares sum to 1 exactly.

        Where the distance is 0 every share is 0. What a readout of fewer names than features
        does not see is a term of its own, `UNNAMED`, of logit 0.
        """
        parts = self.contributions(photo, place, distance)
        a, b, names = self.logits(photo), self.logits(place), self.names
        whole = distance.between(photo, place) ** 2
        rest = whole - parts.sum()
        if self.readout is not None and abs(rest) > _ROUNDING * whole:
            parts, names = np.append(parts, rest), (*names, UNNAMED)
            a, b = np.append(a, np.float32(0)), np.append(b, np.float32(0))
        whole = parts.sum()
        shares = parts / whole if whole > 0 else np.zeros_like(parts)
        order = np.argsort(-np.abs(shares), kind="stable")
        return tuple(Term(names[i], float(a[i]), float(b[i]), float(shares[i])) for i in order)

    @cached_property
    def _inverse(self) -> F64:
        """The pseudo-inverse ``(feature, name)`` of the readout."""
        assert self.readout is not None
        return np.asarray(np.linalg.pinv(self.readout.astype(np.float64)))


def checked_weights(weights: ArrayLike, count: int | None = None) -> F32:
    """Weights ``(name,)`` from 0 up, ``count`` of them. Raises UsageError for anything else."""
    w = np.asarray(weights, np.float32)
    if w.ndim != 1 or count not in (None, len(w)):
        names = "the" if count is None else count
        raise UsageError(f"weights of shape {w.shape} do not fit {names} classes: give one each")
    if not (np.isfinite(w).all() and (w >= 0).all() and w.any()):
        raise UsageError("class weights must be numbers from 0 up, at least one of them above 0")
    return w


def _normalized(weights: NDArray[np.generic]) -> F64:
    w = weights.astype(np.float64)
    return np.asarray(w / np.linalg.norm(w))
