"""Rasters on a full disk: refused in one piece, never half of one under its name."""

from __future__ import annotations

import errno
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

from geoloc.files.gdal import gdal_writing, raster_bytes, write_cog
from tests.full_disk import file_limit

SHAPE = (300, 517)


def values() -> np.ndarray:
    return np.random.default_rng(1).random(SHAPE, np.float32)  # noise: nothing to compress


def write_plain(path: Path) -> None:
    profile = {
        "driver": "GTiff", "height": SHAPE[0], "width": SHAPE[1], "count": 1, "dtype": "float32",
        "crs": "EPSG:32636", "transform": Affine(10, 0, 300_000, 0, -10, 5_600_000),
        "tiled": True, "blockxsize": 256, "blockysize": 256,
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as target:
        target.write(values(), 1)
        target.build_overviews([2, 4], rasterio.enums.Resampling.average)


def test_what_a_raster_takes_is_never_underrated(tmp_path: Path) -> None:
    write_cog(tmp_path / "a.tif", raster_bytes(SHAPE, 4), write_plain, COMPRESS="DEFLATE")
    write_plain(tmp_path / "plain.tif")
    largest = max(path.stat().st_size for path in tmp_path.iterdir())
    assert largest <= raster_bytes(SHAPE, 4) <= 2 * largest
    with rasterio.open(tmp_path / "a.tif") as raster:
        np.testing.assert_array_equal(raster.read(1), values())
        assert raster.overviews(1) == [2, 4]


@pytest.mark.parametrize("share", [0.02, 0.4, 0.75, 0.9, 0.99])
def test_without_room_nothing_is_begun_and_nothing_is_left(
    tmp_path: Path, share: float, capfd: pytest.CaptureFixture[str]
) -> None:
    """Beyond the room GDAL crashed, or left overviews out and said nothing."""
    size = raster_bytes(SHAPE, 4)
    with file_limit(int(share * size)), pytest.raises(OSError, match="File too large"):
        write_cog(tmp_path / "a.tif", size, write_plain, COMPRESS="DEFLATE")
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_room_that_goes_while_it_is_written_is_noticed(tmp_path: Path) -> None:
    """Another process may fill the disk: here the size is underrated."""
    path = tmp_path / "a.tif"
    failed = pytest.raises(OSError, match=r"(?i)file too large|write|failed")
    with file_limit(500_000), failed, gdal_writing(path, 1000):
        write_plain(path)
    assert not path.exists()


def test_what_gdal_only_reports_is_a_failure_of_this_thread_alone(tmp_path: Path) -> None:
    from threading import Thread

    def report() -> None:
        logging.getLogger("rasterio._env").error("CPLE_FileIO: %s", "No space left on device")

    path = tmp_path / "a.tif"
    path.write_bytes(b"half")
    with pytest.raises(OSError, match="No space left"), gdal_writing(path, 10):
        report()
    assert not path.exists()
    with gdal_writing(path, 10):
        path.write_bytes(b"whole")
        other = Thread(target=report)
        other.start()
        other.join()
    assert path.read_bytes() == b"whole"


def test_a_file_system_that_reserves_nothing_is_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: int) -> None:
        raise OSError(errno.EOPNOTSUPP, "not here")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    write_cog(tmp_path / "a.tif", raster_bytes(SHAPE, 4), write_plain, COMPRESS="DEFLATE")
    with rasterio.open(tmp_path / "a.tif") as raster:
        assert raster.shape == SHAPE


def test_errors_of_others_stay_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), gdal_writing(tmp_path / "a.tif", 10):
        raise ZeroDivisionError


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system of its own")
def test_a_heatmap_on_a_full_disk_is_one_line(tmp_path: Path) -> None:
    """In a process of its own, which must neither crash nor hang."""
    code = (
        "import sys; from pathlib import Path; from geoloc.errors import GeolocError\n"
        "from geoloc.report import write_report; from tests.report_sample import GRID, sample\n"
        "import numpy as np; from geoloc.domain import Grid\n"
        "grid = Grid(GRID.crs, GRID.left, GRID.top, GRID.step, 700, 900)\n"
        "noise = np.random.default_rng(0).random(grid.shape, np.float32)\n"
        "try: write_report(sample(heatmap=noise, grid=grid), Path(sys.argv[1]) / 'out')\n"
        "except GeolocError as error: print(error)"
    )
    disk = tmp_path / "disk"
    disk.mkdir()
    script = 'mount -t tmpfs -o size=3m none "$1" && "$2" -c "$3" "$1" && find "$1" -type f'
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, "sh", str(disk), sys.executable, code],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    if "mount" in done.stderr or "unshare" in done.stderr:
        pytest.skip(done.stderr)
    said = f"cannot write to {disk}/out: No space left on device; choose another --out\n"
    assert (done.returncode, done.stdout, done.stderr) == (0, said, "")
