"""Attacks by the attributes of a stranger's cube: keys sent, servers asked, files shown."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from geoloc.area import GeotiffImagery, XyzImagery
from geoloc.cube import Cube
from geoloc.errors import CubeError, GeolocError, ImageryError, ModelError, UnavailableError
from geoloc.imagery.cached.source import open_tiled
from geoloc.imagery.geotiff import GeotiffSource
from geoloc.imagery.keys import fill_keys
from geoloc.query import open_target, repair_cube_at, search_scene, verify_cube_at
from geoloc.query.remembered import require_open, withheld
from geoloc.query.target import cube_model
from tests.cubes import write_cube
from tests.loopback import Listener, listening, pages_of

SECRET = "wJalrXUtnFEMI-not-for-strangers"
FEATURES = np.random.default_rng(4).normal(0, 2, (20, 30, 5)).astype(np.float32)
CLASSES = ("abbey", "airfield", "alley", "beach", "bridge")


@pytest.fixture
def stranger() -> Iterator[Listener]:
    with listening() as server:
        yield server


@pytest.fixture(autouse=True)
def _secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("TILE_KEY", SECRET)
    monkeypatch.delenv("GEOLOC_IMAGERY_KEYS", raising=False)
    monkeypatch.delenv("GEOLOC_PRIVATE_HOSTS")


def _kinds(root: str, name: str) -> dict[str, dict[str, Any]]:
    """Each kind of imagery, with a variable in its URL."""
    key = f"?k=${{{name}}}" if name else ""
    return {
        "geotiff": {"kind": "geotiff", "paths": [f"{root}/a.tif{key}"]},
        "stac": {"kind": "stac", "url": f"{root}/catalog.json{key}"},
        "xyz": {"kind": "xyz", "url": f"{root}/{{z}}/{{x}}/{{y}}.png{key}"},
        "zarr": {"kind": "zarr", "path": f"{root}/${{{name}}}/copy.zarr" if name else f"{root}/a"},
    }


def _cube(folder: Path, imagery: dict[str, Any], **more: Any) -> Path:
    write_cube(folder / "cube.zarr", FEATURES, classes=CLASSES, imagery=imagery, **more)
    return folder / "cube.zarr"


def write_tiff(path: Path) -> Path:
    """A georeferenced picture of grey, where the cube lies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    place = {"crs": "EPSG:32636", "transform": from_origin(300_000, 5_600_000, 10, 10)}
    profile = {"driver": "GTiff", "width": 30, "height": 20, "count": 3, "dtype": "uint8"}
    with rasterio.open(path, "w", **profile, **place) as data:
        data.write(np.full((3, 20, 30), 77, np.uint8))
    return path


KINDS = ("geotiff", "stac", "xyz", "zarr")


@pytest.mark.parametrize(
    ("kind", "name"),
    [*((kind, "AWS_SECRET_ACCESS_KEY") for kind in KINDS), ("geotiff", "TILE_KEY"), ("xyz", "")],
)
def test_a_query_asks_nobody_that_a_cube_names(
    kind: str, name: str, stranger: Listener, tmp_path: Path
) -> None:
    cube = _cube(tmp_path, _kinds(stranger.root, name)[kind])
    result = search_scene(cube, "beach", tmp_path / "out")
    assert stranger.asked == []
    page = (tmp_path / "out" / "beach" / "report.html").read_text()
    for told in (" ".join(result.notes), page):
        assert "no base map" in told and "--fetch-imagery" in told
        assert SECRET not in told


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["AWS_SECRET_ACCESS_KEY", "TILE_KEY"])
def test_fetching_does_not_fill_in_variables(
    kind: str, name: str, stranger: Listener, tmp_path: Path
) -> None:
    target = open_target(_cube(tmp_path, _kinds(stranger.root, name)[kind]), fetch_imagery=True)
    assert target.source is None and stranger.asked == []
    assert f"127.0.0.1:{stranger.port}:{name}" in " ".join(target.notes)


@pytest.mark.parametrize("kind", KINDS)
def test_fetching_does_not_reach_into_the_house(
    kind: str, stranger: Listener, tmp_path: Path
) -> None:
    target = open_target(_cube(tmp_path, _kinds(stranger.root, "")[kind]), fetch_imagery=True)
    assert target.source is None and "private host" in target.withheld
    assert stranger.asked == []


