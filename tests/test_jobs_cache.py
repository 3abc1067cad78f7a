"""Copies that areas keep: tiled before a build, renewed where their origin changed, never a mix."""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import yaml
import zarr as zarr_library
from affine import Affine
from numpy.typing import NDArray
from typer.testing import CliRunner

from geoloc.area import Area, load_area
from geoloc.cli import app
from geoloc.cube import Cube, hold_lock, list_generations
from geoloc.domain import Grid, Status
from geoloc.errors import CubeError, ImageryError, SpecMismatchError
from geoloc.imagery import open_source
from geoloc.imagery.cached import source as tiled
from geoloc.imagery.cached import tiles as tiling
from geoloc.imagery.cached.source import ZarrSource
from geoloc.jobs import cache as tile
from geoloc.jobs import plan as planning
from geoloc.jobs.build import build_cube
from geoloc.jobs.estimate import plan_cube
from geoloc.jobs.plan import plan_build
from geoloc.jobs.refresh import refresh_cube
from geoloc.query import open_target, verify_cube_at

from . import cubes
from .cubes import TinyEncoder
from .encoder_models import dense_section, imagery, tiny_model

s3_bucket = cubes.s3_bucket  # the fixture

ROOT = Path(__file__).parent.parent
CRS, LEFT, TOP, GSD, STEP = "EPSG:32636", 300_000.0, 5_600_000.0, 2.5, 10.0
NY, NX = 260, 400  # cells: 3 x 4 blocks of 128
ROWS, COLS = 2, 4  # files, each of them 130 x 100 cells
TILE = 256
SMALL = [LEFT, TOP - 20 * STEP, LEFT + 30 * STEP, TOP]


@pytest.fixture(autouse=True)
def _small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles of 256 px: 5 x 7 of them under the area."""
    for module in (tile, tiling, tiled):
        monkeypatch.setattr(module, "TILE", TILE)
    monkeypatch.setattr(tiling, "_CHUNK", 128)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model's place is taken by an encoder of a few means."""
    encoder = TinyEncoder()
    monkeypatch.setattr(planning, "_open_encoder", lambda _: encoder)
    monkeypatch.setattr(tile, "encoder_lattice", lambda here, _: encoder.window(here.grid))


