"""The reduction by regions against a naive one, over cells and points, in any order and place."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from geoloc.domain import Domain, Grid, Points, Regions
from geoloc.errors import UsageError
from geoloc.executors import InlineExecutor, open_cluster
from geoloc.search import Query, RegionMin, RegionMinima, maps_at_once, reduce_scan
from geoloc.search.background import edges

from .array_cube import make_cube
from .encoder_models import CLASSES
from .point_place import write_point_cube

F32 = NDArray[np.float32]
CRS = "EPSG:32636"


def grid_of(ny: int, nx: int) -> Grid:
    return Grid(CRS, 300_211.0, 5_604_575.0, 10, ny, nx)


def distances(shape: tuple[int, ...], seed: int, levels: int) -> F32:
    rng = np.random.default_rng(seed)
    values = rng.uniform(0.5, 9, shape) if not levels else rng.integers(1, levels + 1, shape)
    values = values.astype(np.float32)
    values[:, rng.random(shape[1:]) < 0.2] = np.nan
    return values


def naive(domain: Domain, layout: Regions, values: F32) -> dict[int, list[tuple[float, int]]]:
    """Of each region that has any: its known places as (distance, index), ascending."""
    xy = domain.centres(np.arange(domain.size))
    found: dict[int, list[tuple[float, int]]] = {}
    left, _, _, top = layout.grid.bounds
    for number, ((x, y), value) in enumerate(zip(xy, values.reshape(-1), strict=True)):
        if np.isfinite(value):
            row, col = (top - y) // layout.size, (x - left) // layout.size
            region = int(row * layout.grid.nx + col)
            found.setdefault(region, []).append((float(value), number))
    return {region: sorted(places) for region, places in found.items()}


def check(found: RegionMinima, expected: dict[int, list[tuple[float, int]]]) -> None:
    assert np.flatnonzero(found.count).tolist() == sorted(expected)
    for region, places in expected.items():
        assert found.count[region] == len(places)
        assert (float(found.best[region]), int(found.index[region])) == places[0]
        second = float(found.second[region])
        assert second == places[1][0] if len(places) > 1 else np.isnan(second)
        if found.nearest is not None:
            nearest = [value for value, _ in places[: found.nearest.shape[1]]]
            kept = found.nearest[region]
            assert kept[: len(nearest)].tolist() == nearest and np.isnan(kept[len(nearest) :]).all()
    empty = found.count == 0
    assert np.isnan(found.best[empty]).all() and (found.index[empty] == -1).all()
    every = np.sort([value for places in expected.values() for value, _ in places])
    counts, _ = np.histogram(every, edges())
    np.testing.assert_array_equal(found.background.counts, counts)
    assert found.outside == 0


def reduced(domain: Domain, layout: Regions, values: F32, size: int, seed: int) -> Any:
    """By chunks in any order, in three workers, of which some send their parts by pickle."""
    rng, workers = np.random.default_rng(seed), [RegionMin.of(layout, len(values), 4, 3)]
    workers += [workers[0].part() for _ in range(2)]
    chunks = list(domain.chunks(size=size))
    for i in rng.permutation(len(chunks)):
        worker, piece = workers[rng.integers(3)], values[:, *chunks[i].slices]
        if rng.random() < 0.5:
            worker.add(chunks[i], piece)
        else:
            part = workers[0].part()
            part.add(chunks[i], piece)
            worker.merge(pickle.loads(pickle.dumps(part)))  # noqa: S301 our own
    for other in workers[1:]:
        workers[0].merge(other)
    return workers[0].result()


@given(
    ny=st.integers(1, 23),
    nx=st.integers(1, 23),
    size=st.sampled_from([10.0, 25.0, 40.0, 77.0, 1000.0]),
    levels=st.sampled_from([0, 1, 3]),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=60)
def test_cells_in_any_order_and_place_give_what_the_definition_gives(
    ny: int, nx: int, size: float, levels: int, seed: int
) -> None:
    grid = grid_of(ny, nx)
    layout, values = Regions.of(grid, size), distances((2, ny, nx), seed, levels)
    for found, one in zip(reduced(grid, layout, values, 7, seed), values, strict=True):
        check(found, naive(grid, layout, one))


@given(
    count=st.integers(1, 300),
    size=st.sampled_from([500.0, 3000.0, 1e6]),
    levels=st.sampled_from([0, 2]),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=60)
def test_points_in_any_order_and_place_give_what_the_definition_gives(
    count: int, size: float, levels: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    xy = rng.uniform((300_000, 5_500_000), (309_000, 5_505_000), (count, 2))
    points = Points.along_curve(CRS, xy)
    layout, values = Regions.of(points, size), distances((2, count), seed, levels)
    for found, one in zip(reduced(points, layout, values, 64, seed), values, strict=True):
        check(found, naive(points, layout, one))


def test_the_places_that_stand_for_a_region_do_not_depend_on_the_chunks() -> None:
    grid = grid_of(40, 30)
    layout, values = Regions.of(grid, 100), distances((3, 40, 30), 5, 0)
    samples = [
        [found.sample for found in reduced(grid, layout, values, size, seed)]
        for size, seed in ((7, 1), (40, 2), (11, 3))
    ]
    for other in samples[1:]:
        np.testing.assert_array_equal(np.array(samples[0]), np.array(other))
    known = naive(grid, layout, values[1])
    for region, places in known.items():
        mine = samples[0][1][region]
        assert len(set(mine.tolist())) == 4 and set(mine.tolist()) <= {v for v, _ in places}
    few = RegionMin.of(Regions.of(grid, 10), 1, 4)
    few.add(grid.chunk(0, 0, size=64), values[:1])
    sample = few.result()[0].sample
    assert sample is not None and (np.isfinite(sample).sum(axis=1) <= 1).all()


def test_more_photos_than_memory_holds_are_refused() -> None:
    layout = Regions.of(grid_of(1000, 1000), 10)
    most = maps_at_once(layout)
    assert 50 < most < 150
    assert maps_at_once(layout, 32) == maps_at_once(layout, 0, 32) < most
    with pytest.raises(UsageError, match=f"ask at most {most} photos at a time, or for larger"):
        RegionMin.of(layout, most + 1)


def test_a_part_that_travels_leaves_the_border_at_home() -> None:
    import shapely

    grid = grid_of(20, 20)
    border = shapely.Point(300_300, 5_604_500).buffer(150, quad_segs=5000)
    whole = RegionMin.of(Regions.of(grid, 50, polygon=border), 1)
    part = whole.part()
    part.add(grid.chunk(0, 0), distances((1, 20, 20), 1, 0))
    assert len(pickle.dumps(part)) < 60_000 < len(pickle.dumps(whole))
    whole.merge(pickle.loads(pickle.dumps(part)))  # noqa: S301 our own
    inside = int(whole.result()[0].count.sum())
    assert inside > 0 and whole.result()[0].outside > 0
    assert inside + whole.result()[0].outside == np.isfinite(distances((1, 20, 20), 1, 0)).sum()


@pytest.mark.parametrize("executor", [None, InlineExecutor()])
def test_a_cube_is_reduced_like_its_distances(executor: InlineExecutor | None) -> None:
    cube = make_cube(270, 300, 12)
    vectors = np.random.default_rng(4).normal(0, 3, (5, cube.features.dim)).astype(np.float32)
    layout = Regions.of(cube.domain, 400)
    found = reduce_scan(cube, Query(vectors), RegionMin.of(layout, 5), executor=executor, threads=2)
    values = cube.features.decode(cube.read(slice(None), slice(None))).astype(np.float64)
    for one, vector in zip(found, vectors, strict=True):
        exact = np.sqrt(((values - vector) ** 2).mean(-1)).astype(np.float32)
        for region, places in naive(cube.domain, layout, exact).items():
            assert one.count[region] == len(places)
            assert float(one.best[region]) == pytest.approx(places[0][0], abs=2e-3)


def test_a_cluster_gives_what_threads_give_to_the_last_bit(scheduler: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(9)
    xy = rng.uniform((30, 48), (33, 50), (1200, 2))
    features = rng.normal(0, 2, (1200, len(CLASSES))).astype(np.float32)
    features[::9] = np.nan
    cube = write_point_cube(tmp_path / "c.zarr", Points.along_curve("EPSG:4326", xy), features)
    border = equal_area_box(cube.domain)
    layout = Regions.of(cube.domain, 40_000, polygon=border)
    query = Query(rng.normal(0, 2, (5, len(CLASSES))).astype(np.float32))
    with open_cluster(scheduler) as executor:
        far = reduce_scan(cube, query, RegionMin.of(layout, 5, 8), executor=executor)
    near = reduce_scan(cube, query, RegionMin.of(layout, 5, 8), threads=2)
    for one, other in zip(far, near, strict=True):
        for name in ("count", "best", "second", "index", "sample"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
        np.testing.assert_array_equal(one.background.counts, other.background.counts)
        assert one.outside == other.outside > 0


def equal_area_box(domain: Domain) -> Any:
    """A border that cuts off the outer points, in the CRS of the domain's regions."""
    import shapely

    free = Regions.of(domain, 40_000)
    left, bottom, right, top = free.grid.bounds
    return shapely.Point((left + right) / 2, (bottom + top) / 2).buffer((right - left) / 2.4)
