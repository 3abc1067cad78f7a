from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoloc.errors import UsageError
from geoloc.points.chance import require_seed, uniform_numbers


@given(st.integers(0, 2**64 - 1), st.integers(1, 40), st.integers(1, 40))
def test_numbers_do_not_depend_on_how_many_are_taken_at_a_time(
    seed: int, one: int, other: int
) -> None:
    def first(batch: int) -> list[float]:
        numbers = uniform_numbers(seed, batch)
        return np.concatenate([next(numbers) for _ in range(40 // batch + 1)])[:40].tolist()

    assert first(one) == first(other)


def test_numbers_are_the_same_for_ever() -> None:
    """Written down once: a sequence of points is named by what it was drawn from."""
    assert next(uniform_numbers(7, 3)).tolist() == PINNED
    assert (next(uniform_numbers(8, 3)) != PINNED).all()


PINNED = [0.8720734548204873, 0.29536538151378355, 0.4200976785072422]


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_a_seed_is_a_number_of_64_bits(seed: int) -> None:
    with pytest.raises(UsageError, match=r"write a whole number from 0 to 2\^64 - 1"):
        require_seed(seed)
