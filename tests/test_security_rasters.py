"""Attacks by rasters and catalogs: files of this disk as pixels, descriptions of map servers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from geoloc.area import GeotiffImagery, StacImagery
from geoloc.domain import Grid
from geoloc.errors import ImageryError
from geoloc.imagery.geotiff import GeotiffSource
from geoloc.imagery.stac import StacSource
from tests.loopback import Listener, listening

CRS, LEFT, TOP = "EPSG:32636", 300_000.0, 5_600_000.0
WINDOW = Grid(CRS, LEFT, TOP, 10.0, 20, 30)
COARSE = Grid(CRS, LEFT, TOP, 40.0, 5, 7)
HIDDEN = 201
"""The value of the pixels that no attack may see."""


def picture(path: Path, value: int = 77, **more: Any) -> Path:
    """A georeferenced picture of one grey."""
    path.parent.mkdir(parents=True, exist_ok=True)
    place = {"crs": CRS, "transform": from_origin(LEFT, TOP, 10, 10)}
    profile = {"driver": "GTiff", "width": 30, "height": 20, "count": 3, "dtype": "uint8"}
    with rasterio.open(path, "w", **{**profile, **place, **more}) as data:
        data.write(np.full((3, 20, 30), value, np.uint8))
    return path


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    return picture(tmp_path / "private" / "secret.tif", HIDDEN)


@pytest.fixture
def inner() -> Iterator[Listener]:
    """A service inside of the house."""
    with listening() as server:
        yield server


@pytest.fixture(autouse=True)
def _nothing_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GEOLOC_PRIVATE_HOSTS")


def _vrt(source: str, band: str = "", relative: int = 0) -> str:
    simple = (
        f'<SimpleSource><SourceFilename relativeToVRT="{relative}">{source}</SourceFilename>'
        "<SourceBand>1</SourceBand></SimpleSource>"
    )
    bands = "".join(
        f'<VRTRasterBand dataType="Byte" band="{n}" {band}>{simple}</VRTRasterBand>'
        for n in (1, 2, 3)
    )
    return (
        f'<VRTDataset rasterXSize="30" rasterYSize="20"><SRS>{CRS}</SRS>'
        f"<GeoTransform>{LEFT}, 10, 0, {TOP}, 0, -10</GeoTransform>{bands}</VRTDataset>"
    )


def _raw(path: Path) -> str:
    raw = 'subClass="VRTRawRasterBand"'
    return _vrt("x", raw).replace(
        '<SimpleSource><SourceFilename relativeToVRT="0">x</SourceFilename>'
        "<SourceBand>1</SourceBand></SimpleSource>",
        f'<SourceFilename relativeToVRT="0">{path}</SourceFilename><ImageOffset>0</ImageOffset>'
        "<PixelOffset>1</PixelOffset><LineOffset>30</LineOffset>",
    )


def _wms(server: Listener) -> str:
    return (
        f'<GDAL_WMS><Service name="TMS"><ServerUrl>{server.root}/${{z}}/${{x}}/${{y}}.png'
        "</ServerUrl></Service><DataWindow><UpperLeftX>300000</UpperLeftX><UpperLeftY>5600000"
        "</UpperLeftY><LowerRightX>300300</LowerRightX><LowerRightY>5599800</LowerRightY>"
        "<TileLevel>0</TileLevel><TileCountX>1</TileCountX><TileCountY>1</TileCountY>"
        f"</DataWindow><Projection>{CRS}</Projection><BlockSizeX>256</BlockSizeX>"
        "<BlockSizeY>256</BlockSizeY><BandsCount>3</BandsCount></GDAL_WMS>"
    )


def _written(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def _refused(*paths: str) -> str:
    with pytest.raises(ImageryError) as refused:
        _ = GeotiffSource(GeotiffImagery(paths=list(paths))).files
    text = str(refused.value)
    assert "\n" not in text
    return text


def test_what_an_area_file_may_not_open(secret: Path, inner: Listener, tmp_path: Path) -> None:
    derived = 'subClass="VRTDerivedRasterBand"'
    attacks = {
        "inline VRT": _vrt(str(secret)),
        "inline raw VRT": _raw(secret),
        "raw VRT": _written(tmp_path / "raw.vrt", _raw(secret)),
        "raw VRT called tif": _written(tmp_path / "raw.tif", _raw(secret)),
        "derived": _written(tmp_path / "derived.vrt", _vrt(str(secret), derived)),
        "WMS called tif": _written(tmp_path / "wms.tif", _wms(inner)),
        "WMS in a VRT": _written(tmp_path / "a.vrt", _vrt("wms.tif", relative=1)),
        "inline in a VRT": _written(
            tmp_path / "b.vrt", _vrt(_vrt(str(secret)).replace("<", "&lt;"))
        ),
        "text in a VRT": _written(tmp_path / "c.vrt", _vrt("/etc/passwd")),
        "curl in a VRT": _written(tmp_path / "d.vrt", _vrt(f"/vsicurl?url={inner.root}/a.tif")),
        "subdataset in a VRT": _written(tmp_path / "e.vrt", _vrt(f"GTIFF_DIR:1:{secret}")),
        "entity": _written(
            tmp_path / "f.vrt",
            f'<!DOCTYPE x [<!ENTITY s SYSTEM "{secret}">]>' + _vrt("&s;"),
        ),
        "itself": _written(tmp_path / "g.vrt", _vrt("g.vrt", relative=1)),
    }
    for name, path in attacks.items():
        assert "none of 1 imagery files can be read" in _refused(path), name
    assert inner.asked == []


def test_overviews_of_another_file_are_refused(secret: Path, tmp_path: Path) -> None:
    """Shown: pixels of a file that a TIFF's own metadata name as its overviews."""
    path = picture(tmp_path / "bait.tif")
    with rasterio.open(path, "r+") as data:
        data.update_tags(ns="OVERVIEWS", OVERVIEW_FILE=str(secret))
    assert "names another file as its overviews" in _refused(str(path))


