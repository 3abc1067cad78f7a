"""Refreshing: only what changed is computed, readers are not disturbed, one writer at a time."""

from __future__ import annotations

import datetime as dt
import os
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from geoloc.cube import (
    Cube,
    Ledger,
    Status,
    create_root,
    current_generation,
    generation_of_date,
    hold_lock,
    list_generations,
)
from geoloc.domain import Grid
from geoloc.errors import CubeError, SpecMismatchError
from geoloc.imagery import ArraySource
from geoloc.imagery.source import Item
from geoloc.jobs.build import build_blocks
from geoloc.jobs.overview import FOLDER
from geoloc.jobs.plan import BuildPlan
from geoloc.jobs.refresh import prune_cube, refresh_blocks

from . import cubes
from .cubes import TinyEncoder, grid_of, mosaic, plan_of, step_of
from .dying import die

GRID = grid_of(300, 420)  # 3 x 4 blocks

s3_bucket = cubes.s3_bucket  # the fixture


@dataclass
class Counting(TinyEncoder):
    """Counts the blocks that are encoded, whoever opens it."""

    seen: list[Grid] = field(default_factory=list)

    def __call__(self) -> Counting:
        return self

    def encode(
        self, pixels: NDArray[np.uint8], valid: NDArray[np.bool_], window: Grid, cells: Grid
    ) -> NDArray[np.float32]:
        self.seen.append(cells)
        return super().encode(pixels, valid, window, cells)


@pytest.fixture(scope="module")
def source() -> ArraySource:
    return mosaic(GRID)


def changed(source: ArraySource, day: str = "2024-06-01") -> ArraySource:
    """Another day's imagery, different in the middle of block (1, 2) alone."""
    pixels = source.pixels.copy()
    y, x = (2 + 128 + 60) * 4, (2 + 256 + 60) * 4
    pixels[:, y : y + 40, x : x + 40] ^= 0x3F
    when = dt.datetime.fromisoformat(day).replace(tzinfo=dt.UTC)
    return replace(source, pixels=pixels, item=replace(source.item, datetime=when))


def whole(cube: Cube) -> NDArray[np.int8]:
    return cube.read(slice(None), slice(None))


