"""Bytes taken for a window: right where they can be known, and never a wrong number."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from rasterio.shutil import copy as copy_raster

from geoloc.area import StacImagery
from geoloc.domain import Grid
from geoloc.imagery import open_source
from geoloc.imagery.byte_counter import ByteCounter

from .test_imagery_geotiff import CRS, LEFT, TOP, noise, source_of, write
from .test_imagery_stac import catalog, item

ROOT = Path(__file__).parent.parent
WINDOW = Grid(CRS, LEFT, TOP, 1.0, 700, 600)


def large(path: Path, seed: int = 1) -> Path:
    """Noise that does not compress, 1.3 MB, under the whole window."""
    return write(path, noise(seed, size=WINDOW.shape), tiled=True, blockxsize=256, blockysize=256)


_SERVER = """
import functools, http.server, sys
from tests.test_imagery_geotiff import _Ranges
handler = functools.partial(_Ranges, directory=sys.argv[1])
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
print(server.server_port, flush=True)
server.serve_forever()
"""


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """The URL of a folder. By another process: GDAL looks into a VRT without letting go of ours."""
    command = [sys.executable, "-c", _SERVER, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as server:
        assert server.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(server.stdout.readline())}"
        finally:
            server.terminate()


def taken_for(window: Grid, *paths: Path) -> Any:
    return source_of(*paths).read(window).attrs["read_bytes"]


def test_files_on_disk_are_counted(tmp_path: Path) -> None:
    path = large(tmp_path / "a.tif")
    size = path.stat().st_size
    assert taken_for(WINDOW, path) == pytest.approx(size, rel=0.01)
    part = taken_for(WINDOW.window(slice(0, 250), slice(0, 250)), large(tmp_path / "b.tif"))
    assert 256 * 256 * 3 <= part < size / 3
    assert taken_for(Grid(CRS, LEFT + 5000, TOP, 1.0, 9, 9), path) == 0


def test_threads_do_not_count_each_other(tmp_path: Path) -> None:
    paths = [large(tmp_path / f"{n}.tif", n) for n in range(6)]
    with ThreadPoolExecutor(3) as pool:
        counts = list(pool.map(partial(taken_for, WINDOW), paths))
    assert counts == pytest.approx([path.stat().st_size for path in paths], rel=0.01)


def test_only_what_is_read_inside_is_counted(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(1234))
    taken = ByteCounter()
    assert taken.total == 0
    with taken.count(["a"]):
        pass
    (tmp_path / "a").read_bytes()
    assert taken.total == 0  # and no look at the count itself
    for _ in range(2):
        with taken.count(["a"]):
            (tmp_path / "a").read_bytes()
    assert taken.total == 2 * 1234
    with taken.count(["s3://b/a"]):
        pass
    assert taken.total is None


def test_threads_of_gdal_are_not_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for threads, known in (("2", False), ("ALL_CPUS", False), ("1", True)):
        monkeypatch.setenv("GDAL_NUM_THREADS", threads)
        taken = taken_for(WINDOW, large(tmp_path / f"{threads}.tif"))
        assert (taken is not None) is known


def test_what_gdal_fetches_is_not_known(tmp_path: Path) -> None:
    local = large(tmp_path / "a.tif")
    with serving(tmp_path) as root:
        url = f"{root}/a.tif"
        copy_raster(local, tmp_path / "near.vrt", driver="VRT")
        text = (tmp_path / "near.vrt").read_text()
        far = text.replace('relativeToVRT="1">a.tif', f'relativeToVRT="0">/vsicurl/{url}')
        assert far.count(url) == 3
        (tmp_path / "far.vrt").write_text(far)
        assert taken_for(WINDOW, url) is None  # type: ignore[arg-type]
        assert taken_for(WINDOW, tmp_path / "far.vrt") is None
        assert taken_for(WINDOW, local, url) is not None  # type: ignore[arg-type]  hidden
    assert taken_for(WINDOW, tmp_path / "near.vrt") is not None


@pytest.mark.parametrize("order", ["newest", "median"])
def test_items_of_a_catalog(tmp_path: Path, order: str) -> None:
    size = large(tmp_path / "a.tif").stat().st_size

    def read(href: str, folder: str) -> Any:
        url = catalog(tmp_path / folder, item("a", href, WINDOW))
        source = open_source(StacImagery.model_validate({"url": url, "order": order}))
        return source.read(WINDOW).attrs["read_bytes"]

    assert read("../../a.tif", "near") == pytest.approx(size, rel=0.01)
    with serving(tmp_path) as root:
        assert read(f"{root}/a.tif", "far") is None
