"""What a report says of all cells of a heatmap, found out in one pass over it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from ..arrays import F32, F64
from ..search import Heatmap, strips
from .shares import named_shares

_SAMPLE = 4_000_000  # cells that order statistics are taken from: exact up to 2000 x 2000


@dataclass(frozen=True, eq=False)
class Survey:
    """Figures of a heatmap's cells, small whatever its size.

    known: cells with a distance. sampled: those of them that shares are taken from, all or every
    k-th of more than 8 million. sha256: see `heatmap_digest`. low, high, mean, deviation: of the
    distances, without meaning where none is known. shares, distances: float64 ``(n,)``, ascending
    fractions of the sampled cells, and the largest distance in each.
    """

    known: int
    sampled: int
    sha256: str
    low: float
    high: float
    mean: float
    deviation: float
    shares: F64
    distances: F64

    @classmethod
    def of(cls, heatmap: Heatmap) -> Survey:
        """Read a heatmap once, some rows at a time."""
        digest, cells = hashlib.sha256(), int(np.prod(heatmap.shape))
        every = max(1, cells // _SAMPLE)
        sample, seen = np.empty(-(-cells // every), np.float32), 0
        known, total, squares, low, high = 0, 0.0, 0.0, np.inf, -np.inf
        for rows, strip in strips(heatmap):
            digest.update(_canonical(strip))
            picked = strip.reshape(-1)[-rows.start * heatmap.shape[1] % every :: every]
            picked = picked[np.isfinite(picked)]
            sample[seen : seen + len(picked)] = picked
            seen += len(picked)
            values = strip[np.isfinite(strip)].astype(np.float64)
            known, total = known + len(values), total + float(values.sum())
            squares += float(values @ values)
            low, high = values.min(initial=low), values.max(initial=high)
        mean = total / max(known, 1)
        deviation = max(squares / max(known, 1) - mean * mean, 0.0) ** 0.5
        shares = named_shares(cells)
        return cls(
            known, seen, digest.hexdigest(), float(low), float(high), mean, deviation,
            shares, _quantiles(sample[:seen], shares),
        )  # fmt: skip

    def quantiles(self, fractions: F64) -> F64:
        """Distances at these fractions (0..1) of the known cells; zeros where none is known.

        Exact at ``shares``, which are all that geoloc's own outputs ask for; between two of them,
        which lie at most 0.8 % of the cells apart, on a straight line.
        """
        return np.asarray(np.interp(fractions, self.shares, self.distances), np.float64)


def heatmap_digest(heatmap: Heatmap) -> str:
    """SHA-256 over the distances, float32 little-endian, row by row; every NaN is the same."""
    digest = hashlib.sha256()
    for _, strip in strips(heatmap):
        digest.update(_canonical(strip))
    return digest.hexdigest()


def _canonical(strip: F32) -> bytes:
    return np.where(np.isnan(strip), np.float32(np.nan), strip).astype("<f4").tobytes()


def _quantiles(sample: F32, shares: F64) -> F64:
    if not len(sample):
        return np.zeros(len(shares))
    sample.sort()
    return np.asarray(np.quantile(sample, shares, overwrite_input=True), np.float64)
