"""Points over imagery of servers: a STAC API with COGs, web tiles, one in the other's place."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from affine import Affine
from numpy.typing import NDArray
from pyproj import Transformer

from geoloc.area import Area, load_area
from geoloc.cube import Cube
from geoloc.domain import Grid, Points
from geoloc.jobs import calibration
from geoloc.jobs.build import build_cube
from geoloc.jobs.estimate import plan_cube

from .loopback import serving_on_loopback
from .point_area import BLOCK, CRS, HEIGHT, LEFT, TOP, WIDTH, lonlat_of, write_area, write_image
from .test_imagery_geotiff import _Ranges
from .test_imagery_stac import Api, item
from .tile_server import TileServer, serve_tiles

COUNT = 50
MIDDLE = 450  # m: what lies west of it is of one COG, the rest of another


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Points, "chunk_size", BLOCK)
    monkeypatch.setattr(calibration, "WINDOWS", 4)
    monkeypatch.setattr(calibration, "_TOGETHER", 4)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``a.tif`` with all, and its halves ``west.tif`` and ``east.tif`` as COGs."""
    folder = tmp_path_factory.mktemp("images")
    write_image(folder / "a.tif")
    with rasterio.open(folder / "a.tif") as whole:
        pixels, profile = whole.read(), whole.profile
    for name, left, right in (("west", 0, MIDDLE), ("east", MIDDLE, WIDTH)):
        told = {
            **profile,
            "width": right - left,
            "transform": Affine(1, 0, LEFT + left, 0, -1, TOP),
        }
        with rasterio.open(folder / "plain.tif", "w", **told) as part:
            part.write(pixels[:, :, left:right])
        rasterio.shutil.copy(folder / "plain.tif", folder / f"{name}.tif", driver="COG")
    (folder / "plain.tif").unlink()
    return folder


@pytest.fixture
def api(images: Path, tmp_path: Path) -> Iterator[Api]:
    """A STAC API whose items name the COGs on a server of byte ranges."""
    if not Path(sys.executable).with_name("rustac").exists():
        pytest.skip("rustac is not installed")
    with serving_on_loopback(partial(_Ranges, directory=str(images))) as port:
        items = [
            item(name, f"http://127.0.0.1:{port}/{name}.tif", Grid(CRS, left, TOP, 1.0, HEIGHT, nx))
            for name, left, nx in (("west", LEFT, MIDDLE), ("east", LEFT + MIDDLE, WIDTH - MIDDLE))
        ]
        running = Api(tmp_path, items)
        yield running
        running.stop()


def files(images: Path, *names: str) -> dict[str, Any]:
    return {"kind": "geotiff", "paths": [str(images / f"{name}.tif") for name in names]}


def codes(area: Area) -> NDArray[np.int8]:
    """Codes ``(point, feature)`` in the order of the sequence."""
    cube = Cube.open(area.cube)
    return cube.read(slice(None))[np.argsort(cube.attributes()["order"])]


def assert_like_the_whole(area: Area, tmp_path: Path, images: Path) -> None:
    """The vectors are those of the one image, but for windows over the seam of two files."""
    folder = tmp_path / "plain"
    folder.mkdir()
    plain = write_area(folder, COUNT, imagery=files(images, "a"))
    assert build_cube(plain, cluster="inline").complete
    x, _ = Transformer.from_crs(4326, CRS, always_xy=True).transform(*lonlat_of(COUNT).T)
    apart = np.abs(x - LEFT - MIDDLE) > 60
    assert 30 < apart.sum() < COUNT
    np.testing.assert_array_equal(codes(area)[apart], codes(plain)[apart])
    assert (codes(area) != -128).all()


def test_points_over_cogs_of_a_stac_api(api: Api, images: Path, tmp_path: Path) -> None:
    area = write_area(tmp_path, COUNT, imagery={"kind": "stac", "url": api.url})
    first = build_cube(area, cluster="inline", n=20)
    report = build_cube(area, cluster="inline")
    assert first.complete and report.complete and report.generation == "g0002"
    assert not report.missing_cells and not report.errors
    cube = Cube.open(area.cube)
    seen = {one["id"] for block in cube.blocks() for one in cube.provenance(block)["items"]}
    assert seen == {"west", "east"} and cube.imagery_dates()
    assert_like_the_whole(area, tmp_path, images)


