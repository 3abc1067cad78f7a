"""Faults of catalogs, files and stores as users meet them: one line, an exit code, nothing lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from geoloc.area import load_area
from geoloc.cube import Cube, Ledger, Status, create_root
from geoloc.cube.lock import LOCK, Owner
from geoloc.cube.store import open_store, write_text
from geoloc.domain import Grid
from geoloc.imagery.cached import source as tiled
from geoloc.imagery.cached import tiles as tiling
from geoloc.jobs import cache as tile
from geoloc.jobs import plan as planning
from geoloc.jobs.tasks import BuildTask

from . import cubes, test_cli, test_imagery_stac, test_jobs_build_faults
from .cubes import TinyEncoder
from .encoder_models import imagery, tiny_model
from .test_cli import Run
from .test_imagery_geotiff import CRS, LEFT, TOP, write
from .test_imagery_stac import Api, Json, catalog, item
from .test_imagery_xyz import ramp
from .tile_server import serve_tiles

run = test_cli.run
guarded = test_imagery_stac.guarded
s3_bucket = cubes.s3_bucket
small_disk = test_jobs_build_faults.small_disk

ROOT = Path(__file__).parent.parent
GSD, STEP, NY, NX = 2.5, 10.0, 140, 260  # 2 x 3 blocks of 128 cells
HALVES = ("west", "east")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model's place is taken by an encoder of a few means."""
    encoder = TinyEncoder()
    monkeypatch.setattr(planning, "_open_encoder", lambda _: encoder)
    monkeypatch.setattr(tile, "encoder_lattice", lambda here, _: encoder.window(here.grid))


def half(name: str) -> Grid:
    """The lattice of one of the two files, which end 100 m beyond the area."""
    ny, nx = round((NY * STEP + 200) / GSD), round((NX * STEP + 200) / GSD / 2)
    left = LEFT - 100 + (nx * GSD if name == "east" else 0)
    return Grid(CRS, left, TOP + 100, GSD, ny, nx)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two files and a model."""
    tiny_model(tmp_path / "model")
    for seed, name in enumerate(HALVES):
        grid = half(name)
        write(
            tmp_path / f"{name}.tif", imagery(*grid.shape, seed),
            left=grid.left, top=grid.top, gsd=GSD, tiled=True,
        )  # fmt: skip
    return tmp_path


def items(folder: Path, base: str | None = None, **facts: Any) -> list[Json]:
    """A STAC item for each of the files, by absolute hrefs."""
    where = base or folder.as_uri()
    return [item(name, f"{where}/{name}.tif", half(name), **facts) for name in HALVES]


def area(folder: Path, spec: Json, name: str = "area", **changes: Any) -> Path:
    """An area file."""
    values = {
        "name": "here",
        "crs": CRS,
        "bounds": [LEFT, TOP - NY * STEP, LEFT + NX * STEP, TOP],
        "step": STEP,
        "imagery": spec,
        "model": "./model",
        "cube": f"{name}.zarr",
        **changes,
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def files(folder: Path, name: str = "area", **changes: Any) -> Path:
    return area(folder, {"paths": ["west.tif", "east.tif"]}, name, **changes)


def build(run: Run, path: Path) -> test_cli.Done:
    return run("cube", "build", path, "--cluster", "inline")


def last_line(done: test_cli.Done) -> str:
    """The error, which comes after the report; no traceback before it."""
    assert "Traceback" not in done.err
    line = done.err.strip().splitlines()[-1]
    assert line.startswith("error: ")
    return line


def cells(path: Path) -> Any:
    return Cube.open(load_area(path).cube).read(slice(None), slice(None))


@pytest.fixture
def api(folder: Path) -> Iterator[Api]:
    """A real STAC API, which a test may stop."""
    if not Path(sys.executable).with_name("rustac").exists():
        pytest.skip("rustac is not installed")
    running = Api(folder, items(folder))
    yield running
    running.stop()


# --- catalogs ------------------------------------------------------------------------------------


def test_an_api_that_is_down_at_the_start(run: Run, folder: Path, api: Api) -> None:
    api.stop()
    path = area(folder, {"kind": "stac", "url": api.url})
    for command in ("build", "plan"):
        done = run("cube", command, path, "--cluster", "inline")
        assert done.code == 1
        assert done.is_one_line(f"STAC catalog {api.url}", "refused"), done.err
        last_line(done)
    assert not (folder / "area.zarr").exists()


def test_an_api_that_goes_down_in_the_middle(
    run: Run, folder: Path, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An area's items are searched for once: its build goes on; a larger area finds out."""
    spec = {"kind": "stac", "url": api.url, "collections": ["aerial"]}
    path, store = area(folder, spec), BuildTask.store
    stored: list[object] = []

    def stops(self: BuildTask, *args: Any) -> Any:
        stored.append(args)
        if len(stored) == 2:
            api.stop()
        return store(self, *args)

    monkeypatch.setattr(BuildTask, "store", stops)
    assert build(run, path).code == 0 and len(stored) == 6
    assert api.process.poll() is not None
    assert build(run, files(folder, "plain")).code == 0
    np.testing.assert_array_equal(cells(path), cells(folder / "plain.yaml"))
    larger = area(folder, spec, "larger", bounds=[LEFT - 20_000, TOP - 1400, LEFT + 2600, TOP])
    done = build(run, larger)
    assert done.code == 1 and done.is_one_line(f"STAC catalog {api.url}", "refused"), done.err
    last_line(done)
    again = build(run, path)  # to go on, or to see that nothing is left, takes the catalog
    assert again.code == 1 and again.is_one_line("refused")
    assert Cube.open(load_area(path).cube).complete


