"""Ledgers: pieces written whole, equal to changing the array at once."""

from __future__ import annotations

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.storage import MemoryStore

from geoloc.stores.ledger import LedgerArray


class Counting(MemoryStore):
    """A store that counts what is written to it."""

    written = 0

    async def set(self, key: str, value: object, *rest: object) -> None:
        self.written += 1
        await super().set(key, value, *rest)  # type: ignore[arg-type]


def array_of(shape: tuple[int, ...], *chunks: int) -> zarr.Array:
    return zarr.create_array(Counting(), shape=shape, chunks=chunks, dtype="uint8", fill_value=7)


places_in_a_grid = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 9)), min_size=1)


@settings(max_examples=30, deadline=None)
@given(places_in_a_grid, st.booleans())
def test_changes_are_those_of_the_whole_array(
    places: list[tuple[int, int]], in_memory: bool
) -> None:
    array, naive = array_of((7, 10, 3), 4, 4, 3), np.full((7, 10, 3), 7, np.uint8)
    held = naive.copy()
    ledger = LedgerArray(array, held if in_memory else None)
    at = np.unique(np.array(places), axis=0)
    values = np.arange(3 * len(at), dtype=np.uint8).reshape(-1, 3)
    for some in (slice(0, 2), slice(None)):
        ledger.change(at[some], values[some])
        naive[tuple(at[some].T)] = values[some]
        np.testing.assert_array_equal(ledger.read(), naive)
    assert not in_memory or np.array_equal(held, naive)


@pytest.mark.parametrize("dimensions", [1, 2])
def test_each_piece_is_written_once(dimensions: int) -> None:
    array = array_of((8,) * dimensions, *(4,) * dimensions)
    before = array.store.written  # type: ignore[attr-defined]
    LedgerArray(array).change(np.array([[0] * dimensions, [3] * dimensions, [5] * dimensions]), 1)
    assert array.store.written - before == 2  # type: ignore[attr-defined]
    assert np.asarray(array[:]).sum() == 7 * (8**dimensions - 3) + 3