def test_sidecars_that_are_no_tiff_are_refused(secret: Path, tmp_path: Path) -> None:
    path = picture(tmp_path / "bait.tif")
    for ending in (".ovr", ".msk"):
        beside = Path(f"{path}{ending}")
        beside.write_text(_vrt(str(secret)))
        assert f"bait.tif{ending} is not a TIFF" in _refused(str(path))
        beside.unlink()
    with rasterio.open(path, "r+") as data, rasterio.Env(TIFF_USE_OVR=True):
        data.build_overviews([2, 4])
    assert GeotiffSource(GeotiffImagery(paths=[str(path)])).files[0].overviews == (2, 4)


def test_parts_that_fill_the_memory_are_refused(tmp_path: Path) -> None:
    """Small files: one tile of 800 MB; five thousand bands."""
    place = {"crs": CRS, "transform": from_origin(LEFT, TOP, 0.1, 0.1)}
    packed = {"count": 3, "dtype": "uint8", "compress": "deflate", "sparse_ok": True}
    attacks: dict[str, dict[str, Any]] = {
        "tile": {"width": 20_000, "height": 20_000, "tiled": True}
        | dict.fromkeys(("blockxsize", "blockysize"), 16_384),
        "bands": {"width": 64, "height": 64, "count": 5_000},
    }
    for name, more in attacks.items():
        with rasterio.open(tmp_path / name, "w", driver="GTiff", **{**packed, **place, **more}):
            pass
        assert (tmp_path / name).stat().st_size < 2_000_000
        told = _refused(str(tmp_path / name))
        assert "5,000 bands" in told if name == "bands" else "gdal_translate" in told