def files(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def test_only_the_changed_block_is_computed(tmp_path: Path, source: ArraySource) -> None:
    build_blocks(plan_of(tmp_path, GRID, source))
    before = Cube.open(tmp_path)
    untouched = files(tmp_path / "g0001")
    encoder = Counting()
    report = refresh_blocks(plan_of(tmp_path, GRID, changed(source), open_encoder=encoder))
    assert (report.blocks_done, report.blocks_copied, report.generation) == (1, 11, "g0002")
    assert report.published
    assert "11 taken over unchanged" in report.summary()
    assert [cells.top for cells in encoder.seen] == [GRID.top - 1280]
    assert files(tmp_path / "g0001") == untouched

    after = Cube.open(tmp_path)
    assert (before.generation, after.generation) == ("g0001", "g0002")
    assert after.complete
    codes = [cube.features.stored_code for cube in (before, after)]
    np.testing.assert_array_equal(codes[0].scale, codes[1].scale)
    assert before.chunk_status.all()  # opened before, read after: still the old one
    differing = (whole(before) != whole(after)).any(axis=-1)
    assert differing[128:256, 256:384].any()
    differing[128:256, 256:384] = False
    assert not differing.any()

    # the same numbers as a cube of today's imagery in the old code
    encoder_now = TinyEncoder()
    window = encoder_now.window(GRID)
    image = changed(source).read(window)
    exact = encoder_now.encode(image.values, image.coords["valid"].values, window, GRID)
    codes, _ = after.features.encode(exact)
    block = np.s_[128:256, 256:384]
    np.testing.assert_array_equal(whole(after)[block], codes[block])
    assert after.provenance(GRID.chunk(1, 2))["items"][0]["date"].startswith("2024-06-01")
    assert "date" not in after.provenance(GRID.chunk(0, 0))["items"][0]


def test_copies_take_no_room(tmp_path: Path, source: ArraySource) -> None:
    build_blocks(plan_of(tmp_path, GRID, source))
    refresh_blocks(plan_of(tmp_path, GRID, changed(source)))
    same, other = ((tmp_path / f"g000{i}/features/c/0/1/0").stat() for i in (1, 2))
    assert same.st_ino == other.st_ino
    new = [(tmp_path / f"g000{i}/features/c/1/2/0").stat().st_ino for i in (1, 2)]
    assert new[0] != new[1]


def test_nothing_changed_makes_no_generation(tmp_path: Path, source: ArraySource) -> None:
    build_blocks(plan_of(tmp_path, GRID, source))
    before = files(tmp_path)
    report = refresh_blocks(plan_of(tmp_path, GRID, source), cluster="tcp://127.0.0.1:1")
    assert (report.blocks_done, report.blocks_reused, report.generation) == (0, 12, "g0001")
    assert "no new generation" in report.summary()
    assert files(tmp_path) == before
    report.raise_if_incomplete()


@pytest.mark.parametrize("after", [1, 2])
def test_interrupted_and_resumed(tmp_path: Path, source: ArraySource, after: int) -> None:
    build_blocks(plan_of(tmp_path, GRID, source))
    pixels = source.pixels ^ np.uint8(0x07)
    pixels[:, :, : (2 + 256) * 4] = source.pixels[:, :, : (2 + 256) * 4]  # the right half: 9 blocks
    today = replace(source, pixels=pixels)

    def stop(done: int, _: int) -> None:
        if done >= after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        refresh_blocks(plan_of(tmp_path, GRID, today), progress=stop)
    assert Cube.open(tmp_path).generation == "g0001"
    assert not (tmp_path / "LOCK").exists()
    encoder = Counting()
    report = refresh_blocks(plan_of(tmp_path, GRID, today, open_encoder=encoder))
    assert (report.blocks_reused, report.blocks_copied) == (3 + after, 0)
    assert len(encoder.seen) == report.blocks_done == 9 - after
    assert [g.name for g in list_generations(tmp_path)] == ["g0001", "g0002"]
    fresh = tmp_path / "fresh"
    build_blocks(plan_of(fresh, GRID, today))
    here, there = Cube.open(tmp_path), Cube.open(fresh)
    step = 2 * step_of(here, there)
    both = [c.features.decode(whole(c)) for c in (here, there)]
    np.testing.assert_allclose(both[0], both[1], atol=step)


def test_imagery_that_changes_again_meanwhile(tmp_path: Path, source: ArraySource) -> None:
    """What an interrupted refresh computed from yesterday's imagery does not count today."""
    build_blocks(plan_of(tmp_path, GRID, source))
    yesterday = replace(source, pixels=source.pixels ^ np.uint8(0x07))

    def stop(done: int, _: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        refresh_blocks(plan_of(tmp_path, GRID, yesterday), progress=stop)
    report = refresh_blocks(plan_of(tmp_path, GRID, changed(source)))
    assert (report.blocks_done, report.blocks_copied, report.blocks_reused) == (1, 11, 0)
    old, new = Cube.open(tmp_path, "g0001"), Cube.open(tmp_path)
    np.testing.assert_array_equal(whole(old)[:128], whole(new)[:128])


def test_a_refresh_that_fails_leaves_readers_where_they_are(
    tmp_path: Path, source: ArraySource
) -> None:
    build_blocks(plan_of(tmp_path, GRID, source))
    hole = GRID.window(slice(190, 200), slice(320, 330)).bounds
    report = refresh_blocks(plan_of(tmp_path, GRID, replace(changed(source), broken=(hole,))))
    assert report.blocks_broken == 1
    assert not report.published
    assert "readers stay there" in report.summary()
    with pytest.raises(CubeError, match="1 of 12 blocks are incomplete"):
        report.raise_if_incomplete()
    assert Cube.open(tmp_path).generation == "g0001"
    mended = refresh_blocks(plan_of(tmp_path, GRID, changed(source)))
    assert (mended.blocks_done, mended.blocks_reused, mended.published) == (1, 11, True)
    assert Cube.open(tmp_path).generation == "g0002"


def test_a_refresh_that_is_stopped_leaves_readers_where_they_are(
    tmp_path: Path, source: ArraySource
) -> None:
    build_blocks(plan_of(tmp_path, GRID, source))
    today = replace(source, pixels=source.pixels ^ np.uint8(0x07))
    hole = GRID.window(slice(10, 20), slice(10, 20)).bounds  # in the first block
    stopped = refresh_blocks(plan_of(tmp_path, GRID, replace(today, broken=(hole,))), max_failed=0)
    assert (stopped.blocks_broken, stopped.blocks_done, stopped.published) == (1, 0, False)
    assert "stopped before its end: 1 block failed, the last: array" in stopped.summary()
    with pytest.raises(CubeError, match=r"^1 block failed, the last: .*: fix the cause"):
        stopped.raise_if_incomplete()
    assert current_generation(tmp_path) == "g0001"
    mended = refresh_blocks(plan_of(tmp_path, GRID, today))
    assert (mended.blocks_done, mended.published, mended.stopped) == (12, True, None)
    assert current_generation(tmp_path) == "g0002"


def test_a_stopped_refresh_of_an_incomplete_cube_is_not_published(
    tmp_path: Path, source: ArraySource
) -> None:
    """Nor where the old generation has no block that the new one lacks."""
    hole = GRID.window(slice(10, 20), slice(10, 20)).bounds
    build_blocks(plan_of(tmp_path, GRID, replace(source, broken=(hole,))))
    today = replace(changed(source), broken=(hole,))
    stopped = refresh_blocks(plan_of(tmp_path, GRID, today), max_failed=0)
    assert stopped.stopped
    assert not stopped.published
    assert current_generation(tmp_path) == "g0001"


def test_more_than_the_imagery_is_another_cube(tmp_path: Path, source: ArraySource) -> None:
    with pytest.raises(CubeError, match="not built yet"):
        refresh_blocks(plan_of(tmp_path / "none", GRID, source))
    build_blocks(plan_of(tmp_path, GRID, source))
    with pytest.raises(SpecMismatchError, match="model: 777"):
        refresh_blocks(plan_of(tmp_path, GRID, changed(source), model_digest="8" * 64))
    other = {"kind": "array", "paths": ["elsewhere"]}
    with pytest.raises(SpecMismatchError, match="geoloc cube refresh"):
        build_blocks(plan_of(tmp_path, GRID, changed(source), imagery=other))
    refresh_blocks(plan_of(tmp_path, GRID, changed(source), imagery=other))
    assert Cube.open(tmp_path).spec.imagery == other
    assert build_blocks(plan_of(tmp_path, GRID, changed(source), imagery=other)).blocks_reused == 12


def test_a_build_on_changed_imagery_says_so(tmp_path: Path, source: ArraySource) -> None:
    build_blocks(plan_of(tmp_path, GRID, source))
    report = build_blocks(plan_of(tmp_path, GRID, changed(source)))
    assert report.notes == [
        "the imagery under 1 of 12 finished blocks looked at has changed: "
        "'geoloc cube refresh' brings them up to date"
    ]


def test_on_s3(s3_bucket: str, source: ArraySource) -> None:
    url = f"{s3_bucket}/area/cube.zarr"
    build_blocks(plan_of(url, GRID, source))
    report = refresh_blocks(plan_of(url, GRID, changed(source)))
    assert (report.blocks_done, report.blocks_copied) == (1, 11)
    assert current_generation(url) == "g0002"
    old, new = Cube.open(url, "g0001"), Cube.open(url)
    np.testing.assert_array_equal(whole(old)[:, :250], whole(new)[:, :250])
    assert (whole(old)[128:256, 256:384] != whole(new)[128:256, 256:384]).any()
    assert prune_cube(url, 1) == ["g0001"]
    assert [g.name for g in list_generations(url)] == ["g0002"]
    assert whole(Cube.open(url)).any()


# --- generations ---------------------------------------------------------------------------------


def dated(source: ArraySource, day: str, shift: int) -> ArraySource:
    when = dt.datetime.fromisoformat(day).replace(tzinfo=dt.UTC)
    return replace(source, pixels=source.pixels ^ np.uint8(shift), item=Item("a", "memory:a", when))


@pytest.fixture
def epochs(tmp_path: Path) -> Path:
    """Three generations, of 2019, 2022 and 2024, of a small cube."""
    grid = grid_of(40, 50)
    source = mosaic(grid)
    build_blocks(plan_of(tmp_path, grid, dated(source, "2019-05-04", 0)))
    for day, shift in (("2022-03-01", 1), ("2024-08-09", 2)):
        refresh_blocks(plan_of(tmp_path, grid, dated(source, day, shift)))
    return tmp_path


def test_epochs(epochs: Path) -> None:
    found = list_generations(epochs)
    assert [(g.name, g.current, str(g.day)) for g in found] == [
        ("g0001", False, "2019-05-04"),
        ("g0002", False, "2022-03-01"),
        ("g0003", True, "2024-08-09"),
    ]
    assert all(g.finished and g.blocks_done == 1 for g in found)
    for day, name in [
        ("2019-05-04", "g0001"),
        ("2022-02-28", "g0001"),
        ("2022-03-01", "g0002"),
        ("2030-01-01", "g0003"),
    ]:
        assert generation_of_date(epochs, dt.date.fromisoformat(day)) == name
    with pytest.raises(CubeError, match=r"nothing as old as 2000-01-01.*g0001 of 2019-05-04"):
        generation_of_date(epochs, dt.date(2000, 1, 1))
    with pytest.raises(CubeError, match="g0009"):
        Cube.open(epochs, "g0009")


def test_queries_open_an_older_epoch(epochs: Path) -> None:
    from geoloc.query import open_target

    assert open_target(epochs).cube.generation == "g0003"
    assert open_target(epochs, "g0002").cube.generation == "g0002"
    assert open_target(epochs, dt.date(2020, 1, 1)).cube.generation == "g0001"


def test_pruning_keeps_the_newest_and_the_current(epochs: Path) -> None:
    assert prune_cube(str(epochs), 5) == []
    assert prune_cube(str(epochs), 2) == ["g0001"]
    assert not (epochs / "g0001").exists()
    (epochs / "CURRENT").write_text("g0002\n")  # an editor went back
    assert prune_cube(str(epochs), 1) == []
    assert Cube.open(epochs).generation == "g0002"
    (epochs / "CURRENT").write_text("g0003\n")
    assert prune_cube(str(epochs), 1) == ["g0002"]
    assert Cube.open(epochs).complete
    with pytest.raises(CubeError, match="nothing to prune"):
        prune_cube(str(epochs / "none"), 1)


def test_a_mapped_block_outlives_its_generation(epochs: Path) -> None:
    cube = Cube.open(epochs, "g0001")
    cells = cube.read(slice(0, 40), slice(0, 50))
    copy = cells.copy()
    prune_cube(str(epochs), 1)
    np.testing.assert_array_equal(cells, copy)


def test_while_somebody_writes_others_are_refused(tmp_path: Path, source: ArraySource) -> None:
    build_blocks(plan_of(tmp_path, GRID, source))
    create_root(tmp_path)
    with hold_lock(tmp_path, "cube refresh"):
        for refused in (
            lambda: refresh_blocks(plan_of(tmp_path, GRID, changed(source))),
            lambda: build_blocks(plan_of(tmp_path, GRID, source)),
            lambda: prune_cube(str(tmp_path), 1),
        ):
            with pytest.raises(CubeError, match=rf"being written by process {os.getpid()} of"):
                refused()
        assert Cube.open(tmp_path).complete  # readers need no lock
    assert refresh_blocks(plan_of(tmp_path, GRID, changed(source))).published
    assert (Ledger(tmp_path, "g0002").status == Status.DONE).all()


def unfinished(path: Path, source: ArraySource) -> BuildPlan:
    plan = plan_of(path, GRID, source)

    def stop(done: int, _: int) -> None:
        if done > 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_blocks(plan, progress=stop)
    return plan


def test_a_cube_whose_code_is_not_chosen_does_not_exist_yet(
    tmp_path: Path, source: ArraySource, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("geoloc.jobs.blocks.calibrate", stop)
    with pytest.raises(KeyboardInterrupt):
        build_blocks(plan_of(tmp_path, GRID, source))
    for use in (lambda: list_generations(tmp_path), lambda: Cube.open(tmp_path)):
        with pytest.raises(CubeError, match="does not exist: run 'geoloc cube build'"):
            use()
    with pytest.raises(CubeError, match="nothing to prune"):
        prune_cube(str(tmp_path), 1)


def test_an_unfinished_first_generation_is_shown_and_not_opened(
    tmp_path: Path, source: ArraySource
) -> None:
    unfinished(tmp_path, source)
    (only,) = list_generations(tmp_path)
    assert (only.finished, only.current, only.blocks_missing) == (None, False, 6)
    with pytest.raises(CubeError, match="is not finished: run 'geoloc cube build'"):
        Cube.open(tmp_path)


def test_overviews_of_generations_that_a_killed_prune_deleted_go(epochs: Path) -> None:
    for name in ("g0001", "g0002", "g0003"):
        (epochs / FOLDER / name).mkdir(parents=True, exist_ok=True)
        (epochs / FOLDER / name / "pixels").touch()
    die(
        f"from geoloc.jobs.refresh import prune_cube\nprune_cube({str(epochs)!r}, 2)",
        r"(remove|rmdir|open) .*\.overview",
    )
    assert not (epochs / "g0001").exists()
    assert (epochs / FOLDER / "g0001").exists()
    assert prune_cube(str(epochs), 2) == []
    assert sorted(path.name for path in (epochs / FOLDER).iterdir()) == ["g0002", "g0003"]