def test_a_collection_that_is_not_there(run: Run, folder: Path, api: Api) -> None:
    static = catalog(folder, *items(folder))
    for url, known in ((api.url, "it has aerial"), (static, "it has none")):
        path = area(folder, {"kind": "stac", "url": url, "collections": ["mars"]})
        done = build(run, path)
        assert done.code == 1 and done.is_one_line("has no collection mars", known), done.err
        last_line(done)


def test_an_asset_that_some_items_lack(run: Run, folder: Path) -> None:
    west, east = items(folder)
    lacking = item("b", "", half("east"), assets={"thumbnail": {"href": "b.jpg"}})
    url = catalog(folder, west, east, lacking)
    path = area(folder, {"kind": "stac", "url": url, "assets": "visual"})
    done = build(run, path)
    assert done.code == 0 and "1 item is left out, as it lacks visual: b has thumbnail" in done.err
    nobody = area(folder, {"kind": "stac", "url": url, "assets": "rgb"})
    done = build(run, nobody)
    assert done.code == 1 and done.is_one_line("no item has rgb", "name them as imagery assets")
    last_line(done)


@pytest.mark.parametrize("version", ["1.0.0", "1.1.0"])
def test_a_catalog_without_projections(run: Run, folder: Path, version: str) -> None:
    bare = items(folder, projection="none", version=version)
    url = catalog(folder, *bare, version=version)
    path = area(folder, {"kind": "stac", "url": url})
    assert build(run, path).code == 0
    assert build(run, files(folder, "plain")).code == 0
    np.testing.assert_array_equal(cells(path), cells(folder / "plain.yaml"))


def test_a_block_tells_which_versions_it_is_from(run: Run, folder: Path, guarded: str) -> None:
    """What the catalog says of them; else what the server does, or the disk."""
    (told, _), (_, asked) = items(folder, f"{guarded}/sig=s3cret"), items(folder)
    (folder / "sig=s3cret").symlink_to(folder)
    told["assets"]["visual"]["file:checksum"] = "1220aa"
    path = area(folder, {"kind": "stac", "url": catalog(folder, told, asked)})
    done = build(run, path)
    assert done.code == 0, done.err
    cube = Cube.open(load_area(path).cube)
    seen = {i["id"]: i for i in cube.provenance(cube.grid.chunk(0, 1))["items"]}
    assert seen["west"]["version"] == "file:checksum=1220aa"
    status = (folder / "east.tif").stat()
    assert seen["east"]["version"] == f"{status.st_mtime_ns}-{status.st_size}"
    assert {i["date"] for i in seen.values()} == {"2024-06-01T10:00:00+00:00"}


