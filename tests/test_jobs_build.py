"""Building: right numbers, whoever computes them; interruptions, refusals, broken imagery."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import shapely
import xarray as xr
from numpy.typing import NDArray
from rasterio import Affine

from geoloc.area import Area, XyzImagery, load_area
from geoloc.cube import Cube, Ledger, Status, hold_lock, lock
from geoloc.domain import Grid
from geoloc.errors import CubeError, ImageryError, ModelError, SpecMismatchError
from geoloc.imagery import ArraySource, open_source
from geoloc.imagery.source import as_window
from geoloc.jobs.build import build_blocks, build_cube
from geoloc.jobs.calibration import SIDE, calibrate
from geoloc.jobs.plan import BuildPlan, plan_build
from geoloc.jobs.verify import verify_cube
from geoloc.models import MISSING, FeatureSpace, Quantizer

from . import cubes
from .cubes import TinyEncoder, grid_of, mosaic, plan_of, step_of
from .tile_server import serve_tiles

ROOT = Path(__file__).parent.parent
GRID = grid_of(300, 420)  # 3 x 4 blocks, those at the edges smaller

s3_bucket = cubes.s3_bucket  # the fixture


@pytest.fixture(scope="module")
def source() -> ArraySource:
    return mosaic(GRID)


@pytest.fixture(scope="module")
def in_peace(tmp_path_factory: pytest.TempPathFactory, source: ArraySource) -> Path:
    """A cube built without interruption."""
    path = tmp_path_factory.mktemp("peace") / "cube.zarr"
    build_blocks(plan_of(path, GRID, source), cluster="inline")
    return path


def stored(path: Path | str) -> dict[str, bytes]:
    """All bytes of a cube but for the time when it was created."""
    root = Path(path)
    files = (p for p in sorted(root.rglob("*")) if p.is_file())
    return {
        str(p.relative_to(root)): p.read_bytes()
        for p in files
        if str(p.relative_to(root)) != "g0001/zarr.json"
    }


def whole(cube: Cube) -> NDArray[np.int8]:
    return cube.read(slice(None), slice(None))


@dataclass
class Stop:
    """Interrupts, as Ctrl-C does, once so many blocks are encoded."""

    after: int
    seen: int = 0

    def __call__(self, *_: int) -> None:
        self.seen += 1
        if self.seen >= self.after:
            raise KeyboardInterrupt


# --- the numbers ----------------------------------------------------------------------------


def test_the_cube_holds_what_the_encoder_says(in_peace: Path, source: ArraySource) -> None:
    encoder, cube = TinyEncoder(), Cube.open(in_peace)
    image = source.read(encoder.window(GRID))
    window = encoder.window(GRID)
    expected = encoder.encode(image.values, image.coords["valid"].values, window, GRID)
    values = cube.features.decode(whole(cube))
    np.testing.assert_allclose(values, expected, atol=step_of(cube) / 2 + 1e-3)
    assert (np.abs(values - expected) <= cube.features.stored_code.scale / 2 + 1e-3).all()
    assert cube.features.names == ("red", "green", "blue", "warm", "cold")
    provenance = cube.provenance(GRID.chunk(1, 1))
    assert provenance["items"] == [{"id": "array", "href": "memory:array"}]
    assert provenance["fingerprint"] == source.fingerprint(
        encoder.window(GRID.window(*GRID.chunk(1, 1).slices))
    )


def test_what_a_run_says(tmp_path: Path, source: ArraySource) -> None:
    told: list[tuple[int, int]] = []
    plan = plan_of(tmp_path, GRID, source)
    report = build_blocks(plan, progress=lambda done, total: told.append((done, total)))
    assert told == [(i, 12) for i in range(1, 13)]
    assert (report.blocks_done, report.blocks_reused, report.blocks_failed) == (12, 0, 0)
    assert report.cells == report.cells_encoded == GRID.size
    assert report.missing_cells == 0
    assert report.cluster == "inline"
    assert set(report.stage_seconds) == {"read", "decode", "encode", "write"}
    assert report.stage_bytes["encode"] == 4 * 5 * GRID.size
    assert report.stage_bytes["write"] == (5 + 4) * GRID.size
    assert report.stage_bytes["decode"] > 3 * 16 * GRID.size
    assert report.published
    assert report.to_json()["cells_per_second"] > 0
    assert "12 blocks built" in report.summary()
    report.raise_if_incomplete()


def test_the_bytes_that_web_tiles_took_are_reported(tmp_path: Path) -> None:
    def tile(zoom: int, x: int, y: int) -> NDArray[np.uint8]:
        return np.random.default_rng([zoom, x, y]).integers(1, 256, (256, 256, 3), np.uint8)

    grid = grid_of(20, 150)  # two blocks, whose margins overlap
    with serve_tiles(tile) as server:
        imagery = {"url": server.url(), "cache_mb": 0, "rate": 1000.0}
        source = open_source(XyzImagery.model_validate(imagery))
        code = Quantizer.of_range(-100.0, 100.0)
        plan = plan_of(tmp_path, grid, source)
        plan = replace(plan, features=plan.features.with_code(code))
        report = build_blocks(plan, cluster="inline")
        assert report.stage_bytes["read"] == pytest.approx(server.sent, rel=0.01)
    assert report.blocks_done == 2
    assert report.stage_bytes["read"] > 1_000_000
    assert re.search(r"read [\d.]+ s [\d.,]+ MB", report.summary())


@dataclass
class Uncounted:
    """A source that does not know what it took for blocks but the first."""

    good: ArraySource
    blocks: int = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.good, name)

    def read(self, window: Grid) -> xr.DataArray:
        self.blocks += window.ny > 4 * (SIDE + 2)
        data = self.good.read(window)
        return data if self.blocks <= 1 else data.assign_attrs(read_bytes=None)


def test_bytes_that_are_not_known_are_not_told(tmp_path: Path, source: ArraySource) -> None:
    report = build_blocks(plan_of(tmp_path, GRID, Uncounted(source)), cluster="inline")
    assert report.stage_bytes["read"] is None
    assert json.loads(json.dumps(report.to_json()))["stage_bytes"]["read"] is None
    assert re.search(r"read [\d.]+ s, decode [\d.]+ s [\d.,]+ MB", report.summary())


def test_dask_gives_the_same_bytes(tmp_path: Path, in_peace: Path, source: ArraySource) -> None:
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=2, threads_per_worker=2, processes=False, protocol="tcp", dashboard_address=":0"
    ) as cluster:
        report = build_blocks(plan_of(tmp_path, GRID, source), cluster=cluster.scheduler_address)
    assert report.blocks_done == 12
    assert stored(tmp_path) == stored(in_peace)


@pytest.mark.slow
def test_worker_processes_give_the_same_bytes(
    tmp_path: Path, in_peace: Path, source: ArraySource
) -> None:
    build_blocks(plan_of(tmp_path, GRID, source), cluster="local")
    assert stored(tmp_path) == stored(in_peace)


def test_s3_holds_the_same(s3_bucket: str, in_peace: Path, source: ArraySource) -> None:
    plan = plan_of(f"{s3_bucket}/cube.zarr", GRID, source)
    with pytest.raises(KeyboardInterrupt):
        build_blocks(plan, progress=Stop(after=6))
    report = build_blocks(plan)
    assert (report.blocks_reused, report.blocks_done) == (6, 6)
    there, here = Cube.open(plan.url), Cube.open(in_peace)
    np.testing.assert_array_equal(whole(there), whole(here))
    everything = slice(None), slice(None)
    np.testing.assert_array_equal(there.read_norm(*everything), here.read_norm(*everything))


def test_the_model_s_own_metric_makes_the_norms(tmp_path: Path, source: ArraySource) -> None:
    metric = np.random.default_rng(3).normal(0, 1, (5, 5)).astype(np.float32)
    grid = grid_of(40, 50)
    features = FeatureSpace(("red", "green", "blue", "warm", "cold"), metric=metric)
    build_blocks(plan_of(tmp_path, grid, source, features=features))
    cube = Cube.open(tmp_path)
    values = cube.features.decode(whole(cube))
    naive = ((values @ metric) ** 2).sum(axis=-1) / 5
    np.testing.assert_allclose(cube.read_norm(slice(None), slice(None)), naive, rtol=1e-4)


# --- interruptions ---------------------------------------------------------------------------


@pytest.mark.parametrize("after", [1, 3, 4, 9])
def test_ctrl_c_and_resume(tmp_path: Path, in_peace: Path, source: ArraySource, after: int) -> None:
    plan = plan_of(tmp_path, GRID, source)
    with pytest.raises(KeyboardInterrupt):
        build_blocks(plan, progress=Stop(after))
    report = build_blocks(plan)
    assert (report.blocks_reused, report.blocks_done) == (after, 12 - after)
    assert stored(tmp_path) == stored(in_peace)
    assert build_blocks(plan).blocks_reused == 12


SLOW_BUILD = """
import sys, time
from geoloc.jobs.build import build_blocks
from tests.cubes import grid_of, mosaic, plan_of
def told(done, total):
    print(done, flush=True)
    time.sleep(0.05)
