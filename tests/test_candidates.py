"""Candidates against brute force: separation, percentiles, streams, exact explanations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pyproj import Transformer

from geoloc.candidates import (
    BestCells,
    explain_candidates,
    find_candidates,
    good_candidates,
    percentile_of,
    shared_scenes,
)
from geoloc.domain import Grid
from geoloc.errors import UsageError
from geoloc.models import FeatureSpace
from geoloc.search import Query, heatmaps

from .array_cube import make_cube

F32 = NDArray[np.float32]


def grid_of(heatmap: F32, step: float = 10) -> Grid:
    return Grid("EPSG:32636", 300_211.0, 5_604_575.0, step, *heatmap.shape)


def make_heatmap(ny: int, nx: int, seed: int, levels: int = 0, missing: float = 0.1) -> F32:
    """Random distances; with ``levels`` only so many different ones, to make ties."""
    rng = np.random.default_rng(seed)
    heatmap = rng.uniform(1, 5, (ny, nx)) if not levels else rng.integers(1, levels + 1, (ny, nx))
    heatmap = heatmap.astype(np.float32)
    heatmap[rng.random((ny, nx)) < missing] = np.nan
    return heatmap


def brute_force(heatmap: F32, step: float, top: int, radius: float) -> list[tuple[int, int]]:
    """Take the best cell, remove everything near it, repeat."""
    left = heatmap.astype(np.float64).copy()
    y, x = np.indices(left.shape)
    found: list[tuple[int, int]] = []
    while len(found) < top and np.isfinite(left).any():
        row, col = np.unravel_index(np.nanargmin(left), left.shape)
        found.append((int(row), int(col)))
        left[np.hypot(y - row, x - col) * step < radius] = np.nan
        left[row, col] = np.nan
    return found


cases = given(
    ny=st.integers(1, 25),
    nx=st.integers(1, 25),
    top=st.integers(1, 30),
    radius=st.sampled_from([0.0, 5.0, 10.0, 14.2, 30.0, 47.0, 1e6]),
    levels=st.sampled_from([0, 1, 3, 9]),
    missing=st.sampled_from([0.0, 0.3, 1.0]),
    seed=st.integers(0, 2**32),
)


@cases
@settings(max_examples=150)
def test_candidates_are_those_of_brute_force(
    ny: int, nx: int, top: int, radius: float, levels: int, missing: float, seed: int
) -> None:
    heatmap = make_heatmap(ny, nx, seed, levels, missing)
    found = find_candidates(heatmap, grid_of(heatmap), top, radius)
    assert [(c.row, c.col) for c in found] == brute_force(heatmap, 10, top, radius)
    assert [c.rank for c in found] == list(range(1, len(found) + 1))
    for c in found:
        assert c.distance == heatmap[c.row, c.col]
        assert c.percentile == pytest.approx(percentile_of(heatmap, c.row, c.col))


@cases
@settings(max_examples=100)
def test_blocks_in_any_order_and_place_give_the_same(
    ny: int, nx: int, top: int, radius: float, levels: int, missing: float, seed: int
) -> None:
    heatmap = make_heatmap(ny, nx, seed, levels, missing)
    grid = grid_of(heatmap)
    workers = [BestCells(grid, top, radius) for _ in range(3)]
    rng = np.random.default_rng(seed)
    blocks = list(grid.chunks(size=7))
    for i in rng.permutation(len(blocks)):
        workers[rng.integers(3)].add(blocks[i], heatmap[blocks[i].slices])
    for other in workers[1:]:
        workers[0].merge(other)
    assert workers[0].candidates() == find_candidates(heatmap, grid, top, radius)


def test_little_is_kept_of_a_large_map() -> None:
    heatmap = make_heatmap(600, 500, 1)
    best = BestCells(grid_of(heatmap), top=5, radius=60)
    for block in best.grid.chunks():
        best.add(block, heatmap[block.slices])
    assert best.capacity == 5 * 142 and len(best._distance) == best.capacity
    assert best.valid == np.isfinite(heatmap).sum()


def test_coordinates_are_the_cells_centre() -> None:
    heatmap = make_heatmap(9, 13, 2)
    best = find_candidates(heatmap, grid_of(heatmap))[0]
    assert (best.x, best.y) == (300_211 + 10 * best.col + 5, 5_604_575 - 10 * best.row - 5)
    back = Transformer.from_crs(4326, 32636, always_xy=True).transform(best.lon, best.lat)
    assert back == pytest.approx((best.x, best.y), abs=0.01)
    assert 29 < best.lon < 31 and 50 < best.lat < 51


def test_nothing_known_gives_no_candidates() -> None:
    heatmap = np.full((3, 4), np.nan, np.float32)
    assert find_candidates(heatmap, grid_of(heatmap)) == []
    assert not good_candidates(heatmap).any()


@pytest.mark.parametrize(("top", "radius"), [(0, 1.0), (3, -1.0), (3, float("nan"))])
def test_bad_requests_are_refused(top: int, radius: float) -> None:
    with pytest.raises(UsageError):
        find_candidates(make_heatmap(3, 3, 0), grid_of(make_heatmap(3, 3, 0)), top, radius)


def test_percentile_counts_known_cells_up_to_and_with_this_one() -> None:
    heatmap = np.float32([[1, 2, 2, np.nan], [3, 4, 5, 6]])
    assert percentile_of(heatmap, 0, 0) == pytest.approx(100 / 7)
    assert percentile_of(heatmap, 0, 1) == pytest.approx(300 / 7)
    assert percentile_of(heatmap, 1, 3) == 100
    assert percentile_of(heatmap, 0, 3) is None
    assert percentile_of(heatmap, 2, 0) is None and percentile_of(heatmap, 0, -1) is None


def test_good_candidates_follow_the_rule_of_the_study() -> None:
    distances = np.float32([1.0, 1.25, 1.5, 1.75, 6.0, np.nan])
    assert good_candidates(distances).tolist() == [True, True, True, False, False, False]
    assert good_candidates(distances, share=0.05).tolist()[:3] == [True, True, False]
    assert good_candidates(np.ones(3, np.float32)).all()


def test_shared_scenes_are_high_in_both() -> None:
    space = FeatureSpace(tuple("abcdefgh"))
    distance = space.distance()
    photo = [9.0, 8.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    place = [7.0, 0.0, 8.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    shared = shared_scenes(space.explain(photo, place, distance))
    assert [t.scene for t in shared] == ["a"]
    flat = shared_scenes(space.explain(np.ones(8), np.ones(8), distance))
    assert flat == ()


def test_candidates_are_explained_from_the_cube() -> None:
    cube = make_cube(40, 50, 16, missing=0)
    photo = cube.values()[7, 9]
    found = find_candidates(heatmaps(cube, Query(photo))[0], cube.grid, top=4)
    explained = explain_candidates(found, cube, photo, terms=3)
    assert (explained[0].row, explained[0].col) == (7, 9)
    assert all(len(c.explanation) == 3 for c in explained)
    second = explained[1]
    parts = ((photo - cube.values()[second.row, second.col]) ** 2).astype(np.float64) / 16
    top = int(parts.argmax())
    assert second.explanation[0].scene == cube.features.names[top]
    assert second.explanation[0].share == pytest.approx(parts[top] / second.distance**2, rel=1e-4)
    assert [c.rank for c in explained] == [1, 2, 3, 4]