def test_a_mosaic_of_ones_own_files_is_read(tmp_path: Path) -> None:
    picture(tmp_path / "tiles" / "a.tif", 90)
    inside = _written(tmp_path / "in.vrt", _vrt("tiles/a.tif", relative=1))
    outside = _written(tmp_path / "out.vrt", _vrt(inside))
    for path in (inside, outside, f"file://{inside}"):
        found = GeotiffSource(GeotiffImagery(paths=[path])).read(WINDOW)
        assert (found.values == 90).all(), path


def _item(href: str) -> bytes:
    corners = [[30.0, 50.4], [30.4, 50.4], [30.4, 50.6], [30.0, 50.6], [30.0, 50.4]]
    item = {
        "type": "Feature", "stac_version": "1.0.0", "id": "bait", "links": [],
        "bbox": [30.0, 50.4, 30.4, 50.6], "geometry": {"type": "Polygon", "coordinates": [corners]},
        "properties": {"datetime": "2024-06-01T10:00:00Z"},
        "assets": {"visual": {"href": href, "roles": ["data"]}},
    }  # fmt: skip
    return json.dumps(item).encode()


def _read(url: str, window: Grid = WINDOW) -> tuple[Any, str]:
    found = StacSource(StacImagery(url=url)).read(window)
    assert (found.values != HIDDEN).all()
    return found, " ".join(found.attrs["errors"])


def test_what_a_catalog_on_a_server_may_not_name(secret: Path, inner: Listener) -> None:
    hrefs = [
        f"file://{secret}", str(secret), f"/vsicurl?url={inner.root}/a.tif",
        f"/vsizip//vsicurl/{inner.root}/a.zip/a.tif", f"/vsicurl/file://{secret}",
        f"zip+file://{secret}", _vrt(str(secret)), _raw(secret), f"{inner.root}/a.tif",
        f"http://localhost:{inner.port}/a.tif", f"/vsicurl/{inner.root}/a.tif",
        f"GTIFF_DIR:1:{secret}", "ftp://127.0.0.1/a.tif", "http://169.254.169.254/latest",
    ]  # fmt: skip
    with listening() as server:
        for href in hrefs:
            server.pages["/item.json"] = _item(href)
            found, errors = _read(f"{server.root}/item.json")
            assert not found.coords["valid"].values.any(), href
            assert errors, href
    assert inner.asked == []


