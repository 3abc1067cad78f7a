"""Attacks by small files of strangers: vector files, area files, tables, models, videos."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import time
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch

from geoloc.area import load_area
from geoloc.area.polygon import read_polygon
from geoloc.bulk.tables import _csv
from geoloc.cube import Cube
from geoloc.encoders.formats.exported import open_exported
from geoloc.encoders.formats.networks import build_network
from geoloc.errors import AreaError, CubeError, ModelError, PhotoError
from geoloc.models import fetch, transfer
from geoloc.models.model import write_model
from geoloc.video import read_frame
from tests.cubes import write_cube
from tests.encoder_models import spec
from tests.loopback import listening
from tests.model_server import serving
from tests.test_encoders_formats_exported import export, rewrite

SQUARE = (
    '{"type": "Polygon", "coordinates": [[[30.0, 50.4], [30.1, 50.4], [30.1, 50.5], [30.0, 50.5],'
    " [30.0, 50.4]]]}"
)
CRS = "EPSG:32636"
KML = (
    '<?xml version="1.0"?><kml xmlns="http://www.opengis.net/kml/2.2"><Placemark><Polygon>'
    "<outerBoundaryIs><LinearRing><coordinates>30,50.4 30.1,50.4 30.1,50.5 30,50.5 30,50.4"
    "</coordinates></LinearRing></outerBoundaryIs></Polygon></Placemark></kml>"
)


def _refused(path: Path) -> str:
    with pytest.raises(AreaError) as refused:
        read_polygon(path, CRS)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_vector_files_that_name_others_are_not_opened(tmp_path: Path) -> None:
    (tmp_path / "secret.geojson").write_text(SQUARE)
    with listening(**{"a.geojson": SQUARE.encode()}) as server:
        for source in (f"/vsicurl/{server.root}/a.geojson", tmp_path / "secret.geojson"):
            layer = f"<SrcDataSource>{source}</SrcDataSource><SrcLayer>a</SrcLayer>"
            vrt = (
                f'<OGRVRTDataSource><OGRVRTLayer name="a">{layer}</OGRVRTLayer></OGRVRTDataSource>'
            )
            for name in ("a.vrt", "a.geojson", "a.kml", "a.shp"):
                (tmp_path / name).write_text("\ufeff \n" + vrt)
                assert "which may name other files or servers" in _refused(tmp_path / name)
            pipeline = (
                f'{{"type": "gdal_streamed_alg", "command_line": "gdal vector read {source}"}}'
            )
            (tmp_path / "b.json").write_text(pipeline)
            assert "pipeline of commands" in _refused(tmp_path / "b.json")
            with zipfile.ZipFile(tmp_path / "c.zip", "w") as archive:
                archive.writestr("a.kml", vrt)
            assert "may name other files" in _refused(tmp_path / "c.zip")
            with zipfile.ZipFile(tmp_path / "d.zip", "w") as archive:
                archive.writestr("a.vrt", vrt)
            assert "is not part of a vector file" in _refused(tmp_path / "d.zip")
        wfs = f"<OGRWFSDataSource><URL>{server.root}</URL></OGRWFSDataSource>"
        (tmp_path / "e.xml").write_text(wfs)
        assert "may name other files or servers" in _refused(tmp_path / "e.xml")
        assert server.asked == []
    (tmp_path / "f.geojson").write_text("PG:dbname=inner")
    assert "is not GeoJSON" in _refused(tmp_path / "f.geojson")


def test_a_crs_that_is_an_address_is_not_fetched(tmp_path: Path) -> None:
    """Shown: GDAL asks a server for the CRS that a GeoJSON names, whoever's server that is."""
    with listening() as server:
        href = f'{server.root}/crs", "type": "proj4'
        for kind, name, value in (("link", "href", href), ("name", "name", f"{server.root}/crs")):
            crs = f'{{"type": "{kind}", "properties": {{"{name}": "{value}"}}}}'
            (tmp_path / "a.geojson").write_text(SQUARE[:-1] + f', "crs": {crs}}}')
            with contextlib.suppress(AreaError):
                read_polygon(tmp_path / "a.geojson", CRS)
            features = f'"features": [{{"type": "Feature", "geometry": {SQUARE}}}]'
            whole = f'{{"type": "FeatureCollection", "crs": {crs}, {features}}}'
            (tmp_path / "b.geojson").write_text(whole)
            with contextlib.suppress(AreaError):
                read_polygon(tmp_path / "b.geojson", CRS)
        assert server.asked == []


