"""How far places in general are from a photo: the distribution of all distances of a scan.

A histogram over the leading bits of float32: 128 bins an octave, so 0.8 % wide, from 2^-16 to
2^24. It is small whatever the domain, and those of parts add up exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arrays import F64, I64

SHIFT = 16  # bits of float32 that are left out: 7 of the mantissa stay
_OCTAVES = 40
LOWEST = (127 - 16) << (23 - SHIFT)
"""The leading bits of 2^-16, the upper edge of the first bin."""
BINS = _OCTAVES << (23 - SHIFT)


@cache
def edges() -> F64:
    """The edges of the bins ``(BINS + 1,)``, ascending; the first is 0."""
    bits = (np.arange(LOWEST, LOWEST + BINS + 1, dtype=np.uint32) << np.uint32(SHIFT)).astype("<u4")
    edge = bits.view("<f4").astype(np.float64)
    edge[0] = 0.0
    edge.flags.writeable = False
    return edge


@dataclass(frozen=True, eq=False)
class Background:
    """``counts`` int64 ``(BINS,)``: how many distances lie in each bin."""

    counts: I64

    @property
    def total(self) -> int:
        """How many distances there are."""
        return int(self.counts.sum())

    def share(self, distance: NDArray[Any]) -> F64:
        """Which share (0..1) of all distances is at most so large; straight lines in a bin."""
        return np.asarray(np.interp(distance, edges(), self._shares()), np.float64)

    def quantile(self, share: F64) -> F64:
        """The distance below which a share (0..1) of all lies: `share` the other way round."""
        filled = np.flatnonzero(self.counts)
        if not len(filled):
            return np.full(np.shape(share), np.nan)
        span = slice(filled[0], filled[-1] + 2)  # beyond them every distance has the same share
        return np.asarray(np.interp(share, self._shares()[span], edges()[span]), np.float64)

    def _shares(self) -> F64:
        below = np.concatenate([[0], np.cumsum(self.counts)])
        return np.asarray(below / max(int(below[-1]), 1), np.float64)
