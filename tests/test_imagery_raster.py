"""Raster files on S3 are reached as cubes are: environment, endpoint, profile."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.session import Session
from rasterio.shutil import copy as copy_raster
from rasterio.transform import from_origin

from geoloc.area import GeotiffImagery, StacImagery
from geoloc.errors import CubeError, ImageryError
from geoloc.imagery import open_source, raster
from geoloc.imagery.source import notes_of

from .cubes import s3_bucket as s3_bucket
from .test_imagery_geotiff import WINDOW, noise, write
from .test_imagery_stac import catalog, item
from .test_imagery_version import Habits, changed
from .test_imagery_version import server as server


@pytest.fixture
def cog(s3_bucket: str, tmp_path: Path) -> str:
    """A COG of ``noise(1)`` on S3, under a name that no other test's server has had."""
    key = f"{tmp_path.parent.name}-{tmp_path.name}/a.tif"
    put(tmp_path, key, 1)
    return f"{s3_bucket}/{key}"


def put(folder: Path, key: str, seed: int) -> None:
    """Write a COG of ``noise(seed)`` to the bucket."""
    import boto3

    copy_raster(write(folder / "whole.tif", noise(seed)), folder / "a.tif", driver="COG")
    body = (folder / "a.tif").read_bytes()
    boto3.client("s3").put_object(Bucket="cubes", Key=key, Body=body, ACL="public-read")


@pytest.mark.parametrize("scheme", ["s3://", "/vsis3/"])
def test_files_on_s3_are_read(cog: str, scheme: str) -> None:
    href = cog.replace("s3://", scheme)
    source = open_source(GeotiffImagery(paths=[href]))
    data = source.read(WINDOW)
    np.testing.assert_array_equal(data.values, noise(1))
    (seen,) = data.attrs["items"]
    assert seen.href == href and seen.version.startswith('"')


def test_what_this_process_has_read_of_a_changed_file_is_forgotten(
    cog: str, tmp_path: Path
) -> None:
    stac = StacImagery(url=catalog(tmp_path / "stac", item("a", cog)))
    for spec in (GeotiffImagery(paths=[cog]), stac):
        for seed in (1, 2, 3, 1):
            put(tmp_path, cog.removeprefix("s3://cubes/"), seed)
            np.testing.assert_array_equal(open_source(spec).read(WINDOW).values, noise(seed))


@pytest.mark.parametrize("kind", ["stac", "geotiff"])
def test_what_a_look_at_a_header_left_is_not_read_as_another_version(
    tmp_path: Path, server: Habits, kind: str
) -> None:
    """Small files are kept whole by GDAL as soon as they are opened."""
    path, url = write(tmp_path / "a.tif", noise(1)), f"{server.root}/a.tif"
    stac = StacImagery(url=catalog(tmp_path / "stac", item("a", url)))
    spec = stac if kind == "stac" else GeotiffImagery(paths=[url])
    assert open_source(spec).gsd == pytest.approx(1, rel=1e-2)
    changed(path)
    data = open_source(spec).read(WINDOW)
    np.testing.assert_array_equal(data.values, 255 - noise(1))
    assert data.attrs["items"][0].version == '"1000000000"'