@pytest.mark.parametrize(
    "path",
    ["/vsizip//vsicurl/{root}/a.zip/a.tif", "zip+{root}/a.zip!a.tif", "/vsicurl?url={root}/a.tif",
     "/vsicurl/{root}/a.tif", "/vsitar/vsicurl/{root}/a.tar", "GTIFF_DIR:1:/vsicurl/{root}/a.tif",
     "/vsis3/bucket/a.tif", "/vsicurl_streaming/{root}/a.tif", "/vsisubfile/0_9,/vsicurl/{root}/a",
     "ftp://127.0.0.1:{port}/a.tif", "WMS:{root}/a", "<VRTDataset/>"],
)  # fmt: skip
def test_fetching_takes_no_roundabout_way(path: str, stranger: Listener, tmp_path: Path) -> None:
    """Shown: GDAL's other paths, whose host nobody looked at."""
    told = path.format(root=stranger.root, port=stranger.port)
    target = open_target(_cube(tmp_path, {"kind": "geotiff", "paths": [told]}), fetch_imagery=True)
    assert target.source is None and target.withheld
    search_scene(target.cube.url, "beach", tmp_path / "out", fetch_imagery=True)
    assert stranger.asked == []


@pytest.mark.parametrize(
    "path",
    ["simplecache::{root}/a.zarr", "filecache::{root}/a", "reference://?fo={root}/a.json",
     "zip::{root}/a.zip", "file::{root}/a", "memory://a", "sftp://127.0.0.1/a", "github://a/b",
     "smb://127.0.0.1/a", "hf://a", "dask::{root}/a", "blockcache::s3://a/b", "local://etc"],
)  # fmt: skip
def test_fetching_takes_no_protocol_of_a_library(
    path: str, stranger: Listener, tmp_path: Path
) -> None:
    told = path.format(root=stranger.root)
    cube = _cube(tmp_path, {"kind": "zarr", "path": told})
    target = open_target(cube, fetch_imagery=True)
    assert target.source is None and "\n" not in target.withheld and target.withheld
    for check in (verify_cube_at, repair_cube_at):
        with pytest.raises(GeolocError) as refused:
            check(cube, fetch_imagery=True)
        assert "\n" not in str(refused.value)
    assert stranger.asked == []


