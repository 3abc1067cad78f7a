"""Batches of photos that are alike: every row once, and nearer than at random."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from geoloc.training.hard import hard_order

VECTORS = np.random.default_rng(0).normal(0, 1, (3000, 4)).astype(np.float32)


def nearness(order: np.ndarray, batch: int) -> float:
    """Mean distance of the rows of a batch from its first one."""
    found = []
    for start in range(0, len(order) - batch + 1, batch):
        rows = VECTORS[order[start : start + batch]]
        found.append(np.linalg.norm(rows[1:] - rows[0], axis=1).mean())
    return float(np.mean(found))


@given(st.integers(1, 400), st.integers(1, 40), st.floats(0.01, 1))
def test_every_row_occurs_once(count: int, batch: int, share: float) -> None:
    order = np.random.default_rng(1).permutation(count)
    found = hard_order(order, lambda rows: VECTORS[rows], batch, share)
    assert sorted(found.tolist()) == list(range(count))


def test_a_larger_share_makes_batches_more_alike() -> None:
    order = np.random.default_rng(1).permutation(len(VECTORS))
    orders = [hard_order(order, lambda rows: VECTORS[rows], 50, s) for s in (0.3, 0.6, 1.0)]
    apart = [nearness(one, 50) for one in (order, *orders)]
    assert apart[0] > apart[1] > apart[2] > apart[3]
    assert apart[3] < 0.6 * apart[0]
