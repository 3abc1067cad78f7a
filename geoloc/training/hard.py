"""Batches in which photos are alike: negatives that are hard to tell from the right answer."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]
POOL = 16
"""Batches' worth of pairs among which the alike are looked for."""


def hard_order(
    order: Rows, vectors: Callable[[Rows], NDArray[np.float32]], batch: int, share: float
) -> Rows:
    """The same rows in an order whose batches hold pairs with photos like that of their first one.

    ``order``: rows in random order; ``vectors``: the teacher's, ``(row, feature)``. Of each batch
    the ``share`` is made of the nearest to its first row among a pool of rows, the rest is random.
    Every row occurs once. No network is asked, so the order is known before the training.
    """
    found = [
        _within_pool(order[start : start + POOL * batch], vectors, batch, share)
        for start in range(0, len(order), POOL * batch)
    ]
    return np.concatenate(found)


def _within_pool(
    pool: Rows, vectors: Callable[[Rows], NDArray[np.float32]], batch: int, share: float
) -> Rows:
    known, left, chosen = vectors(pool), np.arange(len(pool)), list[Rows]()
    while len(left) > batch:
        apart = np.square(known[left] - known[left[0]]).sum(axis=1)
        apart[0] = -1  # itself first
        near = np.zeros(len(left), bool)
        near[np.argsort(apart, kind="stable")[: max(1, round(share * batch))]] = True
        rest = np.flatnonzero(~near)[: batch - int(near.sum())]
        near[rest] = True
        chosen.append(left[near])
        left = left[~near]
    return np.asarray(pool[np.concatenate([*chosen, left])])
