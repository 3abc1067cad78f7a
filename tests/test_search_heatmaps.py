"""Heatmaps in a file against arrays: windows, rows and cells, strips, counts."""

from __future__ import annotations

import gc
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from geoloc.domain import Grid
from geoloc.search import Heatmap, Heatmaps, StoredHeatmap, standing, strips

NY, NX = 300, 531
GRID = Grid("EPSG:32636", 300_000.0, 5_600_000.0, 10.0, NY, NX)
F32 = NDArray[np.float32]


def values(maps: int = 3) -> F32:
    rng = np.random.default_rng(4)
    found = rng.integers(0, 50, (maps, NY, NX)).astype(np.float32)
    found[rng.random(found.shape) < 0.1] = np.nan
    found[:, 256:, 256:512] = np.nan  # a block that is not searched
    return found


@pytest.fixture(scope="module")
def stored() -> list[StoredHeatmap]:
    maps, whole = Heatmaps.of(GRID, 3), values()
    for chunk in reversed(list(GRID.chunks(size=256))):
        if chunk.index != (1, 1):
            maps.add(chunk, whole[:, *chunk.slices])
    return maps.result()


bounds = st.one_of(st.none(), st.integers(-NX - 9, NX + 9))


@given(number=st.integers(0, 2), rows=st.tuples(bounds, bounds), cols=st.tuples(bounds, bounds))
@settings(max_examples=80)
def test_a_window_is_that_of_the_array(
    stored: list[StoredHeatmap], number: int,
    rows: tuple[int | None, int | None], cols: tuple[int | None, int | None],
) -> None:  # fmt: skip
    whole = values()[number]
    window = slice(*rows), slice(*cols)
    np.testing.assert_array_equal(stored[number][window], whole[window])
    np.testing.assert_array_equal(stored[number][window[0]], whole[window[0]])


def test_cells_and_rows_are_those_of_the_array(stored: list[StoredHeatmap]) -> None:
    whole, heatmap = values()[2], stored[2]
    assert heatmap.shape == whole.shape and heatmap.size == whole.size
    for row, col in ((0, 0), (255, 256), (-1, -1), (299, 17)):
        np.testing.assert_array_equal(heatmap[row, col], whole[row, col])
    np.testing.assert_array_equal(heatmap[np.int64(7)], whole[7])
    with pytest.raises(IndexError):
        heatmap[NY, 0]
    np.testing.assert_array_equal(np.asarray(heatmap, np.float64), whole)
    np.testing.assert_array_equal(np.stack([np.asarray(one) for one in stored]), values())


@pytest.mark.parametrize("most", [1, 4 * NX * 7, 4 * NX * 290, 1 << 30])
def test_strips_cover_the_rows_once_and_are_bounded(stored: list[StoredHeatmap], most: int) -> None:
    heatmap: Heatmap
    for heatmap in (stored[1], values()[1]):
        parts = list(strips(heatmap, most))
        np.testing.assert_array_equal(np.concatenate([part for _, part in parts]), values()[1])
        assert [rows.start for rows, _ in parts[1:]] == [rows.stop for rows, _ in parts[:-1]]
        assert all(part.nbytes <= max(most, 4 * NX) for _, part in parts)


@given(value=st.integers(-1, 51))
@settings(max_examples=20)
def test_a_value_stands_where_counting_says(stored: list[StoredHeatmap], value: int) -> None:
    whole = values()[0]
    found = standing(stored[0], value)
    expected = ((whole < value).sum(), (whole == value).sum(), np.isfinite(whole).sum())
    assert (found.smaller, found.equal, found.known) == expected


def test_the_file_is_closed_with_its_last_heatmap() -> None:
    maps = Heatmaps.of(GRID, 2)
    assert maps.store is not None
    number = maps.store.file.fileno()
    last = maps.result()[1]
    del maps
    gc.collect()
    assert os.fstat(number).st_nlink == 0  # open, and without a name
    del last
    gc.collect()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)