def test_a_backup_serves_where_the_first_has_no_imagery(images: Path, tmp_path: Path) -> None:
    area = write_area(tmp_path, COUNT, imagery=[files(images, "west"), files(images, "a")])
    assert build_cube(area, cluster="inline").complete
    assert_like_the_whole(area, tmp_path, images)
    cube = Cube.open(area.cube)
    names = {Path(i["href"]).name for b in cube.blocks() for i in cube.provenance(b)["items"]}
    assert names == {"west.tif", "a.tif"}


def tile(zoom: int, x: int, y: int) -> NDArray[np.uint8]:
    return np.random.default_rng([zoom, x, y]).integers(0, 255, (256, 256, 3)).astype(np.uint8)


def tiles(server: TileServer, cache: Path, **more: Any) -> dict[str, Any]:
    told = {"kind": "xyz", "url": server.url(), "zoom": 17, "cache": str(cache), "retries": 1}
    return {**told, "rate": 1000, **more}


def test_a_quota_of_the_first_ends_the_build_and_is_no_reason_for_the_backup(
    images: Path, tmp_path: Path
) -> None:
    """What the first would have shown tomorrow is not taken from the second today."""
    with serve_tiles(tile) as server:
        told = [tiles(server, tmp_path / "tiles"), files(images, "a")]
        area = write_area(tmp_path, COUNT, imagery=told)
        build_cube(area, cluster="inline", n=BLOCK)
        server.always = "429:86400"
        stopped = build_cube(area, cluster="inline")
        assert "86400" in str(stopped.stopped)
        server.always = ""
        assert build_cube(area, cluster="inline").complete
        (tmp_path / "other").mkdir()
        other = write_area(tmp_path / "other", COUNT, imagery=tiles(server, tmp_path / "tiles"))
        assert build_cube(other, cluster="inline").complete
        np.testing.assert_array_equal(codes(area), codes(other))


def test_a_plan_foresees_the_requests_of_a_build(images: Path, tmp_path: Path) -> None:
    """Those of points that lie in one block exactly; of other imagery none are told."""
    with serve_tiles(tile) as server:
        area = write_area(tmp_path, COUNT, imagery=tiles(server, tmp_path / "tiles"))
        planned = plan_cube(area, cluster="inline").own
        assert build_cube(area, cluster="inline").complete
        asked = {*server.requests}
    assert planned.requests == len(asked) > 1
    (tmp_path / "plain").mkdir()
    plain = write_area(tmp_path / "plain", COUNT, imagery=files(images, "a"))
    assert plan_cube(plain, cluster="inline").own.requests is None


INTERRUPTED = """
import os, signal, sys, threading
from geoloc.cli import main
import geoloc.jobs.tasks as tasks
signal.signal(signal.SIGINT, signal.default_int_handler)  # also where the tests ignore it
real, seen = tasks._read, []
def counted(source, window):
    seen.append(window)
    if len(seen) == 4:
        os.kill(os.getpid(), signal.SIGINT)
    return real(source, window)
tasks._read = counted
main()
"""


def test_ctrl_c_does_not_wait_for_the_tiles_of_all_points_of_a_block(tmp_path: Path) -> None:
    with serve_tiles(tile) as server:
        write_area(tmp_path, 150, imagery=tiles(server, tmp_path / "tiles", rate=3))
        words = ["cube", "build", str(tmp_path / "area.yaml"), "--cluster", "inline"]
        done = subprocess.run(
            [sys.executable, "-c", INTERRUPTED, *words],
            env=dict(os.environ), capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip
        assert done.returncode == 1, done.stderr
        assert done.stderr.strip().splitlines()[-1].startswith("error: interrupted; what was fin")
        ended = len(server.requests)
        assert not list(tmp_path.rglob("LOCK"))
        area = load_area(tmp_path / "area.yaml")
        quick = area.imagery.model_copy(update={"rate": 1000})
        assert build_cube(area.model_copy(update={"imagery": quick}), cluster="inline").complete
        assert ended < len(server.requests) / 2  # the rest is asked for by who goes on
