"""Raster files on S3 are reached as cubes are: environment, endpoint, profile."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.shutil import copy as copy_raster

from geoloc.area import GeotiffImagery, StacImagery
from geoloc.errors import CubeError
from geoloc.imagery import open_source

from .cubes import s3_bucket as s3_bucket
from .test_imagery_geotiff import WINDOW, noise, write
from .test_imagery_stac import catalog, item


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


def test_missing_files_on_s3_are_told(cog: str) -> None:
    data = open_source(GeotiffImagery(paths=[cog, cog + "x"])).read(WINDOW.pad(1))
    (error,) = data.attrs["errors"]
    assert "a.tifx" in error and "\n" not in error
