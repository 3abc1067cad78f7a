"""Reductions against brute force: chunks in any order and place give what the whole gives."""

from __future__ import annotations

import pickle
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from geoloc.candidates import percentile_of
from geoloc.domain import Domain, Grid, Points
from geoloc.errors import OutputError, UsageError
from geoloc.search import Heatmaps, Query, Ranked, TopK, reduce_scan, reduce_scenes, scan
from geoloc.search.reductions import Place

from .array_cube import find_candidates, heatmaps, make_cube, photos, scene_heatmaps

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
    workers = [TopK(grid, 2, top, radius) for _ in range(3)]
    rng = np.random.default_rng(seed)
    blocks = list(grid.chunks(size=7))
    for i in rng.permutation(len(blocks)):
        maps = np.stack([heatmap, -heatmap])[:, *blocks[i].slices]
        worker = workers[rng.integers(3)]
        if rng.random() < 0.5:
            worker.add(blocks[i], maps)
        else:
            part = pickle.loads(pickle.dumps(worker.part()))  # noqa: S301 our own
            part.add(blocks[i], maps)
            worker.merge(part)
    for other in workers[1:]:
        workers[0].merge(other)
    found = [places_of(one, grid, top, radius) for one in (heatmap, -heatmap)]
    assert workers[0].result() == found


def places_of(heatmap: F32, grid: Domain, top: int, radius: float) -> list[Place]:
    """The places of a map that is one chunk."""
    best = TopK(grid, 1, top, radius)
    best.add(grid.chunk(*[0] * len(grid.shape), size=max(grid.shape)), heatmap[None])
    return best.result()[0]


def test_little_is_kept_of_a_large_map() -> None:
    heatmap = make_heatmap(600, 500, 1)
    best = TopK(grid := grid_of(heatmap), 1, top=5, radius=60)
    for block in grid.chunks():
        best.add(block, heatmap[None, *block.slices])
    (cells,) = best.best
    assert cells.capacity == 5 * 142 and cells.kept == cells.capacity
    assert cells.valid == np.isfinite(heatmap).sum()
    later = best.part()
    later.add(grid.chunk(0, 0), heatmap[None, :128, :128])
    assert later.best[0].kept < 200  # it knows what cannot matter any more


@pytest.mark.parametrize(("top", "radius"), [(0, 1.0), (3, -1.0), (3, float("nan"))])
def test_bad_requests_are_refused(top: int, radius: float) -> None:
    with pytest.raises(UsageError):
        find_candidates(make_heatmap(3, 3, 0), grid_of(make_heatmap(3, 3, 0)), top, radius)


@pytest.mark.parametrize("step", [0.1, 0.3, 0.7, 1 / 3])
def test_cells_that_lie_the_radius_apart_are_apart_whatever_the_step(step: float) -> None:
    heatmap = np.tile(np.float32([3, 4, 5, 6, 7, 8, 9]), (2, 1))
    heatmap[1] = np.nan
    found = places_of(heatmap, grid_of(heatmap, step), 3, 3 * step)
    assert [place.index for place in found] == [0, 3, 6]


@given(
    count=st.integers(1, 80), top=st.integers(1, 9), radius=st.sampled_from([0.0, 7.0, 30.0, 1e4]),
    levels=st.sampled_from([0, 2, 5]), seed=st.integers(0, 2**32),
)  # fmt: skip
@settings(max_examples=80)
def test_places_of_points_are_those_of_brute_force(
    count: int, top: int, radius: float, levels: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    domain = Points("EPSG:32636", rng.uniform(0, 100, (count, 2)) * [1.0, 0.3])
    distances = make_heatmap(1, count, seed, levels)[0]
    left, expected = distances.astype(np.float64), []
    while len(expected) < top and np.isfinite(left).any():
        best = int(np.nanargmin(left))
        expected.append(best)
        left[np.hypot(*(domain.coordinates - domain.coordinates[best]).T) < radius] = np.nan
        left[best] = np.nan
    found = TopK(domain, 1, top, radius)
    for chunk in domain.chunks(size=11):
        part = found.part()
        part.add(chunk, distances[None, *chunk.slices])
        found.merge(part)
    (places,) = found.result()
    assert [place.index for place in places] == expected
    assert [(p.x, p.y) for p in places] == [tuple(domain.coordinates[i]) for i in expected]
    known = distances[np.isfinite(distances)]
    for place in places:
        at_most = np.count_nonzero(known <= distances[place.index])
        assert place.percentile == pytest.approx(100 * at_most / len(known))


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("count", [1, 5])
def test_a_scan_is_reduced_to_heatmaps_and_their_places(
    tmp_path: Path, count: int, threads: int
) -> None:
    cube = make_cube(300, 531, 7)
    query = Query(photos(cube, count))
    left, _, _, top = cube.grid.bounds
    for polygon in (None, shapely.box(left + 700, top - 2000, left + 2000, top - 1000)):
        options = {"within": polygon, "within_crs": cube.grid.crs}
        whole = heatmaps(cube, query, **options)
        ranked = Ranked(Heatmaps.of(cube.grid, count, tmp_path), TopK(cube.grid, count, 7, 99.0))
        search = partial(reduce_scan, cube, query, threads=threads, **options)
        found = search(ranked)
        assert list(tmp_path.iterdir()) == []  # the file has no name
        for one, heatmap in zip(found, whole, strict=True):
            np.testing.assert_array_equal(one.heatmap[:], heatmap)
            assert one.places == places_of(heatmap, cube.grid, 7, 99.0)
        assert search(TopK(cube.grid, count, 7, 99.0)) == [one.places for one in found]


def test_scenes_are_reduced_and_progress_is_told() -> None:
    cube = make_cube(300, 260, 5)
    told: list[tuple[int, int]] = []
    (found,) = reduce_scenes(
        cube, ["airfield"], Heatmaps.of(cube.grid, 1), progress=lambda *done: told.append(done)
    )
    np.testing.assert_array_equal(found[:], scene_heatmaps(cube, ["airfield"])[0])
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_what_a_worker_sends_back_is_no_more_than_is_kept() -> None:
    cube = make_cube(256, 256, 5, missing=0)
    (piece,) = scan(cube, Query(photos(cube, 2)))
    best = TopK(cube.grid, 2, top=3, radius=50)
    part = best.part()
    part.add(*piece)
    assert len(pickle.dumps(part)) < 20_000 < piece[1].nbytes
    ranked = Ranked(Heatmaps.of(cube.grid, 2), best)
    both = ranked.part()
    both.add(*piece)
    assert len(pickle.dumps(both)) < piece[1].nbytes + 2000  # the values alone


def test_a_full_disk_ends_a_search_in_one_line() -> None:
    grid = grid_of(make_heatmap(20, 30, 0))
    maps = Heatmaps.of(grid, 1)
    assert maps.store is not None
    full = Path("/dev/full").open("wb")  # noqa: SIM115
    with full, pytest.raises(OutputError, match=r"^no room .*: No space left on device; choose"):
        Heatmaps(replace(maps.store, file=full)).add(
            grid.chunk(0, 0, size=256), make_heatmap(20, 30, 0)[None]
        )