def test_what_the_user_allows_is_filled_in_and_fetched(
    stranger: Listener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEOLOC_IMAGERY_KEYS", "other.example:A, 127.0.0.1:TILE_KEY")
    monkeypatch.setenv("GEOLOC_PRIVATE_HOSTS", "127.0.0.1")
    cube = _cube(tmp_path, _kinds(stranger.root, "TILE_KEY")["geotiff"])
    search_scene(cube, "beach", tmp_path / "out", fetch_imagery=True)
    assert stranger.asked and all(SECRET in path for path in stranger.asked)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("check", [verify_cube_at, repair_cube_at])
def test_verify_and_repair_ask_nobody_that_a_cube_names(
    kind: str, check: Any, stranger: Listener, tmp_path: Path
) -> None:
    cube = _cube(tmp_path, _kinds(stranger.root, "TILE_KEY")[kind])
    with pytest.raises(CubeError, match="--fetch-imagery"):
        check(cube)
    with pytest.raises(GeolocError, match="GEOLOC_IMAGERY_KEYS"):
        check(cube, fetch_imagery=True)
    assert stranger.asked == []


def test_files_elsewhere_on_this_disk_are_not_shown(tmp_path: Path) -> None:
    secret = write_tiff(tmp_path / "home" / "secret.tif")
    cube = _cube(tmp_path / "came", {"kind": "geotiff", "paths": [str(secret)]})
    target = open_target(cube)
    assert target.source is None and "secret.tif" in target.withheld
    (tmp_path / "came" / "link.tif").symlink_to(secret)
    for path in (tmp_path / "came" / "link.tif", tmp_path / "came" / ".." / "home" / "*.tif"):
        other = _cube(tmp_path / "came", {"kind": "geotiff", "paths": [str(path)]})
        assert open_target(other).source is None


def test_files_beside_the_cube_are_shown(tmp_path: Path) -> None:
    beside = write_tiff(tmp_path / "images" / "tile.tif")
    cube = _cube(tmp_path, {"kind": "geotiff", "paths": [str(beside.parent / "*.tif")]})
    target = open_target(cube)
    assert target.withheld == "" and isinstance(target.source, GeotiffSource)


def test_a_home_folder_is_nothing_that_a_cube_came_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    beside = write_tiff(tmp_path / "images" / "tile.tif")
    cube = _cube(tmp_path, {"kind": "geotiff", "paths": [str(beside)]})
    assert open_target(cube).source is None


@pytest.mark.parametrize("key", ["cache", "tile_cache"])
def test_a_cube_does_not_choose_where_tiles_are_kept(
    stranger: Listener, tmp_path: Path, key: str
) -> None:
    told = _kinds(stranger.root, "")["xyz"] | {key: str(tmp_path / "victim"), f"{key}_mb": 0}
    area = open_target(_cube(tmp_path, told)).named_area
    assert isinstance(area.imagery, XyzImagery)
    assert area.imagery.tile_cache is None and area.imagery.tile_cache_mb > 0


def test_a_model_is_not_fetched_because_a_cube_names_it(
    stranger: Listener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEOLOC_MODELS", str(tmp_path / "models"))
    for name in (f"{stranger.root}/model", str(tmp_path), "../elsewhere"):
        cube = _cube(tmp_path, {}, model_name=name)
        with pytest.raises(ModelError, match="not installed"):
            cube_model(open_target(cube))
    assert stranger.asked == []


@pytest.mark.parametrize(
    "name", ["AWS_SECRET_ACCESS_KEY", "aws_session_token", "GITHUB_TOKEN", "PREFECT_API_KEY",
             "PGPASSWORD", "HF_TOKEN", "HOME", "DATABASE_URL", "SSH_AUTH_SOCK"],
)  # fmt: skip
def test_an_area_file_does_not_send_what_belongs_to_others(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, SECRET)
    url = f"https://tiles.example:8443/a.tif?k=${{{name}}}"
    with pytest.raises(ImageryError, match=f"add tiles.example:8443:{name} to GEOLOC_IMAGERY"):
        fill_keys(url)
    monkeypatch.setenv("GEOLOC_IMAGERY_KEYS", f"*.example:{name}")
    assert fill_keys(url).endswith(SECRET)


@pytest.mark.parametrize("name", ["TILE_KEY", "MAPBOX_TOKEN", "CITY_KEY", "USER", "PLANET_KEY"])
def test_other_variables_of_area_files_are_filled_in_as_before(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "value")
    assert fill_keys(f"https://tiles.example/?k=${{{name}}}") == "https://tiles.example/?k=value"


def test_rules_that_are_set_are_all_that_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEOLOC_IMAGERY_KEYS", "tiles.example:TILE_KEY")
    assert fill_keys("https://u:p@tiles.example/?k=${TILE_KEY}").endswith(SECRET)
    for url in (
        "https://other.example/?k=${TILE_KEY}",
        "https://tiles.example.evil.example/?k=${TILE_KEY}",
        "https://tiles.example@evil.example/?k=${TILE_KEY}",
        "https://${TILE_KEY}.evil.example/",
    ):
        with pytest.raises(ImageryError, match="not sent to"):
            fill_keys(url)
    monkeypatch.setenv("GEOLOC_IMAGERY_KEYS", "nonsense")
    with pytest.raises(ImageryError, match="write host:NAME"):
        fill_keys("https://tiles.example/?k=${TILE_KEY}")


def test_plain_files_of_this_disk_serve_to_compute_cells_anew(tmp_path: Path) -> None:
    """To verify or repair a cube that was copied shows nothing of them; nothing else is opened."""
    (tmp_path / "far").mkdir()
    for name in ("a.tif", "b.vrt"):
        (tmp_path / "far" / name).write_text("<VRTDataset/>" if name == "b.vrt" else "")
    cube = str(tmp_path / "near" / "cube.zarr")
    files = GeotiffImagery(paths=[f"{tmp_path}/far/a.tif"])
    require_open(files, cube, fetch=False)
    assert "name its area file" in withheld(files, cube)  # on a page they would be shown
    for path in ("far/b.vrt", "far/${HOME}.tif"):
        with pytest.raises(CubeError, match="name its area file"):
            require_open(GeotiffImagery(paths=[f"{tmp_path}/{path}"]), cube, fetch=False)
    with pytest.raises(CubeError, match="name its area file"):
        require_open(GeotiffImagery(paths=["https://example.org/a.tif"]), cube, fetch=False)


@pytest.fixture
def shared(stranger: Listener, tmp_path: Path) -> Iterator[Listener]:
    """A server of a cube, which the one inside of the house has as well."""
    stranger.pages = pages_of(_cube(tmp_path, {}), "/cube.zarr")
    with listening() as server:
        server.pages = dict(stranger.pages)
        yield server


FIRST = ("CURRENT", "g0001/zarr.json", "g0001/feature/c/0")
LATER = ("g0001/features/c/0/0/0", "g0001/provenance/record/c/0/0")


def _read_all(url: str) -> Any:
    return Cube.open(url).read(slice(0, 20), slice(0, 30))


@pytest.mark.parametrize("key", [*FIRST, *LATER])
def test_a_cube_s_server_does_not_lead_into_the_house(
    key: str, shared: Listener, stranger: Listener, tmp_path: Path
) -> None:
    """Shown: what an inner server answers was taken for a part of the cube."""
    url = f"{shared.root}/cube.zarr"
    shared.moved[f"/cube.zarr/{key}"] = f"{stranger.root}/cube.zarr/{key}"
    with pytest.raises(CubeError, match=r"redirects to.*127\.0\.0\.1 is a private host") as refused:
        search_scene(url, "beach", tmp_path / "out")
    assert stranger.asked == [] and "\n" not in str(refused.value)


@pytest.mark.parametrize("to", ["/cube.zarr/{key}", "/elsewhere"])
def test_nor_does_it_once_the_cube_is_open(to: str, shared: Listener, stranger: Listener) -> None:
    cube, key = Cube.open(f"{shared.root}/cube.zarr"), LATER[0]
    want = cube.read(slice(0, 20), slice(0, 30))
    shared.moved[f"/cube.zarr/{key}"] = stranger.root + to.format(key=key)
    for _ in range(2):
        with pytest.raises(CubeError, match="is a private host") as refused:
            _read_all(cube.url)
        assert "\n" not in str(refused.value)
    assert stranger.asked == []
    shared.moved.clear()
    np.testing.assert_array_equal(_read_all(cube.url), want)  # one refusal spoils nothing


def test_nor_by_tls(shared: Listener) -> None:
    with socket.create_server(("127.0.0.1", 0)) as inner:
        to = f"https://127.0.0.1:{inner.getsockname()[1]}/"
        shared.moved["/cube.zarr/CURRENT"] = to
        with pytest.raises(CubeError, match="is a private host") as refused:
            Cube.open(f"{shared.root}/cube.zarr")
        inner.setblocking(False)
        with pytest.raises(BlockingIOError):  # nobody has knocked
            inner.accept()
    assert "\n" not in str(refused.value) and not isinstance(refused.value, UnavailableError)


def test_nor_by_several_steps_or_another_spelling(shared: Listener, stranger: Listener) -> None:
    at = f"{stranger.port}/cube.zarr/CURRENT"
    for host in ("localhost", "[::1]", "0.0.0.0", "2130706433", "127.1", "[::ffff:127.0.0.1]"):
        shared.moved["/cube.zarr/CURRENT"] = "/step"
        shared.moved["/step"] = f"http://{host}:{at}"
        with pytest.raises(CubeError, match="is a private host"):
            Cube.open(f"{shared.root}/cube.zarr")
    assert stranger.asked == []


def test_an_honest_redirect_of_a_cube_is_followed(
    shared: Listener, stranger: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    want = _read_all(f"{shared.root}/cube.zarr")
    for key in LATER:
        shared.moved[f"/cube.zarr/{key}"] = f"{stranger.root}/cube.zarr/{key}"
    shared.moved["/cube.zarr/CURRENT"] = "/current"
    shared.pages["/current"] = shared.pages["/cube.zarr/CURRENT"]
    monkeypatch.setenv("GEOLOC_PRIVATE_HOSTS", f"127.0.0.1:{stranger.port}")
    np.testing.assert_array_equal(_read_all(f"{shared.root}/cube.zarr"), want)
    assert f"/cube.zarr/{LATER[0]}" in stranger.asked


def test_a_copy_s_server_does_not_lead_into_the_house(shared: Listener, stranger: Listener) -> None:
    shared.moved["/copy.zarr/zarr.json"] = f"{stranger.root}/cube.zarr/g0001/zarr.json"
    with pytest.raises(ImageryError, match="is a private host") as refused:
        open_tiled(f"{shared.root}/copy.zarr")
    assert stranger.asked == [] and "\n" not in str(refused.value)
