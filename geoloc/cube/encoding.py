"""Features as int8 codes, and the norm of a vector under a model's metric. No I/O."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MISSING = -128
"""Code of every feature of a cell without a vector; never the code of a value."""

_LIMIT = 127  # codes are symmetric, -127..127, so that MISSING stays free
_MARGIN = 0.25  # of the sample's span on each side: blocks outside the sample reach further
_LEAST_SPAN = 0.05  # of the widest class's span: a class constant in the sample keeps room
_STRIP = 2048  # cells at once in double precision: bounds the temporaries of a block


@dataclass(frozen=True)
class Quantizer:
    """Per-class affine code: ``value = code * scale + offset``, codes -127..127.

    ``scale`` and ``offset``: float32 ``(feature,)``.
    """

    scale: NDArray[np.float32]
    offset: NDArray[np.float32]

    @classmethod
    def fit(cls, low: NDArray[np.float32], high: NDArray[np.float32]) -> Quantizer:
        """From the smallest and largest value ``(feature,)`` of each class in a sample.

        The range is widened by a quarter on each side, so that a step is still about a
        twentieth of a standard deviation and what lies outside the sample rarely saturates.
        """
        low64, high64 = low.astype(np.float64), high.astype(np.float64)
        widest = float(np.max(high64 - low64, initial=0.0))
        span = np.maximum(high64 - low64, _LEAST_SPAN * widest if widest > 0 else 1.0)
        scale = span * (1 + 2 * _MARGIN) / (2 * _LIMIT)
        return cls(scale.astype(np.float32), ((low64 + high64) / 2).astype(np.float32))

    def encode(self, features: NDArray[np.float32]) -> tuple[NDArray[np.int8], int]:
        """Codes of ``(..., feature)`` float32, and how many values were clipped.

        A cell with any value that is not finite is missing: all its codes are MISSING.
        """
        missing = ~np.isfinite(features).all(axis=-1)
        steps = (features - self.offset) / self.scale
        steps[missing] = 0
        np.rint(steps, out=steps)
        saturated = int(np.count_nonzero(np.abs(steps) > _LIMIT))
        codes = np.clip(steps, -_LIMIT, _LIMIT, out=steps).astype(np.int8)
        codes[missing] = MISSING
        return codes, saturated

    def decode(self, codes: NDArray[np.int8]) -> NDArray[np.float32]:
        """float32 ``(..., feature)`` of the codes; missing cells are NaN."""
        values = codes * self.scale + self.offset
        values[codes[..., 0] == MISSING] = np.nan
        return values


def distance_operator(
    dim: int, weights: NDArray[np.float32] | None, metric: NDArray[np.float32] | None
) -> NDArray[np.float64]:
    """The matrix ``A`` of the distance ``d(a, b) = |(a - b) A|_2``.

    ``A = diag(w / ||w||)``, one dimension ``(feature,)`` where the model names no metric, and
    ``A = diag(w / ||w||) L`` of shape ``(feature, component)`` where it names ``L``; ``w`` is
    ``weights`` or all ones, which makes the factor ``1 / sqrt(feature)``.
    """
    w = np.ones(dim) if weights is None else weights.astype(np.float64)
    w = w / np.linalg.norm(w)
    return w if metric is None else w[:, None] * metric.astype(np.float64)


def squared_norm(
    vectors: NDArray[np.float32], operator: NDArray[np.float64]
) -> NDArray[np.float32]:
    """``|a A|^2`` float32 of shape ``(...)`` for vectors ``(..., feature)``; NaN stays NaN.

    So ``d(a, b)^2 = squared_norm(a) + squared_norm(b) - 2 a . (A A^T b)``. Summed in double
    precision, so that the result does not depend on how many threads multiply.
    """
    flat = vectors.reshape(-1, vectors.shape[-1])
    out = np.empty(len(flat), np.float32)
    for start in range(0, len(flat), _STRIP):
        strip = flat[start : start + _STRIP].astype(np.float64)
        strip = strip * operator if operator.ndim == 1 else strip @ operator
        out[start : start + _STRIP] = np.einsum("ij,ij->i", strip, strip)
    return out.reshape(vectors.shape[:-1])