def test_vector_files_with_shapes_are_read(tmp_path: Path) -> None:
    for name, text in (("a.geojson", SQUARE), ("a.kml", KML), ("b.kml", "\ufeff" + KML)):
        (tmp_path / name).write_text(text)
        assert 70e6 < read_polygon(tmp_path / name, CRS).area < 90e6


def test_an_archive_of_shapes_that_swells_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.geojson", SQUARE + " " * 300_000_000)
    assert "unpacks to 300," in _refused(tmp_path / "a.zip")


def test_yaml_that_unfolds_is_refused_at_once(tmp_path: Path) -> None:
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    for this, last in zip("bcdefghij", "abcdefghi", strict=True):
        lines.append(f"{this}: &{this} [{', '.join([f'*{last}'] * 9)}]")
    lines.append("name: *j")  # what a message quotes
    (tmp_path / "area.yaml").write_text("\n".join(lines))
    assert (tmp_path / "area.yaml").stat().st_size < 700
    start = time.process_time()
    with pytest.raises(AreaError, match="are refused: write the value itself") as refused:
        load_area(tmp_path / "area.yaml")
    assert "\n" not in str(refused.value)
    assert time.process_time() - start < 5


def _weights_config(files: dict[str, bytes]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(files["data/weights/model_weights_config.json"])
    return found


def _with_tensor(sizes: list[int], strides: list[int], offset: int = 0) -> Any:
    def change(files: dict[str, bytes]) -> None:
        config = _weights_config(files)
        meta = next(iter(config["config"].values()))["tensor_meta"]
        meta["sizes"] = [{"as_int": n} for n in sizes]
        meta["strides"] = [{"as_int": n} for n in strides]
        meta["storage_offset"] = {"as_int": offset}
        files["data/weights/model_weights_config.json"] = json.dumps(config).encode()

    return change


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(tmp_path_factory.mktemp("pt2") / "n.pt2", build_network("shufflenet_v2_x0_5", 5))


@pytest.mark.parametrize(
    ("sizes", "strides", "offset"),
    [
        ([1 << 30], [0], 0),  # one number 1,073,741,824 times: 4.3 GB
        ([40_000, 40_000], [0, 0], 0),
        ([24, 3, 3, 3], [1 << 40, 9, 3, 1], 0),
        ([24, 3, 3, 3], [27, 9, 3, 1], 1 << 50),
        ([24, 3, 3, 3], [-27, 9, 3, 1], 0),
        ([24, 3, 3], [27, 9, 3, 1], 0),
        ([-24, 3, 3, 3], [27, 9, 3, 1], 0),
        ([1 << 80, 3], [27, 1], 0),
    ],
)
def test_tensors_that_swell_or_reach_outside_are_one_line(
    network: Path, tmp_path: Path, sizes: list[int], strides: list[int], offset: int
) -> None:
    bad = rewrite(network, tmp_path / "n.pt2", _with_tensor(sizes, strides, offset))
    with pytest.raises(ModelError) as refused:
        open_exported(bad, torch.device("cpu"))
    assert "\n" not in str(refused.value) and str(bad) in str(refused.value)


def test_an_archive_that_swells_is_refused_before_it_is_unpacked(
    network: Path, tmp_path: Path
) -> None:
    bad = rewrite(network, tmp_path / "n.pt2", lambda files: files.pop("data/none", None))
    with zipfile.ZipFile(bad, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("n/data/weights/more", bytes(200_000_000))
    assert bad.stat().st_size < 5_000_000
    tracemalloc.start()
    try:
        with pytest.raises(ModelError, match="unpacks to"):
            open_exported(bad, torch.device("cpu"))
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


def test_a_model_without_end_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEOLOC_MODELS", str(tmp_path / "store"))
    monkeypatch.setattr(transfer, "MOST_BYTES", 3_000_000)
    files: dict[str, Path | bytes] = {
        "ground.safetensors": bytes(2_000_000), "overhead.safetensors": bytes(2_000_000)
    }  # fmt: skip
    write_model(tmp_path / "www" / "mine", spec(), files)
    with (
        serving(tmp_path / "www") as server,
        pytest.raises(ModelError, match="more than 2 MiB, the limit of a model"),
    ):
        fetch.fetch_model(server.url("mine"))
    left = sum(path.stat().st_size for path in (tmp_path / "store").rglob("*") if path.is_file())
    assert left <= 3_000_000


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv", "a.ffconcat"])
def test_a_list_of_other_files_is_no_video(name: str, tmp_path: Path) -> None:
    """Shown: a text in a chat's folder that opens the file beside it."""
    with av.open(str(tmp_path / "secret.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width, stream.height = 64, 48
        for value in range(10):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), value * 20, np.uint8))
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    assert read_frame(tmp_path / "secret.mp4", 0.4).pixels.shape == (48, 64, 3)
    lists = {
        "concat": "ffconcat version 1.0\nfile secret.mp4\n",
        "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:2.0,\nsecret.mp4\n#EXT-X-ENDLIST\n",
        "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
        "m=video 9 RTP/AVP 96\n",
    }
    for text in lists.values():
        (tmp_path / name).write_text(text)
        with pytest.raises(PhotoError, match="is not a video"):
            read_frame(tmp_path / name, 0.4)


def test_failures_of_a_folder_are_no_formulas() -> None:
    for sign in "=+-@":
        name = f"{sign}cmd|' /C calc'!A0.jpg"
        rows = list(csv.reader(io.StringIO(_csv({name: f"{name} is damaged"}).decode())))
        assert rows == [["file", "reason"], [f"'{name}", f"'{name} is damaged"]]


def test_a_cube_larger_than_the_earth_is_one_line(tmp_path: Path) -> None:
    write_cube(tmp_path / "cube.zarr", np.ones((4, 5, 3), np.float32))
    meta = tmp_path / "cube.zarr" / "g0001" / "zarr.json"
    text = json.loads(meta.read_text())
    told = text["attributes"]["spec"]
    claimed = json.loads(told) if isinstance(told, str) else told
    claimed["domain"] |= {"ny": 400_000, "nx": 400_000}
    text["attributes"]["spec"] = json.dumps(claimed) if isinstance(told, str) else claimed
    meta.write_text(json.dumps(text))
    with pytest.raises(CubeError) as refused:
        Cube.open(tmp_path / "cube.zarr")
    assert "\n" not in str(refused.value)


def test_a_zarr_v2_group_is_no_cube(tmp_path: Path) -> None:
    """Its metadata could name codecs of numcodecs, pickle among them."""
    write_cube(tmp_path / "cube.zarr", np.ones((4, 5, 3), np.float32))
    for generation in (tmp_path / "cube.zarr").glob("g*"):
        attributes = json.loads((generation / "zarr.json").read_text())["attributes"]
        (generation / "zarr.json").unlink()
        (generation / ".zgroup").write_text('{"zarr_format": 2}')
        (generation / ".zattrs").write_text(json.dumps(attributes))
    with pytest.raises(CubeError) as refused:
        Cube.open(tmp_path / "cube.zarr")
    assert "\n" not in str(refused.value)