grid = grid_of(300, 420)
try:
    build_blocks(plan_of(sys.argv[1], grid, mosaic(grid)), cluster="inline", progress=told)
except KeyboardInterrupt:
    sys.exit(99)
"""


def interrupted_build(path: Path, blocks: int, how: signal.Signals) -> int:
    """Start a build in another process, signal it once so many blocks are told; exit code."""
    with subprocess.Popen(
        [sys.executable, "-c", SLOW_BUILD, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) >= blocks:
                process.send_signal(how)
                break
    return process.returncode


def test_kill_9_and_resume(tmp_path: Path, in_peace: Path, source: ArraySource) -> None:
    for blocks in (2, 5):
        assert interrupted_build(tmp_path, blocks, signal.SIGKILL) == -signal.SIGKILL
    kept = int((Ledger(tmp_path, "g0001").status == Status.DONE).sum())
    assert 5 <= kept < 12
    report = build_blocks(plan_of(tmp_path, GRID, source))
    assert (report.blocks_reused, report.blocks_done) == (kept, 12 - kept)
    assert stored(tmp_path) == stored(in_peace)


def encoded(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Shapes of what the tiny encoder is given, from now on."""
    seen, real = list[tuple[int, int]](), TinyEncoder.encode

    def encode(self: TinyEncoder, *args: Any) -> NDArray[np.float32]:
        seen.append(args[-1].shape)
        return real(self, *args)

    monkeypatch.setattr(TinyEncoder, "encode", encode)
    return seen


