"""The picture of an area that is kept beside its cube: what it shows, when, and at what cost."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from geoloc.cube import Cube
from geoloc.domain import CHUNK_SIZE, Grid
from geoloc.imagery import ArraySource
from geoloc.jobs import overview as module
from geoloc.jobs.build import build_blocks
from geoloc.jobs.overview import (
    NOTHING,
    PIXELS,
    Overview,
    lattice_of,
    overview_of,
    part_of,
    read_overview,
    read_pixels,
    shrunk,
)
from geoloc.jobs.plan import BuildPlan
from geoloc.jobs.refresh import prune_cube, refresh_blocks
from geoloc.models import Quantizer

from . import cubes
from .cubes import CoarseEncoder, grid_of, mosaic, plan_of

GRID = grid_of(140, 150)
"""Four blocks, three of them small."""

s3_bucket = cubes.s3_bucket  # the fixture


def plan(url: Path | str, source: ArraySource) -> BuildPlan:
    return plan_of(url, GRID, source, open_encoder=CoarseEncoder)


@pytest.fixture(scope="module")
def source() -> ArraySource:
    return mosaic(GRID, gsd=10)


@pytest.fixture
def built(tmp_path: Path, source: ArraySource) -> Path:
    build_blocks(plan(tmp_path / "cube", source), cluster="inline")
    return tmp_path / "cube"


def seen(overview: Overview | None) -> NDArray[np.uint8]:
    assert overview is not None
    return np.asarray(Image.open(io.BytesIO(overview.whole.content)))


def files(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


@given(st.integers(1, 5000), st.integers(1, 5000), st.floats(0.5, 200), st.floats(0.1, 20))
def test_the_lattice_is_small_and_each_block_has_its_own_pixels(
    ny: int, nx: int, step: float, finest: float
) -> None:
    grid = grid_of(ny, nx, step)
    lattice = lattice_of(grid, finest)
    whole = -(-ny // CHUNK_SIZE) * -(-nx // CHUNK_SIZE)
    assert lattice.size <= max(PIXELS, whole) + lattice.ny + lattice.nx + 1
    assert lattice.step >= min(finest, CHUNK_SIZE * step) * (1 - 1e-6)
    covered = np.zeros(lattice.shape, np.int64)
    for block in grid.chunks():
        part = part_of(lattice, grid, block)
        covered[part] += 1
        window = grid.window(*block.slices)
        assert lattice.window(*part).left == pytest.approx(window.left, abs=step / 100)
        assert lattice.window(*part).top == pytest.approx(window.top, abs=step / 100)
    assert (covered == 1).all()


def test_pixels_are_averaged_where_they_lie() -> None:
    rng = np.random.default_rng(3)
    pixels = rng.integers(0, 256, (3, 12, 18), np.uint8)
    window = Grid("EPSG:32636", 1000.0, 2000.0, 2.0, 12, 18)
    target = Grid("EPSG:32636", 1004.0, 1994.0, 6.0, 2, 3)  # two pixels in, three down
    naive = pixels[:, 3:9, 2:11].reshape(3, 2, 3, 3, 3).mean(axis=(2, 4))
    found = shrunk(pixels, np.ones((12, 18), np.bool_), window, target)
    np.testing.assert_allclose(found, np.moveaxis(naive, 0, -1), atol=1)


def test_beyond_the_window_and_without_imagery_it_is_grey() -> None:
    window = Grid("EPSG:32636", 0.0, 100.0, 1.0, 20, 20)
    valid = np.ones((20, 20), np.bool_)
    valid[:10, :10] = False
    target = Grid("EPSG:32636", 0.0, 110.0, 5.0, 7, 5)  # begins 10 m further north
    found = shrunk(np.full((3, 20, 20), 200, np.uint8), valid, window, target)
    expected = np.full((7, 5), NOTHING)
    expected[2:6, :4] = 200
    expected[2:4, :2] = NOTHING
    np.testing.assert_array_equal(found, np.repeat(expected[..., None], 3, axis=-1))


def test_a_build_keeps_it_and_it_shows_the_imagery(built: Path, source: ArraySource) -> None:
    kept = read_overview(built, "g0001")
    assert kept is not None
    assert kept.seen.all()
    assert kept.lattice == Grid(GRID.crs, GRID.left, GRID.top, 10.0, *GRID.shape)
    naive = np.moveaxis(source.read(kept.lattice).values, 0, -1)
    np.testing.assert_array_equal(seen(read_pixels(built, "g0001")), naive)
    assert np.abs(seen(kept).astype(float) - naive).mean() < 9  # JPEG of noise
    flipped = np.abs(seen(kept)[::-1].astype(float) - naive).mean()
    assert flipped > 30


@dataclass(frozen=True, eq=False)
class Counting(ArraySource):
    """Remembers the windows that were read."""

    windows: tuple[list[Grid], ...] = ([],)

    def read(self, window: Grid) -> Any:
        self.windows[0].append(window)
        return super().read(window)


def test_no_image_is_read_for_it(tmp_path: Path, source: ArraySource) -> None:
    counting = Counting(source.pixels, source.grid, windows=([],))
    coded = plan(tmp_path, counting)
    coded = replace(coded, features=coded.features.with_code(Quantizer.of_range(-9, 9)))
    build_blocks(coded, cluster="inline")
    assert len(counting.windows[0]) == 4  # blocks
    build_blocks(plan(tmp_path, counting), cluster="inline")
    overview_of(Cube.open(tmp_path), counting)
    assert len(counting.windows[0]) == 4


def test_what_a_kill_lost_or_damaged_comes_back_to_the_last_bit(
    built: Path, source: ArraySource
) -> None:
    before = files(built)
    (built / ".overview/g0001/pictures").unlink()
    (built / ".overview/g0001/pixels").unlink()
    build_blocks(plan(built, source), cluster="inline")
    assert files(built) == before


def test_a_refresh_renews_the_blocks_that_changed(built: Path, source: ArraySource) -> None:
    pixels = source.pixels.copy()
    pixels[:, 140:, 140:] ^= 0x7F  # in the last block alone
    refresh_blocks(plan(built, replace(source, pixels=pixels)), cluster="inline")
    old, new = (seen(read_pixels(built, name)) for name in ("g0001", "g0002"))
    differ = (old != new).any(axis=-1)
    assert differ[138:, 138:].all()
    differ[128:, 128:] = False
    assert not differ.any()


def test_pruning_takes_it_along(built: Path, source: ArraySource) -> None:
    other = replace(source, pixels=source.pixels ^ np.uint8(1))
    refresh_blocks(plan(built, other), cluster="inline")
    assert prune_cube(str(built), 1) == ["g0001"]
    assert read_overview(built, "g0001") is None
    assert read_overview(built, "g0002") is not None


def test_an_interrupted_build_keeps_what_it_has(tmp_path: Path) -> None:
    def stop(done: float, _: int) -> None:
        if done >= 3:
            raise KeyboardInterrupt

    grid = grid_of(140, 700)  # 12 blocks, three of them sampled first

    with pytest.raises(KeyboardInterrupt):
        build_blocks(
            plan_of(tmp_path, grid, mosaic(grid, gsd=10), open_encoder=CoarseEncoder),
            cluster="inline",
            progress=lambda done, total: stop(done - 1, total),
        )
    kept = read_pixels(tmp_path, "g0001")
    assert kept is not None
    assert 3 <= kept.seen.sum() < 12


DAMAGES = {
    "flipped": lambda content: content[:900] + bytes([content[900] ^ 1]) + content[901:],
    "cut": lambda content: content[: len(content) // 2],
    "empty": lambda _: b"",
    "short": lambda content: content[:40],
    "text": lambda _: b"not an overview\n{}\n",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_one_counts_as_none_and_is_made_again(
    built: Path, source: ArraySource, damage: str
) -> None:
    path = built / ".overview/g0001/pictures"
    good = path.read_bytes()
    path.write_bytes(DAMAGES[damage](good))
    assert read_overview(built, "g0001") is None
    made = overview_of(Cube.open(built), source)
    assert made is not None
    assert path.read_bytes() == good  # read again from the imagery


def test_a_head_of_another_version_is_no_error(built: Path) -> None:
    for head in (b"{}", b"[1]", b'{"crs": 1}', b""):
        body = head + b"\n"
        content = hashlib.sha256(body).hexdigest().encode() + b"\n" + body
        (built / ".overview/g0001/pictures").write_bytes(content)
        assert read_overview(built, "g0001") is None


def test_an_old_cube_gets_one_at_the_first_question(built: Path, source: ArraySource) -> None:
    before = files(built)
    for name in ("pixels", "pictures"):
        (built / ".overview/g0001" / name).unlink()
    made = overview_of(Cube.open(built), source)
    assert made is not None
    assert files(built) == before
    assert overview_of(Cube.open(built), None) is not None  # the imagery may be gone by now


def test_a_store_that_takes_none_is_no_error(built: Path, source: ArraySource) -> None:
    for path in (built / ".overview").rglob("*"):
        if path.is_file():
            path.unlink()
    (built / ".overview/g0001").rmdir()
    (built / ".overview").rmdir()
    (built / ".overview").write_text("in the way")
    made = overview_of(Cube.open(built), source)
    assert made is not None
    assert (built / ".overview").read_text() == "in the way"
    assert overview_of(Cube.open(built), None) is None


def test_an_area_too_large_to_be_read_for_it_has_none(
    built: Path, source: ArraySource, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("pixels", "pictures"):
        (built / ".overview/g0001" / name).unlink()
    monkeypatch.setattr(module, "_MOST_READ", 3)
    counting = Counting(source.pixels, source.grid, windows=([],))
    assert overview_of(Cube.open(built), counting) is None
    build_blocks(plan(built, counting), cluster="inline")
    assert read_overview(built, "g0001") is None
    assert counting.windows[0] == []


def test_large_ones_have_tiles(monkeypatch: pytest.MonkeyPatch, built: Path) -> None:
    monkeypatch.setattr(module, "COARSE", 60)
    monkeypatch.setattr(module, "TILE", 64)
    kept = read_pixels(built, "g0001")
    assert kept is not None
    made = module.Mosaic(GRID, kept.lattice, kept).pictures()
    assert (made.whole.width, made.whole.height) == (60, 56)
    assert made.whole.bounds == GRID.bounds
    assert len(made.tiles) == 9
    tile = made.tiles[5]  # second row, last column
    assert (tile.width, tile.height) == (150 - 128, 64)
    assert tile.bounds == (GRID.left + 1280, GRID.top - 1280, GRID.left + 1500, GRID.top - 640)
    cut = seen(kept)[64:128, 128:]
    shown = np.asarray(Image.open(io.BytesIO(tile.content)))
    assert np.abs(shown.astype(float) - cut).mean() < 9


def test_on_s3(s3_bucket: str, source: ArraySource) -> None:
    url = f"{s3_bucket}/a.zarr"
    build_blocks(plan(url, source), cluster="inline")
    kept = read_overview(url, "g0001")
    assert kept is not None
    assert kept.seen.all()


def test_a_block_that_was_only_written_is_read_for_it(built: Path, source: ArraySource) -> None:
    """A worker wrote it, the client was killed before it saw the picture."""
    kept = read_pixels(built, "g0001")
    assert kept is not None
    part = module.Mosaic(GRID, kept.lattice, kept)
    part.seen[1, 0], part.pixels[128:, :128] = False, 0
    module.keep_overview(built, "g0001", part)
    build_blocks(plan(built, source), cluster="inline")
    np.testing.assert_array_equal(seen(read_pixels(built, "g0001")), seen(kept))
