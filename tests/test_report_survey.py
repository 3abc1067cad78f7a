"""The survey of a heatmap against NumPy on the whole of it; shrinking and colours by strips."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from geoloc.domain import Grid
from geoloc.report import survey as survey_module
from geoloc.report.heat import ColorScale, reduced
from geoloc.report.shares import LEVELS, RAMP, SHARES, STOPS, TICKS, least_share
from geoloc.report.survey import Survey, heatmap_digest
from geoloc.search import Heatmap, Heatmaps

F32 = NDArray[np.float32]


def values(ny: int, nx: int, missing: float, seed: int = 0) -> F32:
    rng = np.random.default_rng(seed)
    found = rng.gamma(2, 1, (ny, nx)).astype(np.float32)
    found[rng.random((ny, nx)) < missing] = np.nan
    return found


def in_file(heatmap: F32) -> Heatmap:
    """The same as a search leaves it."""
    grid = Grid("EPSG:32636", 0.0, 0.0, 10.0, *heatmap.shape)
    maps = Heatmaps.of(grid, 1)
    for chunk in grid.chunks(size=256):
        maps.add(chunk, heatmap[None, *chunk.slices])
    return maps.result()[0]


@pytest.mark.parametrize("sample", [4_000_000, 700, 7_001])
@pytest.mark.parametrize(("ny", "nx", "missing"), [(290, 301, 0.2), (1, 530, 0.0), (3, 3, 0.9)])
def test_figures_are_those_of_the_whole(
    monkeypatch: pytest.MonkeyPatch, ny: int, nx: int, missing: float, sample: int
) -> None:
    monkeypatch.setattr(survey_module, "_SAMPLE", sample)
    heatmap = values(ny, nx, missing)
    known = heatmap[np.isfinite(heatmap)].astype(np.float64)
    picked = heatmap.reshape(-1)[:: max(1, heatmap.size // sample)]
    picked = picked[np.isfinite(picked)]
    found = Survey.of(in_file(heatmap))
    assert (found.known, found.sampled) == (len(known), len(picked))
    assert (found.low, found.high) == (known.min(), known.max())
    assert found.mean == pytest.approx(known.mean(), rel=1e-12)
    assert found.deviation == pytest.approx(known.std(), rel=1e-6)
    asked = np.concatenate([SHARES, TICKS, STOPS, RAMP, [0, 0.5, 1, least_share(heatmap.size)]])
    np.testing.assert_array_equal(found.quantiles(asked), np.quantile(picked, asked))
    plain = np.where(np.isnan(heatmap), np.float32(math.nan), heatmap).astype("<f4").tobytes()
    assert found.sha256 == heatmap_digest(heatmap) == hashlib.sha256(plain).hexdigest()


def test_other_shares_are_off_by_less_than_their_neighbours() -> None:
    heatmap = values(200, 300, 0.1)
    found, known = Survey.of(heatmap), np.sort(heatmap[np.isfinite(heatmap)])
    fractions = np.random.default_rng(1).uniform(0, 1, 500)
    at = np.searchsorted(known, found.quantiles(fractions)) / len(known)
    assert np.abs(at - fractions).max() < 0.008


def test_nothing_known_has_figures_of_nothing() -> None:
    found = Survey.of(np.full((7, 9), np.nan, np.float32))
    assert (found.known, found.sampled) == (0, 0)
    assert not found.quantiles(SHARES).any()


@given(
    ny=st.integers(1, 70), nx=st.integers(1, 70), factor=st.integers(1, 80),
    most=st.sampled_from([4, 900, 1 << 20]), seed=st.integers(0, 2**32),
)  # fmt: skip
@settings(max_examples=80)
def test_each_pixel_of_a_reduced_heatmap_has_its_smallest_distance(
    ny: int, nx: int, factor: int, most: int, seed: int
) -> None:
    heatmap = values(ny, nx, 0.4, seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("geoloc.search.heatmaps.strips.__defaults__", (most,))
        small, grid = reduced(heatmap, Grid("EPSG:32636", 7.0, 9.0, 10.0, ny, nx), factor)
    assert small.shape == grid.shape == (-(-ny // factor), -(-nx // factor))
    assert (grid.left, grid.top, grid.step) == (7.0, 9.0, 10.0 * factor)
    for row, col in np.ndindex(*small.shape):
        part = heatmap[row * factor : (row + 1) * factor, col * factor : (col + 1) * factor]
        known = part[np.isfinite(part)]
        expected = known.min() if known.size else np.nan
        np.testing.assert_array_equal(small[row, col], expected)


def test_levels_are_the_same_by_strips_and_at_once() -> None:
    heatmap = values(2100, 40, 0.2)
    edges = Survey.of(heatmap).quantiles(SHARES)
    found = ColorScale(edges).levels(heatmap)
    expected = np.searchsorted(edges, heatmap).clip(0, LEVELS - 1) + 1
    np.testing.assert_array_equal(found, np.where(np.isnan(heatmap), 0, expected))