def test_its_own_host_and_what_the_user_allows_may_be_named(
    inner: Listener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = picture(tmp_path / "shown.tif", 90).read_bytes()
    inner.pages["/b.tif"] = shown
    with listening(**{"a.tif": shown}) as server:
        server.pages["/item.json"] = _item(f"{server.root}/a.tif")
        assert (_read(f"{server.root}/item.json")[0].values == 90).all()
        server.pages["/item.json"] = _item(f"{inner.root}/b.tif")
        assert not _read(f"{server.root}/item.json")[0].coords["valid"].values.any()
        monkeypatch.setenv("GEOLOC_PRIVATE_HOSTS", f"127.0.0.1:{inner.port}")
        assert (_read(f"{server.root}/item.json")[0].values == 90).all()
        server.pages["/item.json"] = _item(f"file://{tmp_path}/shown.tif")
        monkeypatch.setenv("GEOLOC_PRIVATE_HOSTS", str(tmp_path))
        assert (_read(f"{server.root}/item.json")[0].values == 90).all()


def test_a_file_that_redirects_into_the_house_is_not_opened(inner: Listener) -> None:
    with listening() as server:
        server.pages["/item.json"] = _item(f"{server.root}/a.tif")
        server.moved["/a.tif"] = f"{inner.root}/admin"
        _, errors = _read(f"{server.root}/item.json")
        assert "redirects" in errors and "private host" in errors
    assert inner.asked == []


def _striped(path: Path) -> bytes:
    """A picture of many parts that no one request holds all of."""
    noise = np.random.default_rng(1).integers(90, 95, (3, 1024, 1024), dtype=np.uint8)
    place = {"crs": CRS, "transform": from_origin(LEFT, TOP, 1, 1)}
    profile = {"driver": "GTiff", "width": 1024, "height": 1024, "count": 3, "dtype": "uint8"}
    with rasterio.open(path, "w", **profile, **place, tiled=True) as data:
        data.write(noise)
    return path.read_bytes()


@pytest.mark.parametrize("late", [1, 2, 4])
@pytest.mark.parametrize("named_by", ["area", "catalog"])
def test_a_file_that_redirects_later_is_not_followed(
    named_by: str, late: int, inner: Listener, tmp_path: Path
) -> None:
    """An honest server at first; a redirect at the second header request, or at a later range."""
    inner.pages["/a.tif"] = body = _striped(tmp_path / "a.tif")
    window = Grid(CRS, LEFT + 600, TOP - 600, 1.0, 300, 300)
    with listening(**{"a.tif": body}) as server:
        server.pages["/item.json"] = _item(f"{server.root}/a.tif")
        server.moved_after["/a.tif"] = (late, f"{inner.root}/a.tif")
        if named_by == "catalog":
            found, errors = _read(f"{server.root}/item.json", window)
            assert not found.coords["valid"].values.all()
        else:
            source = GeotiffSource(GeotiffImagery(paths=[f"{server.root}/a.tif"]))
            with pytest.raises(ImageryError) as refused:
                errors = " ".join(source.read(window).attrs["errors"])
                raise ImageryError(errors)
            errors = str(refused.value)
        assert server.asked.count("/a.tif") > late
        assert "redirects" in errors and "127.0.0.1 is a private host" in errors
    assert inner.asked == []


def test_a_proxy_exception_of_the_environment_is_no_way_around(
    inner: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1, localhost")
    monkeypatch.setenv("no_proxy", "*")
    with listening() as server:
        server.moved["/a.tif"] = f"{inner.root}/admin"
        assert "private host" in _refused(f"{server.root}/a.tif")
    assert inner.asked == []


def test_pictures_and_mosaics_of_this_disk_ask_nobody_inside(
    inner: Listener, tmp_path: Path
) -> None:
    """Shown: a TIFF whose metadata name a server, which GDAL asks before anyone can look."""
    path = picture(tmp_path / "bait.tif")
    for name in (f"/vsicurl/{inner.root}/a.tif", f"{inner.root}/a.tif"):
        with rasterio.open(path, "r+") as data:
            data.update_tags(ns="OVERVIEWS", OVERVIEW_FILE=name)
        assert "\n" not in _refused(str(path))
        mosaic = _written(tmp_path / "a.vrt", _vrt(name))
        assert "127.0.0.1 is a private host" in _refused(mosaic)
    assert inner.asked == []


def test_a_name_that_moves_is_caught_by_the_gate(
    inner: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: public when the catalog's href is judged, private when GDAL connects."""
    names = iter([["93.184.215.14"]])
    monkeypatch.setattr("geoloc.net.hosts.addresses", lambda *_: next(names, ["127.0.0.1"]))
    with listening() as server:
        server.pages["/item.json"] = _item(f"http://localhost:{inner.port}/a.tif")
        _read(f"{server.root}/item.json")
    assert inner.asked == []


def test_a_catalog_that_links_or_redirects_into_the_house_is_not_followed(inner: Listener) -> None:
    catalog = {"type": "Catalog", "id": "c", "stac_version": "1.0.0", "description": "c"}
    with listening() as server:
        for href in (f"{inner.root}/item.json", "file:///etc/hostname", "/etc/hostname"):
            links = [{"rel": "item", "href": href}]
            server.pages["/catalog.json"] = json.dumps({**catalog, "links": links}).encode()
            with pytest.raises(ImageryError) as refused:
                StacSource(StacImagery(url=f"{server.root}/catalog.json")).covers(WINDOW)
            assert "\n" not in str(refused.value)
        server.moved["/moved.json"] = f"{inner.root}/catalog.json"
        with pytest.raises(ImageryError, match="private host"):
            StacSource(StacImagery(url=f"{server.root}/moved.json")).covers(WINDOW)
    assert inner.asked == []