@pytest.mark.parametrize("windows", [1, 40])
def test_a_build_that_is_killed_before_its_code_is_stored_begins_anew(
    tmp_path: Path,
    in_peace: Path,
    source: ArraySource,
    monkeypatch: pytest.MonkeyPatch,
    windows: int,
) -> None:
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        seen = encoded(patch)
        real = TinyEncoder.encode

        def stops(self: TinyEncoder, *args: Any) -> NDArray[np.float32]:
            if len(seen) == windows:
                raise KeyboardInterrupt
            return real(self, *args)

        patch.setattr(TinyEncoder, "encode", stops)
        build_blocks(plan_of(tmp_path, GRID, source))
    assert not (tmp_path / "g0001").exists()
    report = build_blocks(plan_of(tmp_path, GRID, source))
    assert (report.blocks_reused, report.blocks_done) == (0, 12)
    assert stored(tmp_path) == stored(in_peace)


def test_a_code_is_chosen_once_from_64_small_windows(
    tmp_path: Path, in_peace: Path, source: ArraySource, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = encoded(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        build_blocks(plan_of(tmp_path, GRID, source), progress=Stop(after=1))
    assert seen[:64] == [(SIDE, SIDE)] * 64 and min(seen[64]) > 40
    del seen[:]
    build_blocks(plan_of(tmp_path, GRID, source))
    assert len(seen) == 11 and (SIDE, SIDE) not in seen
    assert stored(tmp_path) == stored(in_peace)


def test_the_code_that_a_model_brings_is_taken(
    tmp_path: Path, in_peace: Path, source: ArraySource, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, plan = encoded(monkeypatch), plan_of(tmp_path, GRID, source)
    build_blocks(replace(plan, features=Cube.open(in_peace).features))
    assert len(seen) == 12
    assert stored(tmp_path) == stored(in_peace)


def test_ctrl_c_between_the_code_and_the_ledger(
    tmp_path: Path, in_peace: Path, source: ArraySource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The generation is there, and a block that is written is not marked."""

    def mark(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Ledger, "mark", mark)
        build_blocks(plan_of(tmp_path, GRID, source))
    report = build_blocks(plan_of(tmp_path, GRID, source))
    assert (report.blocks_reused, report.blocks_done) == (0, 12)
    assert stored(tmp_path) == stored(in_peace)


def test_sigint_ends_cleanly(tmp_path: Path, source: ArraySource) -> None:
    assert interrupted_build(tmp_path, 5, signal.SIGINT) == 99
    report = build_blocks(plan_of(tmp_path, GRID, source))
    assert report.blocks_reused >= 5


def test_a_finished_cube_is_not_computed_again(in_peace: Path, source: ArraySource) -> None:
    before = {p: p.stat().st_mtime_ns for p in in_peace.rglob("0") if p.is_file()}
    report = build_blocks(plan_of(in_peace, GRID, source), cluster="tcp://127.0.0.1:1")
    assert (report.blocks_reused, report.blocks_done) == (12, 0)  # nor is a cluster asked for
    assert {p: p.stat().st_mtime_ns for p in in_peace.rglob("0") if p.is_file()} == before


# --- refusals --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"model_digest": "8" * 64}, "model: 777"),
        ({"imagery": {"kind": "array", "paths": ["x"]}}, r"imagery.paths: None -> \['x'\]"),
        ({"domain": grid_of(300, 419)}, "nx: 420 -> 419"),
        ({"polygon": shapely.box(300_000, 5_597_000, 301_000, 5_600_000)}, "polygon: None -> "),
    ],
)
def test_another_spec_is_refused(
    in_peace: Path, source: ArraySource, changes: dict[str, Any], told: str
) -> None:
    with pytest.raises(SpecMismatchError, match=told) as caught:
        build_blocks(replace(plan_of(in_peace, GRID, source), **changes))
    assert "\n" not in str(caught.value)


def test_an_area_outside_the_imagery_is_refused_before_any_work(
    tmp_path: Path, source: ArraySource
) -> None:
    far = Grid(GRID.crs, GRID.left + 90_000, GRID.top, 10, 50, 50)
    with pytest.raises(ImageryError, match="outside the imagery"):
        build_blocks(plan_of(tmp_path / "cube", far, source))
    assert not (tmp_path / "cube").exists()


def test_a_lock_lost_before_the_cube_is_laid_out_leaves_the_others_cube_alone(
    tmp_path: Path, source: ArraySource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a machine slept while its code was chosen, and another built meanwhile."""
    monkeypatch.setattr(lock, "BEAT", 0.05)
    slept = []

    def sleeps(*args: Any) -> Any:
        if not slept:
            slept.append(True)
            (tmp_path / "LOCK").unlink()
            with hold_lock(tmp_path, "cube build"):
                time.sleep(1)  # so that its owner notices
            build_blocks(plan_of(tmp_path, GRID, source), cluster="inline")
        return calibrate(*args)

    monkeypatch.setattr("geoloc.jobs.blocks.calibrate", sleeps)
    with pytest.raises(CubeError, match="taken over by"):
        build_blocks(plan_of(tmp_path, GRID, source), cluster="inline")
    assert slept and Cube.open(tmp_path).complete


def refuse() -> TinyEncoder:
    raise ModelError("step 0.7 m is too fine")


def test_what_the_model_refuses_leaves_no_store_behind(tmp_path: Path, source: ArraySource) -> None:
    plan = replace(plan_of(tmp_path / "cube", GRID, source), open_encoder=refuse)
    with pytest.raises(ModelError, match="too fine"):
        build_blocks(plan)
    assert not (tmp_path / "cube").exists()


def test_imagery_without_a_valid_pixel_is_refused(tmp_path: Path, source: ArraySource) -> None:
    empty = replace(source, valid=np.zeros(source.grid.shape, np.bool_))
    with pytest.raises(ImageryError, match="enough imagery"):
        build_blocks(plan_of(tmp_path, GRID, empty))


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path, source: ArraySource) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CubeError) as caught:
        build_blocks(plan_of(tmp_path / "file" / "cube.zarr", GRID, source))
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


# --- what is missing ---------------------------------------------------------------------------


def test_broken_imagery_is_reported_and_mended_by_the_next_run(
    tmp_path: Path, in_peace: Path, source: ArraySource
) -> None:
    hole = GRID.window(slice(20, 40), slice(200, 230)).bounds  # in block (0, 1)
    broken = replace(source, broken=(hole,))
    report = build_blocks(plan_of(tmp_path, GRID, broken))
    assert report.blocks_broken == 1
    assert report.missing_cells > 20 * 30 * 0.8
    assert list(report.errors.values()) == [1]
    assert "cannot be read" in next(iter(report.errors))
    with pytest.raises(CubeError, match="1 of 12 blocks are incomplete"):
        report.raise_if_incomplete()
    cube = Cube.open(tmp_path)
    assert cube.chunk_status[0, 1] == Status.BROKEN
    assert (cube.read(slice(25, 35), slice(205, 225)) == MISSING).all()
    assert (cube.read(slice(60, 80), slice(205, 225)) != MISSING).all()
    mended = build_blocks(plan_of(tmp_path, GRID, source))
    assert (mended.blocks_reused, mended.blocks_done, mended.blocks_broken) == (11, 1, 0)
    assert Cube.open(tmp_path).complete
    here, there = Cube.open(tmp_path), Cube.open(in_peace)
    step = 2 * step_of(here, there)  # the code was chosen from a sample with the hole
    both = [c.features.decode(whole(c)) for c in (here, there)]
    np.testing.assert_allclose(both[0], both[1], atol=step)


@dataclass(frozen=True)
class Faulty:
    """Imagery that cannot be read at all within some columns of blocks."""

    good: ArraySource
    from_x: float

    @property
    def gsd(self) -> float:
        return self.good.gsd

    def bounds(self, crs: str) -> tuple[float, float, float, float]:
        return self.good.bounds(crs)

    def covers(self, window: Grid) -> bool:
        return self.good.covers(window)

    def fingerprint(self, window: Grid) -> str:
        return self.good.fingerprint(window)

    def read(self, window: Grid) -> xr.DataArray:
        if window.bounds[2] > self.from_x:
            raise ImageryError("the archive is offline")
        return self.good.read(window)


def test_failed_blocks_are_told_and_done_by_the_next_run(
    tmp_path: Path, source: ArraySource
) -> None:
    faulty = Faulty(source, GRID.left + 3 * 1280 + 100)  # the last of four columns
    report = build_blocks(plan_of(tmp_path, GRID, faulty))
    assert (report.blocks_done, report.blocks_failed) == (9, 3)
    assert report.errors == {"the archive is offline": 3}
    with pytest.raises(CubeError, match=r"3 of 12 blocks are incomplete \(the archive is off"):
        report.raise_if_incomplete()
    cube = Cube.open(tmp_path)
    assert (whole(cube)[:, 384:] == MISSING).all()
    again = build_blocks(plan_of(tmp_path, GRID, source))
    assert (again.blocks_reused, again.blocks_done) == (9, 3)
    assert (whole(Cube.open(tmp_path)) != MISSING).all()


@pytest.mark.parametrize(("limit", "told"), [(0, "1 block failed"), (1, "2 blocks failed")])
def test_too_many_failures_end_the_build(
    tmp_path: Path, source: ArraySource, limit: int, told: str
) -> None:
    faulty = Faulty(source, GRID.left + 3 * 1280 + 100)
    report = build_blocks(plan_of(tmp_path, GRID, faulty), max_failed=limit)
    assert report.stopped == f"{told}, the last: the archive is offline"
    assert report.to_json()["stopped"] == report.stopped
    assert f"stopped before its end: {told}" in report.summary()
    assert report.blocks_failed == limit + 1
    advice = "the archive is offline: fix the cause and run the same command again$"
    with pytest.raises(CubeError, match=f"^{told}, the last: {advice}"):
        report.raise_if_incomplete()
    assert not report.published
    with pytest.raises(CubeError, match="'geoloc cube build'"):
        Cube.open(tmp_path)
    again = build_blocks(plan_of(tmp_path, GRID, source))
    assert again.blocks_reused + again.blocks_done == 12
    assert again.published and again.stopped is None


def holes(*blocks: tuple[int, int]) -> tuple[tuple[float, float, float, float], ...]:
    """Boxes in the middle of blocks."""
    places = ((128 * row, 128 * col) for row, col in blocks)
    return tuple(
        GRID.window(slice(y + 10, y + 30), slice(x + 10, x + 30)).bounds for y, x in places
    )


def test_broken_blocks_count_as_failed_ones_do(tmp_path: Path, source: ArraySource) -> None:
    broken = replace(source, broken=holes((0, 1), (1, 0), (1, 2)))
    for limit in (0, 1):
        path = tmp_path / str(limit)
        report = build_blocks(plan_of(path, GRID, broken), max_failed=limit)
        assert report.blocks_broken == limit + 1
        assert (report.stopped or "").startswith(f"{limit + 1} block")
        assert "cannot be read" in (report.stopped or "")
        assert not report.published
        status = Ledger(path, "g0001").status  # what is written stays, broken or not
        assert (status == Status.DONE).sum() == report.blocks_done
        assert (status == Status.BROKEN).sum() == limit + 1
    assert build_blocks(plan_of(tmp_path / "3", GRID, broken), max_failed=3).stopped is None


def test_a_stopped_build_of_a_published_cube_leaves_it_published(
    tmp_path: Path, source: ArraySource
) -> None:
    faulty = Faulty(source, GRID.left + 3 * 1280 + 100)
    assert build_blocks(plan_of(tmp_path, GRID, faulty)).published
    report = build_blocks(plan_of(tmp_path, GRID, faulty), max_failed=0)
    assert (report.blocks_reused, report.blocks_failed, report.published) == (9, 1, True)
    assert report.stopped
    assert Cube.open(tmp_path).generation == "g0001"


def test_a_build_in_which_nothing_works_fails(tmp_path: Path, source: ArraySource) -> None:
    report = build_blocks(plan_of(tmp_path, GRID, Faulty(source, 0)))
    assert (report.blocks_done, report.published) == (0, False)
    assert not (tmp_path / "g0001").exists()
    with pytest.raises(CubeError, match="no block could be encoded: the archive is offline"):
        report.raise_if_incomplete()


def test_imagery_that_is_broken_everywhere_is_told_as_that(
    tmp_path: Path, source: ArraySource
) -> None:
    broken = replace(source, broken=(source.grid.bounds,))
    report = build_blocks(plan_of(tmp_path, GRID, broken))
    assert (report.blocks_done, report.published) == (0, False)
    with pytest.raises(CubeError, match=r"no block could be encoded: array: .* cannot be read"):
        report.raise_if_incomplete()


def test_a_polygon_leaves_out_blocks_and_cells(tmp_path: Path, source: ArraySource) -> None:
    left, _, _, top = GRID.bounds
    polygon = shapely.Polygon(  # a triangle in the north-west, three blocks wide
        [(left, top), (left + 3000, top), (left, top - 2000)]
    )
    report = build_blocks(plan_of(tmp_path, GRID, source, polygon=polygon))
    assert report.blocks_outside == 12 - report.blocks_done
    assert report.blocks_outside >= 6
    assert report.missing_cells == 0
    assert report.cells_encoded == pytest.approx(polygon.area / 100, rel=0.01)
    cube = Cube.open(tmp_path)
    x, y = np.meshgrid(GRID.x, GRID.y)
    inside = shapely.contains_xy(polygon, x, y)
    np.testing.assert_array_equal(whole(cube)[..., 0] != MISSING, inside)
    assert cube.complete


def test_imagery_that_covers_a_part(tmp_path: Path, source: ArraySource) -> None:
    wide = Grid(GRID.crs, GRID.left - 6_000, GRID.top, 10, 300, 700)
    report = build_blocks(plan_of(tmp_path, wide, source))
    assert report.blocks_failed == report.blocks_broken == 0
    there = whole(Cube.open(tmp_path))[..., 0] != MISSING
    assert there[:, 605:].all()
    assert not there[:, :595].any()
    assert report.missing_cells == (~there).sum()


def test_values_beyond_the_code_are_counted(tmp_path: Path) -> None:
    grid = grid_of(256, 256)
    source = mosaic(grid)
    x = np.arange(source.grid.nx)
    flat = np.where(x < 300, 100, 103).astype(np.uint8)
    pixels = np.broadcast_to(flat, (3, *source.grid.shape)).copy()
    pixels[:, 100:108, 100:108] = 250  # two cells, which no window is likely to meet
    pixels[:, -108:-100, -108:-100] = 3
    report = build_blocks(plan_of(tmp_path, grid, replace(source, pixels=pixels)))
    assert report.saturated_values > 0
    assert Cube.open(tmp_path).info()["saturated_values"] == report.saturated_values
    assert (whole(Cube.open(tmp_path)) != MISSING).all()


# --- from files, with a network ------------------------------------------------------------


def write_area(folder: Path, pixels: NDArray[np.uint8]) -> Area:
    """An area file and a GeoTIFF of 1 m pixels beside the model that is there."""
    grid = grid_of(20, 30)
    height, width = pixels.shape[1:]
    profile = {"driver": "GTiff", "dtype": "uint8", "count": 3, "crs": grid.crs}
    transform = Affine(1, 0, grid.left - 100, 0, -1, grid.top + 100)
    with rasterio.open(
        folder / "a.tif", "w", height=height, width=width, transform=transform, **profile
    ) as file:
        file.write(pixels)
    (folder / "area.yaml").write_text(
        "name: testville\ncrs: EPSG:32636\n"
        f"bounds: {list(grid.bounds)}\nstep: 10\n"
        "imagery: {kind: geotiff, paths: [a.tif]}\nmodel: ./model\ncube: cube.zarr\n"
    )
    return load_area(folder / "area.yaml")


@pytest.fixture
def area(tmp_path: Path) -> Area:
    """An area file beside a GeoTIFF of 1 m pixels and a small model with random weights."""
    from .encoder_models import imagery, tiny_model

    tiny_model(tmp_path / "model")
    return write_area(tmp_path, imagery(400, 500))


def test_from_files_to_a_verified_cube(area: Area) -> None:
    from geoloc.models import load_model

    report = build_cube(area, method="patch", cluster="inline")
    assert (report.cells_encoded, report.missing_cells) == (600, 0)
    cube, model = Cube.open(area.cube), load_model(area.model)
    assert cube.attrs["area"] == "testville"
    assert cube.spec.encoding["method"] == "patch"
    assert cube.features.names == model.classes
    told: list[tuple[int, int]] = []
    checked = verify_cube(
        cube, area, model, cells=12, progress=lambda done, total: told.append((done, total))
    )
    assert told[-1] == (12, 12)
    assert checked.error.cells == 12
    assert checked.error.relative_error < 0.05  # patch by patch: only the code rounds
    assert checked.error.spearman > 0.99
    assert checked.jitter.relative_error > 0
    assert "2 px jitter" in checked.summary()
    assert checked.to_json()["method"] == "patch"


def test_a_plan_computes_nothing(area: Area) -> None:
    plan = plan_build(area)
    assert not Path(area.cube).exists()
    assert plan.domain.shape == (20, 30)


def test_verifying_wants_the_cube_s_own_model(area: Area, in_peace: Path) -> None:
    from geoloc.models import load_model

    with pytest.raises(SpecMismatchError, match="was built by model tiny"):
        verify_cube(Cube.open(in_peace), area, load_model(area.model))


# --- memory --------------------------------------------------------------------------------------


class WideEncoder(TinyEncoder):
    """As many features as a real one has: 24 MB a block."""

    dim = 365

    def encode(
        self, pixels: NDArray[np.uint8], valid: NDArray[np.bool_], window: Grid, cells: Grid
    ) -> NDArray[np.float32]:
        few = super().encode(pixels, valid, window, cells)
        return np.tile(few, (1, 1, 73))


@dataclass(frozen=True)
class Endless:
    """Imagery without an end that is made as it is read."""

    gsd: float = 2.5

    def bounds(self, crs: str) -> tuple[float, float, float, float]:  # noqa: ARG002
        return (0, 0, 1e7, 1e7)

    def covers(self, window: Grid) -> bool:  # noqa: ARG002
        return True

    def fingerprint(self, window: Grid) -> str:  # noqa: ARG002
        return "ef" * 32

    def read(self, window: Grid) -> xr.DataArray:
        rng = np.random.default_rng(int(window.left))
        pixels = rng.integers(0, 255, (3, *window.shape), np.uint8)
        return as_window(pixels, np.ones(window.shape, np.bool_), window, (), ())


def wide_plan(path: str, cells: int) -> BuildPlan:
    names = tuple(f"class_{i}" for i in range(365))
    grid = grid_of(cells, cells)
    return plan_of(path, grid, Endless(), open_encoder=WideEncoder, features=FeatureSpace(names))


MEASURED_BUILD = """
import resource, sys
from geoloc.jobs.build import build_blocks
from tests.test_jobs_build import wide_plan
build_blocks(wide_plan(sys.argv[1], int(sys.argv[2])), cluster="inline")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def peak_memory(path: Path, cells: int) -> int:
    """Peak RSS of a process that builds so many cells a side, KiB."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURED_BUILD, str(path), str(cells)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=True,
        capture_output=True,
        text=True,
    )
    return int(done.stdout)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_area(tmp_path: Path) -> None:
    small, large = peak_memory(tmp_path / "2km", 200), peak_memory(tmp_path / "6km", 600)
    print(f"peak RSS: 2 km {small / 1024:.0f} MiB, 6 km {large / 1024:.0f} MiB")
    assert large <= 1.3 * small