# --- web tiles -----------------------------------------------------------------------------------


@pytest.mark.parametrize("cache", [False, True])
def test_no_key_is_written_or_told(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, cache: bool
) -> None:
    monkeypatch.setenv("TILE_KEY", "s3cret")
    with serve_tiles(ramp) as server:
        url = server.url("{z}/{x}/{y}.png?style=sat&key=${TILE_KEY}")
        spec = {"kind": "xyz", "url": url, "rate": 1000, "tile_cache": "tiles", "cache": cache}
        path = area(folder, spec)
        server.always = "403"
        done = build(run, path)
        assert done.code == 1 and "HTTP 403 Forbidden" in last_line(done)
        server.always = ""
        whole = build(run, path)
    assert whole.code == 0, whole.err
    assert all("key=s3cret" in request for request in server.requests)
    assert "s3cret" not in done.err + whole.err
    written = [file for file in folder.rglob("*") if file.is_file()]
    assert len(written) > 20
    assert not [file for file in written if b"s3cret" in file.read_bytes()]


# --- files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("cache", [False, True])
def test_a_truncated_file_leaves_a_gap_that_the_next_run_fills(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, cache: bool
) -> None:
    for module in (tile, tiling, tiled):
        monkeypatch.setattr(module, "TILE", 256)
    monkeypatch.setattr(tiling, "_CHUNK", 128)
    good = (folder / "east.tif").read_bytes()
    (folder / "east.tif").write_bytes(good[: len(good) // 2])
    spec = {"kind": "stac", "url": catalog(folder, *items(folder)), "cache": cache}
    path = area(folder, spec)
    done = build(run, path)
    line = last_line(done)
    assert done.code == 1 and "of 6 blocks are incomplete" in line and "east.tif" in line
    kept = int((Ledger(load_area(path).cube, "g0001").status == Status.DONE).sum())
    (folder / "east.tif").write_bytes(good)
    done = run("cube", "build", path, "--cluster", "inline", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["blocks_done"] == 6 - kept
    assert build(run, files(folder, "plain")).code == 0
    missing = (cells(path) == -128).any(axis=-1)
    assert not missing.any()


def test_files_that_are_forbidden(
    run: Run, folder: Path, guarded: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    west, _ = items(folder)
    _, east = items(folder, guarded)
    spec = {"kind": "stac", "url": catalog(folder, west, east)}
    done = build(run, area(folder, spec))
    line = last_line(done)
    assert done.code == 1 and "403" in line and f"{guarded}/east.tif" in line
    monkeypatch.setenv("STAC_TOKEN", "sig=wrong")
    signed = area(folder, {**spec, "sign": "${STAC_TOKEN}"}, "signed")
    done = build(run, signed)
    assert done.code == 1 and "403" in last_line(done) and "sig=wrong" not in done.err
    monkeypatch.setenv("STAC_TOKEN", "sig=s3cret")
    done = build(run, signed)
    assert done.code == 0 and "s3cret" not in done.err + done.out
    for file in (folder / "signed.zarr").rglob("*"):
        assert not file.is_file() or b"s3cret" not in file.read_bytes()


# --- stores --------------------------------------------------------------------------------------


@pytest.mark.parametrize("cache", [False, True])
def test_a_full_disk(run: Run, folder: Path, small_disk: Path, cache: bool) -> None:
    spec = {"paths": ["west.tif", "east.tif"], "cache": cache}
    path = area(folder, spec, cube=str(small_disk / "cube.zarr"))
    (small_disk / "ballast").write_bytes(bytes(300_000))
    done = build(run, path)
    assert done.code == 1 and "No space left on device" in last_line(done)
    if os.getuid() == 0:
        subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
    done = build(run, path)
    assert done.code == 0, done.err
    assert build(run, files(folder, "plain")).code == 0
    np.testing.assert_array_equal(cells(path), cells(folder / "plain.yaml"))


@pytest.mark.parametrize("cache", [False, True])
def test_a_missing_bucket(run: Run, folder: Path, s3_bucket: str, cache: bool) -> None:
    spec = {"paths": ["west.tif", "east.tif"], "cache": cache}
    url = s3_bucket.replace("cubes", "nobucket") + "/a.zarr"
    done = build(run, area(folder, spec, cube=url))
    assert done.code == 1 and done.is_one_line("nobucket"), done.err
    last_line(done)


AS_NOBODY = """
import os, sys
from geoloc.cli import main
command = ["geoloc", "cube", "build", "--cluster", "inline"]
try:
    sys.argv = [*command, sys.argv[1]]  # as root: all that is imported late is there then
    locked = sys.argv[-1].replace("open.yaml", "locked.yaml")
    main()
except SystemExit as end:
    assert not end.code, end.code
print("as nobody", file=sys.stderr)
os.setuid(65534)
sys.argv = [*command, locked]
main()
"""


@pytest.mark.skipif(os.getuid() != 0, reason="becoming somebody without permission takes root")
@pytest.mark.parametrize("cache", [False, True])
def test_no_permission(folder: Path, cache: bool) -> None:
    (folder / "locked").mkdir(mode=0o755)
    for parent in (folder, *folder.parents[:3]):
        parent.chmod(0o755)
    spec = {"paths": ["west.tif", "east.tif"], "cache": cache}
    bounds = [LEFT, TOP - 200, LEFT + 300, TOP]
    area(folder, spec, "locked", cube="locked/cube.zarr", bounds=bounds)
    path = area(folder, spec, "open", bounds=bounds)
    command = [sys.executable, "-c", AS_NOBODY, str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    told = test_cli.Done(1, done.stdout, done.stderr.partition("as nobody\n")[2])
    assert told.is_one_line("Permission denied"), done.stderr
    last_line(told)


def test_a_cube_of_a_newer_version(run: Run, folder: Path) -> None:
    path = files(folder)
    assert build(run, path).code == 0
    document = folder / "area.zarr" / "g0001" / "zarr.json"
    document.write_text(document.read_text().replace('"geoloc_cube": 2', '"geoloc_cube": 3'))
    for command in ("build", "refresh", "info", "generations"):
        options = ["--cluster", "inline"] if command in ("build", "refresh") else []
        done = run("cube", command, path, *options)
        assert done.code == 1, (command, done.out)
        assert done.is_one_line("has format 3, this geoloc reads up to 2: install a newer")
    last_line(done)


@pytest.mark.parametrize("skew", [-3600.0, 3600.0])
def test_a_lock_of_another_clock(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, skew: float
) -> None:
    """Left behind by a machine whose clock is an hour off: watched for a while, then taken."""
    monkeypatch.setattr("geoloc.cube.lock.BEAT", 0.2)
    path = files(folder)
    url = load_area(path).cube
    create_root(url)
    now = time.time() + skew
    gone = replace(Owner.this_process("cube build"), machine="elsewhere", since=now, renewed=now)
    write_text(open_store(url, read_only=False), LOCK, gone.to_text())
    assert build(run, path).code == 0
    fresh = replace(gone, renewed=time.time(), host="node7")
    monkeypatch.setattr("geoloc.cube.lock.BEAT", 10.0)
    write_text(open_store(url, read_only=False), LOCK, fresh.to_text())
    done = build(run, path)
    assert done.code == 1 and done.is_one_line("being written by", "node7", "wait for it"), done.err
    last_line(done)
    assert Cube.open(url).complete
