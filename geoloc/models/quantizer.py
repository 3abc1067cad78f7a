"""Feature vectors as int8 codes. No I/O."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

MISSING = -128
"""Code of every feature of a cell without a vector; never the code of a value."""

_LIMIT = 127  # codes are symmetric, -127..127, so that MISSING stays free
_MARGIN = 0.25  # of the sample's span on each side: what is outside the sample reaches further


@dataclass(frozen=True)
class Quantizer:
    """Affine code: ``value = code * scale + offset``, codes -127..127.

    ``scale`` and ``offset``: float32, one for all features, so that every reader that knows CF
    decodes by itself; ``(feature,)`` in cubes of an older format.
    """

    scale: NDArray[np.float32]
    offset: NDArray[np.float32]

    @classmethod
    def fit(cls, low: ArrayLike, high: ArrayLike) -> Quantizer:
        """From the smallest and largest values in a sample, of any shape.

        The range is widened by a quarter on each side, so that what lies outside the sample
        rarely saturates.
        """
        bottom, top = float(np.min(low)), float(np.max(high))
        span = top - bottom if top > bottom else 1.0
        middle, reach = (bottom + top) / 2, span * (0.5 + _MARGIN)
        return cls.of_range(middle - reach, middle + reach)

    @classmethod
    def of_range(cls, low: float, high: float) -> Quantizer:
        """The code whose first and last steps are ``low`` and ``high``."""
        scale, offset = (high - low) / (2 * _LIMIT), (low + high) / 2
        return cls(np.asarray(scale, np.float32), np.asarray(offset, np.float32))

    def each(self, dim: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """``scale`` and ``offset`` of each feature, ``(dim,)``."""
        return np.broadcast_to(self.scale, dim), np.broadcast_to(self.offset, dim)

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
