"""Attacks by small files of strangers: vector files, area files, tables, models, videos."""

from __future__ import annotations

import time
import zipfile
from pathlib import Path

import pytest

from geoloc.area import load_area
from geoloc.area.polygon import read_polygon
from geoloc.errors import AreaError
from tests.loopback import listening

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
            vrt = f'<OGRVRTDataSource><OGRVRTLayer name="a">{layer}</OGRVRTLayer></OGRVRTDataSource>'
            for name in ("a.vrt", "a.geojson", "a.kml", "a.shp"):
                (tmp_path / name).write_text("\ufeff \n" + vrt)
                assert "which may name other files or servers" in _refused(tmp_path / name)
            pipeline = f'{{"type": "gdal_streamed_alg", "command_line": "gdal vector read {source}"}}'
            (tmp_path / "b.json").write_text(pipeline)
            assert "pipeline of commands" in _refused(tmp_path / "b.json")
            with zipfile.ZipFile(tmp_path / "c.zip", "w") as archive:
                archive.writestr("a.kml", vrt)
            assert "may name other files" in _refused(tmp_path / "c.zip")
            with zipfile.ZipFile(tmp_path / "d.zip", "w") as archive:
                archive.writestr("a.vrt", vrt)
            assert "no part of a vector file" in _refused(tmp_path / "d.zip")
        wfs = f"<OGRWFSDataSource><URL>{server.root}</URL></OGRWFSDataSource>"
        (tmp_path / "e.xml").write_text(wfs)
        assert "may name other files or servers" in _refused(tmp_path / "e.xml")
        assert server.asked == []
    (tmp_path / "f.geojson").write_text("PG:dbname=inner")
    assert "is no GeoJSON" in _refused(tmp_path / "f.geojson")


def test_vector_files_with_shapes_are_read(tmp_path: Path) -> None:
    for name, text in (("a.geojson", SQUARE), ("a.kml", KML), ("b.kml", "\ufeff" + KML)):
        (tmp_path / name).write_text(text)
        assert 70e6 < read_polygon(tmp_path / name, CRS).area < 90e6


def test_yaml_that_unfolds_is_refused_at_once(tmp_path: Path) -> None:
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    for this, last in zip("bcdefghij", "abcdefghi", strict=True):
        lines.append(f"{this}: &{this} [{', '.join([f'*{last}'] * 9)}]")
    (tmp_path / "area.yaml").write_text("\n".join(lines))
    assert (tmp_path / "area.yaml").stat().st_size < 600
    start = time.process_time()
    with pytest.raises(AreaError, match="aliases .* are not read") as refused:
        load_area(tmp_path / "area.yaml")
    assert "\n" not in str(refused.value)
    assert time.process_time() - start < 5
