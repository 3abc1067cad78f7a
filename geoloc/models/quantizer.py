"""Feature vectors as int8 codes. No I/O."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..arrays import F32

MISSING = -128
"""Code of every feature of a cell without a vector; never the code of a value."""

CODE_LIMIT = 127  # codes are symmetric, -127..127, so that MISSING stays free
_BITS = 5  # of the scale: few, so that every code is decoded exactly in float32


@dataclass(frozen=True)
class Quantizer:
    """Affine code: ``value = code * scale + offset``, codes -127..127.

    ``scale`` and ``offset``: float32, one for all features, so that every reader that knows CF
    decodes by itself; or ``(feature,)``.
    """

    scale: F32
    offset: F32

    @classmethod
    def fit(cls, low: ArrayLike, high: ArrayLike) -> Quantizer:
        """From the smallest and largest values in a small sample, of any shape.

        The range is widened by a quarter on each side, so that what lies outside the sample
        rarely saturates.
        """
        return cls.of_range(*widened(np.min(low), np.max(high), 0.25))

    @classmethod
    def of_range(cls, low: float, high: float) -> Quantizer:
        """The finest code that holds ``low`` to ``high`` and decodes exactly in float32.

        Its scale has few bits and its offset is a multiple of the scale, so that all readers
        compute the same values, in whatever order and precision.
        """
        mantissa, exponent = math.frexp(
            (high - low) / (2 * CODE_LIMIT - 1)
        )  # a step for the offset
        scale = math.ldexp(math.ceil(math.ldexp(mantissa, _BITS)), exponent - _BITS)
        offset = round((low + high) / 2 / scale) * scale
        return cls(np.asarray(scale, np.float32), np.asarray(offset, np.float32))

    def each(self, dim: int) -> tuple[F32, F32]:
        """``scale`` and ``offset`` of each feature, ``(dim,)``."""
        return np.broadcast_to(self.scale, dim), np.broadcast_to(self.offset, dim)

    def encode(self, features: F32) -> tuple[NDArray[np.int8], int]:
        """Codes of ``(..., feature)`` float32, and how many values were clipped.

        A cell with any value that is not finite is missing: all its codes are MISSING.
        """
        missing = ~np.isfinite(features).all(axis=-1)
        steps = (features - self.offset) / self.scale
        steps[missing] = 0
        np.rint(steps, out=steps)
        saturated = int(np.count_nonzero(np.abs(steps) > CODE_LIMIT))
        codes = np.clip(steps, -CODE_LIMIT, CODE_LIMIT, out=steps).astype(np.int8)
        codes[missing] = MISSING
        return codes, saturated

    def decode(self, codes: NDArray[np.int8]) -> F32:
        """float32 ``(..., feature)`` of the codes; missing cells are NaN."""
        values = codes * self.scale + self.offset
        values[codes[..., 0] == MISSING] = np.nan
        return values


def widened(low: float, high: float, margin: float) -> tuple[float, float]:
    """A range with ``margin`` times its span added on each side."""
    span = float(high) - float(low) or 1.0
    return float(low) - margin * span, float(high) + margin * span


def code_range_of(vectors: F32) -> tuple[float, float]:
    """The ``code_range`` of a model from vectors ``(n, feature)`` of its training.

    A tenth is added on each side: on unseen worlds nothing was clipped so, and without it one
    value in a million.
    """
    low, high = widened(float(vectors.min()), float(vectors.max()), 0.1)
    return round(low, 4), round(high, 4)
