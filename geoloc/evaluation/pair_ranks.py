"""Ranks of millions of pairs in blocks: never a matrix of all distances.

Squared distances of a block come of one matrix product in float32, ``|b|^2 - 2 a.b``. Those that
lie within its rounding of the true one are computed again in double precision, so that ranks are
those of exact distances, and equal distances count as equal.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..arrays import F64, I64
from ..errors import ModelError
from ..progress import Progress
from .ranks import Ranks

BLOCK = 2048
"""Photos, and places, of a block: 16 MB of distances, whatever the number of pairs."""

_ROUNDING = 1e-5  # of a float32 product, relative to the norms
_TINY = 1e-12  # of a component, so that its square is a number in float32
_SAME = 1e-12  # of a squared distance in double precision


def pair_ranks(
    photos: ArrayLike,
    places: ArrayLike,
    own: ArrayLike,
    *,
    block: int = BLOCK,
    progress: Progress | None = None,
) -> Ranks:
    """How each photo's own place ranks among all places: the number at most as far away.

    photos ``(photo, feature)`` and places ``(place, feature)``: vectors whose Euclidean distance
    counts (`Distance.apply`); own ``(photo,)``: the row of each photo's place. Memory is that of
    the vectors, and of blocks of ``block`` photos by ``block`` places.
    """
    a, b, index = np.asarray(photos), np.asarray(places), np.asarray(own, np.int64)
    _finite(b.mean(axis=0, dtype=np.float64) if len(b) else 0.0, "predicted of the places")
    if (scale := _scale(a, b)) != 1:
        a, b = a * scale, b * scale
    centre = b.mean(axis=0, dtype=np.float64) if len(b) else 0.0
    ranks, done = np.zeros(len(a), np.int64), 0
    for start in range(0, len(a), block):
        rows = slice(start, start + block)
        ranks[rows] = _block_ranks(a[rows], b, b[index[rows]], centre, block)
        done = min(start + block, len(a))
        if progress:
            progress(done, len(a))
    return Ranks.of(ranks, len(b))


def _scale(a: NDArray[np.generic], b: NDArray[np.generic]) -> np.float32:
    """A power of two, which changes no rank, by which squares stay what float32 can hold."""
    ends = [float(end) for part in (a, b) if part.size for end in (part.max(), -part.min())]
    largest = max(ends, default=0.0)
    if not math.isfinite(largest) or _TINY < largest < 1 / _TINY or largest <= 0:
        return np.float32(1)
    return np.float32(2.0 ** min(max(-math.floor(math.log2(largest)), -126), 126))


def _finite(values: ArrayLike, what: str) -> None:
    if not np.isfinite(values).all():
        raise ModelError(
            f"vectors {what} are not finite numbers, which cannot be ranked: the model or its "
            "metric is broken; train it again, with a lower loop.lr if its training diverged"
        )


def _block_ranks(
    photos: NDArray[np.generic],
    places: NDArray[np.generic],
    own: NDArray[np.generic],
    centre: F64 | float,
    block: int,
) -> I64:
    """Ranks ``(photo,)`` of the photos of a block; ``own``: the vectors of their places."""
    exact = photos.astype(np.float64)
    _finite(exact, "of the photos")
    true = _square(exact, own.astype(np.float64))
    centred = exact - centre
    sizes = (centred**2).sum(axis=1)
    nearer: I64 = np.zeros(len(photos), np.int64)
    for start in range(0, len(places), block):
        part = places[start : start + block].astype(np.float64)
        nearer += _nearer(exact, centred, sizes, part, part - centre, true)
    return nearer


def _nearer(photos: F64, centred: F64, sizes: F64, places: F64, moved: F64, true: F64) -> I64:
    """How many places of a block are at most as far as ``true`` (squared) from each photo."""
    norms = (moved**2).sum(axis=1)
    products = centred.astype(np.float32) @ moved.astype(np.float32).T
    off = (norms[None] - 2.0 * products).astype(np.float32)
    off -= (true - sizes).astype(np.float32)[:, None]
    slack = (_ROUNDING * (sizes[:, None] + norms.max(initial=0.0)) + 1e-30).astype(np.float32)
    count: I64 = np.count_nonzero(off < -slack, axis=1).astype(np.int64)
    rows, columns = np.nonzero(np.abs(off) <= slack)
    for at in range(0, len(rows), BLOCK):
        row, column = rows[at : at + BLOCK], columns[at : at + BLOCK]
        square = _square(photos[row], places[column])
        np.add.at(count, row, square <= true[row] * (1 + _SAME))
    return count


def _square(a: F64, b: F64) -> F64:
    difference = a - b
    return np.asarray(np.einsum("ij,ij->i", difference, difference))
