"""Feature vectors as int8 codes. No I/O."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MISSING = -128
"""Code of every feature of a cell without a vector; never the code of a value."""

_LIMIT = 127  # codes are symmetric, -127..127, so that MISSING stays free
_MARGIN = 0.25  # of the sample's span on each side: blocks outside the sample reach further
_LEAST_SPAN = 0.05  # of the widest class's span: a class constant in the sample keeps room


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
        middle, reach = (low64 + high64) / 2, span * (0.5 + _MARGIN)
        return cls.of_range(middle - reach, middle + reach)

    @classmethod
    def of_range(cls, low: NDArray[np.floating], high: NDArray[np.floating]) -> Quantizer:
        """The code whose first and last steps are ``low`` and ``high`` ``(feature,)``."""
        scale, offset = (high - low) / (2 * _LIMIT), (low + high) / 2
        return cls(scale.astype(np.float32), offset.astype(np.float32))

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
