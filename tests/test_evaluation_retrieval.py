"""Average precision with ties, and what chance gives, by counting."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from geoloc.evaluation.retrieval import average_precision, chance_precision, precision_at_best


def by_hand(distances: list[float], relevant: list[bool]) -> float:
    """The mean over right items of the precision there; of equal ones the wrong come first."""
    ranked = [hit for _, hit in sorted(zip(distances, relevant, strict=True))]
    found = [sum(ranked[: n + 1]) / (n + 1) for n, hit in enumerate(ranked) if hit]
    return sum(found) / len(found)


@given(st.data(), st.integers(1, 12))
def test_ties_count_against(data: st.DataObject, items: int) -> None:
    tied = st.integers(0, 3).map(float)
    distances = data.draw(hnp.arrays(np.float32, (3, items), elements=tied))
    relevant = data.draw(hnp.arrays(np.bool_, (3, items)))
    relevant[:, data.draw(st.integers(0, items - 1))] = True
    found = average_precision(distances, relevant)
    rows = zip(distances.tolist(), relevant.tolist(), strict=True)
    assert found == pytest.approx([by_hand(*row) for row in rows])
    best = precision_at_best(distances, relevant, 1.0)
    first = [sorted(zip(d, r, strict=True))[0][1]
             for d, r in zip(distances.tolist(), relevant.tolist(), strict=True)]  # fmt: skip
    assert best == pytest.approx(np.mean(first))


@pytest.mark.parametrize(("right", "items"), [(1, 1), (1, 5), (2, 6), (3, 7), (4, 4), (0, 3)])
def test_chance_is_the_mean_over_all_orders(right: int, items: int) -> None:
    orders = list(combinations(range(items), right))
    means = [
        np.mean([sum(p <= at for p in places) / (at + 1) for at in places])
        for places in orders
        if places
    ]
    assert chance_precision(right, items) == pytest.approx(np.mean(means) if means else 0)