def test_a_changed_header_is_seen_by_those_who_read_the_old_one(
    tmp_path: Path, server: Habits
) -> None:
    pixels = noise(1)
    pixels[:, :, :25] = 7
    path = write(tmp_path / "a.tif", pixels)
    spec = StacImagery(url=catalog(tmp_path / "stac", item("a", f"{server.root}/a.tif")))
    assert open_source(spec).read(WINDOW).valid.values.all()
    write(path, pixels, nodata=7)
    os.utime(path, (1, 1))
    assert not open_source(spec).read(WINDOW).valid.values[:, :25].any()


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[str]:
    """A server of ``tmp_path`` elsewhere: GDAL holds Python up as it opens parts."""
    code = (
        "import sys, functools\n"
        "from tests.loopback import serving_on_loopback\n"
        "from tests.test_imagery_version import Habits, _Server\n"
        "handler = functools.partial(_Server, directory=sys.argv[1], habits=Habits())\n"
        "with serving_on_loopback(handler) as port:\n"
        "    print(port, flush=True)\n"
        "    sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    root = Path(__file__).parents[1]
    with subprocess.Popen(command, cwd=root, text=True, **pipes) as process:  # type: ignore[call-overload]
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        process.terminate()


def test_remote_parts_of_a_mosaic_on_disk_are_read_anew(tmp_path: Path, elsewhere: str) -> None:
    path, spec = (
        write(tmp_path / "a.tif", noise(1)),
        GeotiffImagery(paths=[str(tmp_path / "m.vrt")]),
    )
    bands = "".join(
        f'<VRTRasterBand dataType="Byte" band="{band}"><SimpleSource>'
        f'<SourceFilename relativeToVRT="0">/vsicurl/{elsewhere}/a.tif</SourceFilename>'
        f"<SourceBand>{band}</SourceBand></SimpleSource></VRTRasterBand>"
        for band in (1, 2, 3)
    )
    (tmp_path / "m.vrt").write_text(
        f'<VRTDataset rasterXSize="{WINDOW.nx}" rasterYSize="{WINDOW.ny}"><SRS>{WINDOW.crs}</SRS>'
        f"<GeoTransform>{WINDOW.left},1,0,{WINDOW.top},0,-1</GeoTransform>{bands}</VRTDataset>"
    )
    np.testing.assert_array_equal(open_source(spec).read(WINDOW).values, noise(1))
    changed(path)
    np.testing.assert_array_equal(open_source(spec).read(WINDOW).values, 255 - noise(1))


def test_signatures_are_not_remembered(tmp_path: Path, server: Habits) -> None:
    """A worker of weeks sees a new one each hour."""
    write(tmp_path / "a.tif", noise(1))
    for token in ("tok1", "tok2"):
        url = catalog(tmp_path / "stac", item("a", f"{server.root}/a.tif?sig={token}"))
        open_source(StacImagery(url=url)).read(WINDOW)
    there = [name for name in raster._last_read if name.startswith(server.root)]
    assert there == [f"{server.root}/a.tif"]


def test_a_file_of_several_images_says_so(tmp_path: Path) -> None:
    """Of a TIFF the first page is read; a GeoPackage of several tables has none itself."""
    options = {"width": 50, "height": 40, "count": 3, "dtype": "uint8", "crs": WINDOW.crs}
    for name, driver in (("a.tif", "GTiff"), ("a.gpkg", "GPKG")):
        for number, more in enumerate(({}, {"APPEND_SUBDATASET": "YES"})):
            table = {"RASTER_TABLE": f"t{number}"} if driver == "GPKG" else {}
            transform = from_origin(WINDOW.left + 50 * number, WINDOW.top, 1, 1)
            with rasterio.open(tmp_path / name, "w", driver=driver, transform=transform, **options,
                               **table, **more) as file:  # fmt: skip
                file.write(noise(number))
    pages = open_source(GeotiffImagery(paths=[str(tmp_path / "a.tif")]))
    np.testing.assert_array_equal(pages.read(WINDOW).values, noise(0))
    assert any("holds 2 images, of which the first is read" in note for note in notes_of(pages))
    tables = open_source(GeotiffImagery(paths=[str(tmp_path / "a.gpkg")]))
    with pytest.raises(ImageryError, match=r"a.gpkg holds 2 images \(t0, t1\): save each"):
        tables.read(WINDOW)


def test_a_catalogs_files_on_s3_are_read(cog: str, tmp_path: Path) -> None:
    source = open_source(StacImagery(url=catalog(tmp_path / "stac", item("a", cog))))
    data = source.read(WINDOW)
    np.testing.assert_array_equal(data.values, noise(1))
    assert data.attrs["items"][0].version.startswith('"')


@pytest.mark.parametrize("token", [None, "of-other-keys"])
def test_a_profile_says_where_s3_is(
    cog: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, token: str | None
) -> None:
    endpoint = os.environ["AWS_ENDPOINT_URL"]
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    (tmp_path / "credentials").write_text(
        "[desk]\naws_access_key_id = testing\naws_secret_access_key = testing\n"
    )
    (tmp_path / "config").write_text(
        f"[profile desk]\nregion = eu-north-1\nendpoint_url = {endpoint}/\n"
    )
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_PROFILE", "desk")
    if token:
        monkeypatch.setenv("AWS_SESSION_TOKEN", token)
    data = open_source(GeotiffImagery(paths=[cog])).read(WINDOW)
    np.testing.assert_array_equal(data.values, noise(1))
    with rasterio.Env():
        assert rasterio.env.getenv().get("AWS_ACCESS_KEY_ID") is None  # not left behind
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(CubeError, match="AWS_PROFILE nobody is in neither"):
        open_source(GeotiffImagery(paths=[cog])).read(WINDOW)


def test_public_files_need_no_keys(cog: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_NO_SIGN_REQUEST", "YES")
    data = open_source(GeotiffImagery(paths=[cog])).read(WINDOW)
    np.testing.assert_array_equal(data.values, noise(1))


def test_files_on_disk_ask_for_no_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """rasterio would look for those of the environment, 20 ms at each read."""
    path = write(tmp_path / "a.tif", noise(1))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setattr(Session, "from_environ", lambda: pytest.fail("keys are looked for"))
    source = open_source(GeotiffImagery(paths=[str(path)]))
    np.testing.assert_array_equal(source.read(WINDOW).values, noise(1))


def test_missing_files_on_s3_are_told(cog: str) -> None:
    data = open_source(GeotiffImagery(paths=[cog, cog + "x"])).read(WINDOW.pad(1))
    (error,) = data.attrs["errors"]
    assert "a.tifx" in error and "\n" not in error