def write_file(folder: Path, row: int, col: int, seed: int, day: str) -> Path:
    """One of the files; the last column is dull, so that its values bound no class's code."""
    ny, nx = round(NY / ROWS * STEP / GSD), round(NX / COLS * STEP / GSD)
    pixels = imagery(ny, nx, seed)
    if col == COLS - 1:
        pixels = (110 + (pixels.astype(int) - 110) // 6).astype(np.uint8)
    path = folder / f"r{row}c{col}.tif"
    left, top = LEFT + col * nx * GSD, TOP - row * ny * GSD
    with rasterio.open(
        path, "w", driver="GTiff", width=nx, height=ny, count=3, dtype="uint8", crs=CRS,
        transform=Affine(GSD, 0, left, 0, -GSD, top), tiled=True,
    ) as raster:  # fmt: skip
        raster.update_tags(TIFFTAG_DATETIME=day)
        raster.write(pixels)
    return path


def write_world(folder: Path) -> None:
    """Eight files of 2023 and a model."""
    tiny_model(folder / "model", gsd=(0.5, 5.0), preferred_gsd=2.5, **dense_section())
    (folder / "tiles").mkdir()
    for row in range(ROWS):
        for col in range(COLS):
            write_file(folder / "tiles", row, col, 10 * row + col, "2023:05:06")


def area(folder: Path, cube: str = "cube.zarr", *, cache: bool = True, **changes: Any) -> Area:
    values = {
        "name": "here",
        "crs": CRS,
        "bounds": [LEFT, TOP - NY * STEP, LEFT + NX * STEP, TOP],
        "step": STEP,
        "imagery": {"paths": ["tiles/*.tif"], "cache": cache},
        "model": "./model",
        "cube": cube,
        **changes,
    }
    path = folder / f"{Path(cube).stem}.yaml"
    path.write_text(yaml.safe_dump(values))
    return load_area(path)


@pytest.fixture
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    request.getfixturevalue("quick")
    write_world(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same for tests that change nothing of it."""
    folder = tmp_path_factory.mktemp("small")
    write_world(folder)
    return folder


def renew(world: Path, seed: int = 99) -> None:
    """The file in the lower right corner becomes one of 2024."""
    write_file(world / "tiles", ROWS - 1, COLS - 1, seed, "2024:07:08")


def touched(world: Path, lattice: Grid) -> list[tuple[int, int]]:
    """Places of the tiles that the renewed file reaches, by geometry alone."""
    with rasterio.open(world / "tiles" / f"r{ROWS - 1}c{COLS - 1}.tif") as file:
        left, bottom, right, top = file.bounds
    side = TILE * lattice.step
    rows, cols = lattice.chunk_grid(TILE)
    return [
        (row, col)
        for row in range(rows)
        for col in range(cols)
        if lattice.top - (row + 1) * side < top
        and lattice.top - row * side > bottom
        and lattice.left + (col + 1) * side > left
        and lattice.left + col * side < right
    ]


def blocks_over(tiles: list[tuple[int, int]], here: Area) -> set[tuple[int, int]]:
    """Blocks whose windows of imagery, margins included, reach into these tiles."""
    task, found = plan_build(here).task, set()
    lattice = tile.encoder_lattice(here, None)
    side = TILE * lattice.step
    for block in here.grid.chunks():
        left, bottom, right, top = task.windows(block)[0].bounds
        reach = 2 * lattice.step  # what the copy reads beside a window
        wide = left - reach, bottom - reach, right + reach, top + reach
        for row, col in tiles:
            x, y = lattice.left + col * side, lattice.top - row * side
            if x < wide[2] and x + side > wide[0] and y > wide[1] and y - side < wide[3]:
                found.add(block.index)
    return found


def stored(cube: Cube) -> tuple[NDArray[Any], ...]:
    everything = slice(None), slice(None)
    code = cube.features.stored_code
    return cube.read(*everything), cube.read_norm(*everything), code.scale, code.offset


def assert_equal(mine: Cube, theirs: Cube) -> None:
    for one, other in zip(stored(mine), stored(theirs), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_build_tiles_first_and_a_refresh_redoes_what_changed(world: Path) -> None:
    here = area(world)
    told: list[tuple[int, int]] = []
    built = build_cube(here, cluster="inline", tiling=lambda *n: told.append(n))
    built.raise_if_incomplete()
    assert built.tiling is not None
    lattice = tile.encoder_lattice(here, None)
    tiles = int(np.prod(lattice.chunk_grid(TILE)))
    assert told == [(n, tiles) for n in range(1, tiles + 1)]
    assert (built.tiling.tiles_done, built.blocks_done) == (tiles, 12)
    assert f"{tiles} tiles written" in built.summary() and "12 blocks built" in built.summary()
    fused = area(world, "fused.zarr", cache=False)
    build_cube(fused, cluster="inline")
    assert_equal(Cube.open(here.cube), Cube.open(fused.cube))

    same = refresh_cube(here, cluster="tcp://127.0.0.1:1")  # nobody is asked for anything
    assert (same.tiling and same.tiling.tiles_reused, same.generation) == (tiles, "g0001")

    before = shards(here)
    renew(world)
    over = touched(world, lattice)
    report = refresh_cube(here, cluster="inline")
    report.raise_if_incomplete()
    assert report.tiling is not None and 0 < len(over) < tiles
    assert (report.tiling.tiles_changed, report.tiling.tiles_done) == (len(over), len(over))
    assert report.tiling.tiles_reused == tiles - len(over)
    assert {place for place, when in shards(here).items() if when != before[place]} == set(over)
    blocks = blocks_over(over, here)
    assert (report.blocks_done, report.blocks_copied) == (len(blocks), 12 - len(blocks))
    assert 0 < len(blocks) < 12 and report.published

    refresh_cube(fused, cluster="inline")
    assert_equal(Cube.open(here.cube), Cube.open(fused.cube))
    fresh = area(world, "fresh.zarr", cache=False)
    build_cube(fresh, cluster="inline")
    assert_equal(Cube.open(here.cube), Cube.open(fresh.cube))

    cube = Cube.open(here.cube)
    items = {i["id"]: i for i in cube.provenance(here.grid.chunk(2, 3))["items"]}
    assert items["r1c3"]["date"] == "2024-07-08T00:00:00+00:00"
    assert items["r1c3"]["version"] and items["r1c3"]["href"].endswith("tiles/r1c3.tif")
    newest = list_generations(here.cube)[-1]
    assert (newest.imagery_first or "")[:10] == "2023-05-06"
    assert newest.day == dt.date(2024, 7, 8)


def shards(here: Area) -> dict[tuple[int, int], int]:
    """When each tile's pixels were written."""
    root = Path(here.tiled.path) / "pixels" / "c" / "0"
    found = {}
    for path in root.glob("*/*"):
        found[int(path.parent.name), int(path.name)] = path.stat().st_mtime_ns
    return found


KILLED = """
import os, signal, sys
import geoloc.cli
from geoloc.imagery.cached import source, tiles as tiling
from geoloc.jobs import cache as tile, plan as planning
from tests.cubes import TinyEncoder
for module in (tile, tiling, source):
    module.TILE = 256
tiling._CHUNK = 128
encoder = TinyEncoder()
planning._open_encoder = lambda _: encoder
tile.encoder_lattice = lambda here, _: encoder.window(here.grid)
note, left = tiling.TileTask._note, [int(sys.argv[1])]
def dies(self, place, text):
    if text:
        left[0] -= 1
        if not left[0]:  # the pixels are written, where they are from is not
            os.kill(os.getpid(), signal.SIGKILL)
    note(self, place, text)
tiling.TileTask._note = dies
sys.argv = ["geoloc", "cube", *sys.argv[2:], "--cluster", "inline"]
geoloc.cli.main()
"""


def killed(after: int, *command: object) -> int:
    """The command, killed with -9 in the middle of a tile."""
    words = [sys.executable, "-c", KILLED, str(after), *map(str, command)]
    return subprocess.run(words, cwd=ROOT, check=False, capture_output=True).returncode


def test_killed_in_the_middle_of_tiling_and_of_renewing(world: Path) -> None:
    here = area(world)
    file = world / "cube.yaml"
    assert killed(9, "build", file) == -signal.SIGKILL
    built = build_cube(here, cluster="inline")
    assert built.tiling is not None and built.tiling.tiles_reused == 8
    built.raise_if_incomplete()
    renew(world)
    lattice = tile.encoder_lattice(here, None)
    over = touched(world, lattice)
    assert killed(3, "refresh", file) == -signal.SIGKILL
    states = np.asarray(zarr_library.open_group(here.tiled.path, mode="r")["done"])
    left = [tuple(place) for place in np.argwhere(states == Status.MISSING).tolist()]
    assert left and set(left) <= set(over)  # those that were taken, not those that waited
    half = ZarrSource(here.tiled).read(lattice.window(*lattice.chunk(*left[0], size=TILE).slices))
    assert not half.valid.values.all()
    assert any("being rewritten" in error for error in half.attrs["errors"])
    assert Cube.open(here.cube).generation == "g0001"  # readers are where they were
    report = refresh_cube(here, cluster="inline")
    report.raise_if_incomplete()
    assert report.tiling is not None and report.tiling.tiles_done == len(over) - 2
    fresh = area(world, "fresh.zarr", cache=False)
    build_cube(fresh, cluster="inline")
    assert_equal(Cube.open(here.cube), Cube.open(fresh.cube))


def tile_anew(here: Area, **options: Any) -> tile.TileReport:
    return tile.tile_imagery(here, cluster="inline", **options)


def test_tiling_again_renews_the_copy(world: Path) -> None:
    here = area(world)
    tile_anew(here).raise_if_incomplete()
    renew(world)
    lattice = tile.encoder_lattice(here, None)
    report = tile_anew(here)
    assert report.tiles_done == report.tiles_changed == len(touched(world, lattice))
    assert "of changed imagery" in report.summary()
    np.testing.assert_array_equal(
        ZarrSource(here.tiled).read(lattice).values, open_source(here.imagery).read(lattice).values
    )
    assert tile_anew(here).tiles_done == 0
    (world / "tiles" / "r1c3.tif").unlink()  # a glob: one file less is no error
    assert tile_anew(here).tiles_done == report.tiles_done
    again, origin = ZarrSource(here.tiled).read(lattice), open_source(here.imagery).read(lattice)
    np.testing.assert_array_equal(again.values, origin.values)
    np.testing.assert_array_equal(again.valid, origin.valid)


def test_pixels_that_are_whole_outlive_their_origin(world: Path) -> None:
    here = area(world)
    build_cube(here, cluster="inline").raise_if_incomplete()
    lattice = tile.encoder_lattice(here, None)
    before = ZarrSource(here.tiled).read(lattice)
    path = world / "tiles" / "r1c3.tif"
    good = path.read_bytes()
    path.write_bytes(good[:-4000])
    for _ in range(2):
        report = refresh_cube(here, cluster="inline")
        assert report.tiling is not None and report.tiling.tiles_kept > 0
        assert report.tiling.tiles_broken == report.tiling.tiles_failed == 0
        assert "left as they were" in report.summary()
        with pytest.raises(ImageryError, match=r"tiles are out of date \(.*r1c3\.tif"):
            report.raise_if_incomplete()
        assert report.published and Cube.open(here.cube).complete
        np.testing.assert_array_equal(ZarrSource(here.tiled).read(lattice).values, before.values)
    assert_equal(Cube.open(here.cube), Cube.open(here.cube, "g0001"))
    path.write_bytes(good)
    report = refresh_cube(here, cluster="inline")
    report.raise_if_incomplete()
    assert report.tiling is not None and report.tiling.tiles_changed == report.tiling.tiles_done > 0


def test_broken_tiles_are_told_by_the_build_and_mended_by_the_next(world: Path) -> None:
    path = world / "tiles" / "r1c3.tif"
    good = path.read_bytes()
    path.write_bytes(good[:-4000])
    here = area(world)
    report = build_cube(here, cluster="inline")
    assert report.tiling is not None and report.tiling.tiles_broken > 0
    assert 0 < report.blocks_broken < 12
    with pytest.raises(CubeError, match=r"blocks are incomplete \(.*r1c3\.tif"):
        report.raise_if_incomplete()
    path.write_bytes(good)
    mended = build_cube(here, cluster="inline")
    mended.raise_if_incomplete()
    assert mended.blocks_done == report.blocks_broken
    assert mended.tiling is not None
    anew = report.tiling.tiles_broken + mended.tiling.tiles_changed
    assert mended.tiling.tiles_done == anew


def test_a_copy_that_changes_while_it_is_read_is_told(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = area(world)
    tile_anew(here)
    renew(world)
    lattice = tile.encoder_lattice(here, None)
    at = touched(world, lattice)[0]
    window = lattice.window(*lattice.chunk(*at, size=TILE).slices)
    found, real = [], tiled.array_of

    def array_of(group: Any, name: str) -> Any:
        if name == "valid" and not found:  # between the pixels and the mask
            found.append(name)
            tile_anew(here)
        return real(group, name)

    monkeypatch.setattr(tiled, "array_of", array_of)
    data = ZarrSource(here.tiled).read(window)
    assert any("were being rewritten" in error for error in data.attrs["errors"])
    inside = data.valid.values[2:-2, 2:-2]
    assert not inside.any() and not data.values[:, 2:-2, 2:-2].any()
    assert ZarrSource(here.tiled).read(window).attrs["errors"] == ()


def test_on_s3(world: Path, s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiling, "_CHUNK", TILE)  # the tests' server is slow to answer
    here = area(world, f"{s3_bucket}/{world.name}/cube.zarr")
    build_cube(here, cluster="inline").raise_if_incomplete()
    renew(world)
    report = refresh_cube(here, cluster="inline")
    report.raise_if_incomplete()
    lattice = tile.encoder_lattice(here, None)
    assert report.tiling is not None
    assert report.tiling.tiles_done == len(touched(world, lattice)) and report.blocks_copied > 0
    fresh = area(world, "fresh.zarr", cache=False)
    build_cube(fresh, cluster="inline")
    assert_equal(Cube.open(here.cube), Cube.open(fresh.cube))
    with pytest.raises(ImageryError, match="holds something else"):
        tile_anew(here, out=here.cube)


def test_credentials_of_a_copy_come_from_a_profile(
    small: Path, s3_bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As those of a cube do."""
    endpoint = os.environ["AWS_ENDPOINT_URL"]
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    (tmp_path / "config").write_text(
        f"[profile desk]\nregion = us-east-1\nendpoint_url = {endpoint}\n"
        "aws_access_key_id = testing\naws_secret_access_key = testing\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_PROFILE", "desk")
    here = area(small, f"{s3_bucket}/{tmp_path.name}/cube.zarr", bounds=SMALL)
    tile_anew(here).raise_if_incomplete()
    assert ZarrSource(here.tiled).read(here.grid).valid.values.all()


def test_one_process_writes_a_copy(world: Path) -> None:
    here = area(world)
    with hold_lock(here.tiled.path, "imagery tile"):
        for refused in (lambda: tile_anew(here), lambda: build_cube(here, cluster="inline")):
            with pytest.raises(CubeError, match=rf"being written by process {os.getpid()} of"):
                refused()
    assert not Path(here.cube).exists()
    tile_anew(here).raise_if_incomplete()
    assert not (Path(here.tiled.path) / "LOCK").exists()


def test_nothing_else_is_overwritten(world: Path) -> None:
    here = area(world)
    precious = world / "precious"
    precious.mkdir()
    (precious / "thesis.txt").write_text("three years")
    zarr_library.create_group(world / "cube-of-others.zarr")
    for out in (precious, world / "cube-of-others.zarr"):
        before = sorted(out.rglob("*"))
        with pytest.raises(ImageryError, match="holds something else: name another place"):
            tile_anew(here, out=str(out))
        assert sorted(out.rglob("*")) == before


def test_a_layout_that_was_killed_is_redone(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = area(world)

    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(tiling, "_create_ledger", dies)
        with pytest.raises(KeyboardInterrupt):
            tile_anew(here)
    assert (Path(here.tiled.path) / "pixels").exists()
    with pytest.raises(ImageryError, match="tile it again"):
        ZarrSource(here.tiled).gsd  # noqa: B018
    tile_anew(here).raise_if_incomplete()


def test_other_imagery_is_a_refresh(world: Path) -> None:
    here = area(world)
    build_cube(here, cluster="inline")
    renew(world)
    (world / "tiles").rename(world / "moved")
    other = area(world, imagery={"paths": ["moved/r0*.tif", "moved/r1*.tif"], "cache": True})
    for refused in (lambda: tile_anew(other), lambda: build_cube(other, cluster="inline")):
        with pytest.raises(SpecMismatchError, match="made from another area, imagery or lattice"):
            refused()
    report = refresh_cube(other, cluster="inline")
    report.raise_if_incomplete()
    lattice = tile.encoder_lattice(here, None)
    (world / "moved").rename(world / "tiles")
    assert report.tiling is not None
    assert report.tiling.tiles_done == len(touched(world, lattice))
    (world / "tiles").rename(world / "moved")
    assert tile_anew(other).tiles_done == 0  # the copy is one of that imagery now
    coarse = area(world, step=20.0, imagery=other.imagery.model_dump(mode="json"))
    with pytest.raises(SpecMismatchError, match="another area, imagery or lattice"):
        tile.tile_imagery(coarse, cluster="inline", other_imagery=True)


def test_a_world_that_was_moved_goes_on(
    world: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    build_cube(area(world), cluster="inline")
    there = tmp_path_factory.mktemp("moved") / "world"
    world.rename(there)
    report = build_cube(load_area(there / "cube.yaml"), cluster="inline")
    assert report.tiling is not None
    assert (report.tiling.tiles_done, report.blocks_done) == (0, 0)
    assert (report.blocks_reused, report.notes) == (12, [])


def test_plans_reports_and_checks_need_no_copy_and_take_one(small: Path, tmp_path: Path) -> None:
    cube = tmp_path / "cube.zarr"
    here = area(small, str(cube), bounds=SMALL)
    before = plan_cube(here, cluster="inline", steps=[32.0])
    assert before.rows[0].blocks == 1 and not cube.exists()
    assert not Path(here.tiled.path).exists()
    build_cube(here, cluster="inline").raise_if_incomplete()
    after = plan_cube(here, cluster="inline", steps=[32.0])
    assert after.rows[0].blocks == 1
    file = small / "cube.yaml"
    assert verify_cube_at(file, cells=12).error.cells > 0
    inside = here.grid.window(slice(0, 9), slice(0, 9))
    for name in ("tiles", "away"):  # pictures of reports: with the origin there, and without
        (small / "tiles").rename(small / name)
        try:
            pixels = open_target(file).source
            assert pixels is not None and pixels.read(inside).valid.values.all()
        finally:
            (small / name).rename(small / "tiles")


def test_the_method_of_the_cube_decides_the_lattice(small: Path, tmp_path: Path) -> None:
    here = area(small, str(tmp_path / "cube.zarr"), bounds=SMALL)
    build_cube(here, method="patch", cluster="inline").raise_if_incomplete()
    again = build_cube(here, cluster="inline")  # dense would be the default
    assert again.tiling is not None and again.tiling.tiles_done == 0
    assert refresh_cube(here, cluster="inline").generation == "g0001"


def test_the_commands(small: Path, tmp_path: Path) -> None:
    area(small, str(tmp_path / "cube.zarr"), bounds=SMALL)
    file = str(small / "cube.yaml")
    done = CliRunner().invoke(app, ["cube", "build", file, "--cluster", "inline", "--json"])
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["tiling"]["tiles_done"] > 0 and report["blocks_done"] == 1
    for command in (["cube", "refresh"], ["imagery", "tile"]):
        done = CliRunner().invoke(app, [*command, file, "--cluster", "inline"])
        assert done.exit_code == 0 and "0 tiles written" in done.output
    done = CliRunner().invoke(app, ["cube", "plan", file, "--cluster", "inline", "--step", "32"])
    assert done.exit_code == 0, done.output
