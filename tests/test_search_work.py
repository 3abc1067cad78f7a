"""Workers of a cluster search a cube as the threads of this process do, to the last bit."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import shapely

from geoloc.cube import Cube, Ledger, Status
from geoloc.errors import ClusterError, CubeError, UsageError
from geoloc.executors import Executor, InlineExecutor, Lazy, open_cluster
from geoloc.search import Query, scan
from geoloc.search.distance import Direct
from geoloc.search.mask import PolygonMask
from geoloc.search.work import BlockScan, whole

from .array_cube import heatmaps, make_cube, make_metric
from .cubes import write_cube

DIM = 20
KINDS = ("plain", "weights", "metric")


@pytest.fixture(scope="module")
def executors(scheduler: str) -> Iterator[dict[str, Executor]]:
    """Local workers and a running scheduler, started once."""
    with ExitStack() as stack:
        yield {
            word: stack.enter_context(open_cluster(kind))
            for word, kind in {"local": "local", "address": scheduler}.items()
        }


@dataclass(frozen=True)
class Cubes:
    """Six blocks of smooth features, cells without any, and a block that is not built."""

    folder: Path

    def open(self, kind: str) -> Cube:
        url = self.folder / f"{kind}.zarr"
        return Cube.open(url) if url.exists() else self._write(url, kind)

    def _write(self, url: Path, kind: str) -> Cube:
        rng = np.random.default_rng(3)
        y, x = np.mgrid[0:300, 0:531] / 40
        waves = rng.uniform(-2, 2, (2, DIM))
        features = (3 * np.sin(y[..., None] * waves[0] + x[..., None] * waves[1])).astype(
            np.float32
        )
        features[40:60, 100:150] = np.nan
        weights = np.linspace(0, 2, DIM).astype(np.float32) if kind == "weights" else None
        metric = make_metric(DIM, 9) if kind == "metric" else None
        write_cube(url, features, weights=weights, metric=metric)
        Ledger(url, "g0001").mark((1, 1), Status.MISSING, "00" * 32)
        return Cube.open(url)


@pytest.fixture(scope="module")
def cubes(tmp_path_factory: pytest.TempPathFactory) -> Cubes:
    return Cubes(tmp_path_factory.mktemp("cubes"))


def triangle(cube: Cube) -> shapely.Polygon:
    """Over the west of the grid and a part of its middle."""
    left, bottom, right, top = cube.grid.bounds
    return shapely.Polygon([(left, top), (left + 0.6 * (right - left), top), (left, bottom)])


@pytest.mark.parametrize("word", ["local", "address"])
@pytest.mark.parametrize("count", [1, 6])
@pytest.mark.parametrize("kind", [*KINDS, "asked weights"])
def test_workers_give_what_threads_give_to_the_last_bit(
    cubes: Cubes, executors: dict[str, Executor], kind: str, count: int, word: str
) -> None:
    asked = kind == "asked weights"
    cube = cubes.open("plain" if asked else kind)
    vectors = np.random.default_rng(8).normal(0, 2, (count, DIM)).astype(np.float32)
    query = Query(vectors, np.linspace(1, 3, DIM, dtype=np.float32) if asked else None)
    for polygon in (None, triangle(cube)):
        search = partial(heatmaps, cube, query, polygon, within_crs=cube.grid.crs)
        here, there = search(), search(executor=executors[word])
        assert here.tobytes() == there.tobytes()
        assert np.isnan(here[:, 128:256, 128:256]).all() and np.isfinite(here).any()


def test_an_inline_executor_is_the_threads_of_this_process(cubes: Cubes) -> None:
    cube = cubes.open("plain")
    query = Query(np.ones((1, DIM), np.float32))
    blocks = [block for block, _ in scan(cube, query, executor=InlineExecutor())]
    assert [b.index for b in blocks] == [(r, c) for r in range(2) for c in range(3)]


def test_what_is_sent_holds_no_cell_of_the_cube(cubes: Cubes) -> None:
    cube = cubes.open("plain")
    direct = Direct(np.ones(64, np.float32), np.zeros((1, 64), np.float32))
    work = BlockScan(Lazy(partial(Cube, cube.url, cube.generation)), direct, None, whole)
    before = work.finish((0, 1), work.read((0, 1)))  # with the cube open
    sent = pickle.dumps(work)
    assert len(sent) < 2000
    again: BlockScan = pickle.loads(sent)  # noqa: S301 our own
    np.testing.assert_array_equal(again.finish((0, 1), again.read((0, 1))), before)


def test_a_mask_is_prepared_again_where_it_arrives(cubes: Cubes) -> None:
    cube = cubes.open("plain")
    mask = PolygonMask.of(cube.grid, triangle(cube), cube.grid.crs)
    again: PolygonMask = pickle.loads(pickle.dumps(mask))  # noqa: S301 our own
    assert shapely.is_prepared(again.polygon) and again.domain == mask.domain
    block = cube.grid.chunk(0, 1, size=256)
    np.testing.assert_array_equal(again.cells(block), mask.cells(block))


def test_a_cube_named_relative_to_a_folder_is_found_by_workers_elsewhere(
    cubes: Cubes, executors: dict[str, Executor], monkeypatch: pytest.MonkeyPatch
) -> None:
    cubes.open("plain")
    monkeypatch.chdir(cubes.folder)
    cube = Cube.open("plain.zarr")
    query = Query(np.ones((1, DIM), np.float32))
    found = heatmaps(cube, query, executor=executors["local"])  # started in another folder
    np.testing.assert_array_equal(found, heatmaps(cube, query))


@pytest.mark.parametrize("word", ["local", "address"])
def test_a_block_that_fails_is_named(
    cubes: Cubes, executors: dict[str, Executor], tmp_path: Path, word: str
) -> None:
    features = np.random.default_rng(1).normal(0, 1, (300, 300, DIM)).astype(np.float32)
    cube = write_cube(tmp_path / "cube.zarr", features)
    damaged = tmp_path / "cube.zarr/g0001/features/c/0/2/0"
    damaged.write_bytes(damaged.read_bytes()[:100])
    query = Query(np.ones((1, DIM), np.float32))
    with pytest.raises(CubeError, match=r"^rows 0-255, columns 256-299 .* cube .*cube\.zarr"):
        heatmaps(cube, query, executor=executors[word])
    again = heatmaps(cubes.open("plain"), query, executor=executors[word])
    assert np.isfinite(again).any()  # the failure left nothing behind


def test_a_cube_in_memory_is_not_sent(executors: dict[str, Executor]) -> None:
    cube = make_cube(20, 20, 3)
    with pytest.raises(UsageError, match="only a cube in a store"):
        heatmaps(cube, Query(np.ones(3, np.float32)), executor=executors["local"])


def test_a_cluster_that_is_lost_ends_the_search(cubes: Cubes) -> None:
    from distributed import LocalCluster

    query = Query(np.ones((1, DIM), np.float32))
    with (
        LocalCluster(
            n_workers=1, threads_per_worker=1, processes=False, protocol="tcp",
            dashboard_address=":0",
        ) as cluster,
        open_cluster(cluster.scheduler_address) as executor,
    ):  # fmt: skip
        pieces = scan(cubes.open("plain"), query, executor=executor)
        next(pieces)
        cluster.close()
        with pytest.raises(ClusterError, match="is gone"):
            list(pieces)
