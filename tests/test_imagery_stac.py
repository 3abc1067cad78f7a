"""STAC: items of every habit, from catalogs and a real API, give the pixels of their files."""

from __future__ import annotations

import datetime as dt
import http.server
import json
import pickle
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import pytest
from pydantic import ValidationError
from pyproj import Transformer
from rasterio.enums import ColorInterp
from rasterio.transform import Affine

from geoloc.area import GeotiffImagery, StacImagery
from geoloc.domain import Grid
from geoloc.errors import ImageryError
from geoloc.imagery import open_source, require_overlap
from geoloc.imagery.source import overlap
from geoloc.imagery.stac import StacSource, sign
from geoloc.imagery.stac.catalog import interval
from geoloc.imagery.stac.stack import BANDS, stack_scenes

from .test_imagery_geotiff import CRS, LEFT, TOP, WINDOW, _Ranges, noise, ramp, write

Json = dict[str, Any]
PROJECTIONS = ("code", "epsg", "asset", "bbox", "wkt", "wrong", "none")


def lonlat_box(grid: Grid) -> list[float]:
    box = Transformer.from_crs(grid.crs, "EPSG:4326", always_xy=True)
    return list(box.transform_bounds(*grid.bounds, densify_pts=21))


def item(name: str, href: str, grid: Grid = WINDOW, projection: str = "code", **facts: Any) -> Json:
    """A STAC item; ``facts`` are properties, but for ``assets``, ``collection``, ``version``."""
    west, south, east, north = box = lonlat_box(grid)
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    assets = facts.pop("assets", {"visual": {"href": href, "type": "image/tiff"}})
    shape = {"proj:shape": list(grid.shape), "proj:transform": list(grid.transform)}
    code = int(grid.crs.split(":")[1])
    projections: dict[str, Json] = {
        "code": {"proj:code": grid.crs, **shape},
        "epsg": {"proj:epsg": code, **shape},
        "bbox": {"proj:epsg": code, "proj:bbox": list(grid.bounds)},
        "wkt": {"proj:epsg": None, "proj:wkt2": _wkt(grid.crs), **shape},
        "wrong": {"proj:epsg": 999999, **shape},
        "asset": {"proj:code": grid.crs},
        "none": {},
    }
    if projection == "asset":
        assets = {key: {**asset, **shape} for key, asset in assets.items()}
    collection = facts.pop("collection", "aerial")
    return {
        "type": "Feature",
        "stac_version": facts.pop("version", "1.1.0"),
        "id": name,
        "collection": collection,
        "bbox": box,
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {
            "datetime": facts.pop("date", "2024-06-01T10:00:00Z"),
            **projections[projection],
            **facts,
        },
        "assets": assets,
        "links": [],
    }


def _wkt(crs: str) -> str:
    return str(pyproj.CRS(crs).to_wkt())


def catalog(folder: Path, *items: Json, version: str = "1.1.0") -> str:
    """A static catalog; what items link to is relative."""
    links = [{"rel": "root", "href": "./catalog.json"}]
    for one in items:
        path = folder / "items" / f"{one['id']}.json"
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(json.dumps(one))
        links.append({"rel": "item", "href": f"./items/{path.name}"})
    root = {"type": "Catalog", "id": "c", "description": "d", "stac_version": version}
    folder.mkdir(exist_ok=True)
    (folder / "catalog.json").write_text(json.dumps({**root, "links": links}))
    return str(folder / "catalog.json")


def source(url: str, **options: Any) -> StacSource:
    return StacSource(StacImagery.model_validate({"url": url, **options}))


@pytest.mark.parametrize("version", ["1.0.0", "1.1.0"])
@pytest.mark.parametrize("projection", PROJECTIONS)
def test_a_catalog_gives_the_pixels_of_its_files(
    tmp_path: Path, version: str, projection: str
) -> None:
    write(tmp_path / "a.tif", noise(1))
    one = item("a", "../a.tif", projection=projection, version=version)
    read = source(catalog(tmp_path, one, version=version))
    require_overlap(read, WINDOW)
    for window in (WINDOW, WINDOW.pad(5), Grid(CRS, LEFT + 3.3, TOP - 7.1, 2.3, 9, 13)):
        data = read.read(window)
        plain = open_source(GeotiffImagery(paths=[str(tmp_path / "a.tif")])).read(window)
        np.testing.assert_array_equal(data.values, plain.values)
        np.testing.assert_array_equal(data.valid, plain.valid)
        assert data.x.equals(plain.x) and data.y.equals(plain.y)
    assert data.attrs["errors"] == ()
    (seen,) = data.attrs["items"]
    assert (seen.id, seen.href) == ("a", str(tmp_path / "a.tif"))
    assert seen.datetime == dt.datetime(2024, 6, 1, 10, tzinfo=dt.UTC) and seen.version
    assert read.gsd == pytest.approx(1.0, rel=2e-3)


def test_bands_may_be_assets_of_their_own(tmp_path: Path) -> None:
    pixels = noise(2)
    for name, band in zip(("B04", "B03", "B02"), pixels, strict=True):
        write(tmp_path / f"{name}.tif", band[None].astype(np.uint16) * 10)
    assets = {name: {"href": f"../{name}.tif"} for name in ("B02", "B03", "B04")}
    url = catalog(tmp_path, item("s2", "", assets=assets))
    read = source(url, assets=["B04", "B03", "B02"], scale=[0, 2550])
    np.testing.assert_array_equal(read.read(WINDOW).values, pixels)
    with pytest.raises(ImageryError, match=r"no item has visual, .*s2 has B02, B03, B04"):
        source(url).covers(WINDOW)
    with pytest.raises(ImageryError, match="uint16: add to imagery"):
        source(url, assets=["B04", "B03", "B02"]).read(WINDOW)


@pytest.mark.parametrize("key", ["bands", "eo:bands"])
def test_bands_are_found_by_their_names(tmp_path: Path, key: str) -> None:
    pixels = noise(3, bands=4)
    write(tmp_path / "a.tif", pixels, photometric="MINISBLACK")
    names = ("nir", "blue", "green", "red")
    bands = [{"name": f"B{i}", "common_name": n, "eo:common_name": n} for i, n in enumerate(names)]
    assets = {"image": {"href": "../a.tif", key: bands}, "thumbnail": {"href": "../no.jpg"}}
    data = source(catalog(tmp_path, item("a", "", assets=assets))).read(WINDOW)
    np.testing.assert_array_equal(data.values, pixels[[3, 2, 1]])


def test_raster_scale_and_offset_bring_items_to_one_measure(tmp_path: Path) -> None:
    """As with Sentinel-2, whose values moved by 1000 in 2022."""
    reflectance = noise(4).astype(np.uint16) * 10
    items = []
    for name, shift, year in (("old", 0, 2021), ("new", 1000, 2023)):
        write(tmp_path / f"{name}.tif", reflectance + np.uint16(shift))
        raster = [{"scale": 1e-4, "offset": -shift * 1e-4}] * 3
        assets = {"visual": {"href": f"../{name}.tif", "raster:bands": raster}}
        items.append(item(name, "", assets=assets, date=f"{year}-01-01T00:00:00Z"))
    for date in ("2021", "2023"):
        read = source(catalog(tmp_path, *items), datetime=date, scale=[0, 0.255], rescale=True)
        np.testing.assert_array_equal(read.read(WINDOW).values, noise(4))


def described(colours: str, key: str = "eo:bands", field: str = "common_name") -> Json:
    """An asset ``a.tif`` whose bands are called so."""
    bands = [{"name": f"b{n}", field: name} for n, name in enumerate(colours.split(), 1)]
    return {"href": "../a.tif", "type": "image/tiff; application=geotiff", key: bands}


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize(
    ("key", "field"),
    [
        ("eo:bands", "common_name"),
        ("eo:bands", "name"),
        ("bands", "eo:common_name"),
        ("bands", "common_name"),
        ("bands", "name"),
        ("bands", "description"),
    ],
)
def test_bands_of_an_asset_are_what_the_item_calls_them(
    tmp_path: Path, key: str, field: str, named: bool
) -> None:
    pixels = noise(3, bands=4)
    pixels[3, :5] = 0
    write(tmp_path / "a.tif", pixels)  # whose last band is alpha, if one asks the file
    assets = {"analytic": described("Blue green RED nir", key, field)}
    url = catalog(tmp_path, item("a", "", assets=assets))
    options = {"assets": "analytic"} if named else {}
    assert source(url, **options).read(WINDOW).valid.values.all()
    np.testing.assert_array_equal(source(url, **options).read(WINDOW).values, pixels[[2, 1, 0]])
    chosen = source(url, **options, bands=[4, 1, 2]).read(WINDOW).values
    if named:  # a specification wins over what anybody says
        np.testing.assert_array_equal(chosen, pixels[[3, 0, 1]])


def test_satellites_bands_are_known_by_their_names(tmp_path: Path) -> None:
    pixels = noise(3, bands=4)
    write(tmp_path / "a.tif", pixels)
    assets = {"visual": described("B02 B03 B04 B08", "bands", "name")}
    read = source(catalog(tmp_path, item("a", "", assets=assets)))
    np.testing.assert_array_equal(read.read(WINDOW).values, pixels[[2, 1, 0]])


def test_the_order_of_named_assets_is_the_users(tmp_path: Path) -> None:
    for name, band in zip(("red", "green", "blue"), noise(2), strict=True):
        write(tmp_path / f"{name}.tif", band[None])
    assets = {
        name: {"href": f"../{name}.tif", "eo:bands": [{"common_name": name}]}
        for name in ("blue", "red", "green")
    }
    url = catalog(tmp_path, item("a", "", assets=assets))
    np.testing.assert_array_equal(source(url).read(WINDOW).values, noise(2))
    turned = source(url, assets=["blue", "green", "red"]).read(WINDOW).values
    np.testing.assert_array_equal(turned, noise(2)[::-1])


def test_where_an_item_is_silent_its_file_is_asked(tmp_path: Path) -> None:
    kinds = [ColorInterp.blue, ColorInterp.green, ColorInterp.red, ColorInterp.undefined]
    write(tmp_path / "a.tif", noise(5, bands=4), colorinterp=kinds)
    url = catalog(tmp_path, item("a", "../a.tif"))
    for options in ({}, {"assets": "visual"}):
        read = source(url, **options)
        np.testing.assert_array_equal(read.read(WINDOW).values, noise(5, bands=4)[[2, 1, 0]])
        assert read.notes == ()
    write(tmp_path / "a.tif", noise(5, bands=4), photometric="MINISBLACK")
    read = source(url)
    np.testing.assert_array_equal(read.read(WINDOW).values, noise(5, bands=4)[:3])
    assert "does not say which of its 4 bands" in read.notes[0]


def test_previews_are_not_taken_for_data(tmp_path: Path) -> None:
    write(tmp_path / "a.tif", noise(3))
    preview = {"href": "../no.tif", "roles": ["overview"], "type": "image/tiff"}
    rgb = [{"common_name": name} for name in ("red", "green", "blue")]
    assets = {
        "thumbnail": {"href": "../no.jpg", "eo:bands": rgb},
        "preview": {**preview, "eo:bands": rgb},
        "data": described("blue green red"),
    }
    read = source(catalog(tmp_path, item("a", "", assets=assets)))
    np.testing.assert_array_equal(read.read(WINDOW).values, noise(3)[::-1])


@pytest.mark.parametrize(
    ("shift", "facts", "raster"),
    [
        (0, {"s2:processing_baseline": "02.14"}, None),
        (1000, {"s2:processing_baseline": "05.09"}, None),
        (0, {"s2:processing_baseline": "05.09", "earthsearch:boa_offset_applied": True}, None),
        (0, {"earthsearch:boa_offset_applied": True}, {"scale": 1e-4, "offset": -0.1}),
        (1000, {"earthsearch:boa_offset_applied": False}, {"scale": 1e-4, "offset": -0.1}),
        (1000, {}, {"raster:scale": 1e-4, "raster:offset": -0.1}),
    ],
)
def test_offsets_are_taken_off_once(
    tmp_path: Path, shift: int, facts: Json, raster: Json | None
) -> None:
    write(tmp_path / "a.tif", noise(4).astype(np.uint16) * 10 + np.uint16(shift))
    asset: Json = {"href": "../a.tif", "type": "image/tiff"}
    if raster:
        asset["bands" if "raster:scale" in raster else "raster:bands"] = [raster] * 3
    url = catalog(tmp_path, item("a", "", assets={"visual": asset}, **facts))
    read = source(url, scale=[0, 0.255], rescale=True)
    np.testing.assert_array_equal(read.read(WINDOW).values, noise(4))


@pytest.mark.parametrize("holder", ["raster:bands", "bands", "asset"])
def test_what_an_item_says_is_no_data_is_none(tmp_path: Path, holder: str) -> None:
    pixels = noise(4)
    pixels[:, :7], pixels[:, 7:9] = 0, 9
    write(tmp_path / "a.tif", pixels)
    facts: Json = {"nodata": 0}
    asset = facts if holder == "asset" else {holder: [facts] * 3}
    url = catalog(tmp_path, item("a", "", assets={"visual": {"href": "../a.tif", **asset}}))
    valid = source(url).read(WINDOW).valid.values
    assert not valid[:7].any() and valid[7:].all()
    assert source(url, nodata=9).read(WINDOW).valid.values[:7].all()
    write(tmp_path / "a.tif", pixels, nodata=9)  # a file knows better
    valid = source(url).read(WINDOW).valid.values
    assert valid[:7].all() and not valid[7:9].any()


def test_bands_may_differ_in_scale(tmp_path: Path) -> None:
    units = [(1.0, 0.0), (0.5, 0.0), (1.0, -20.0)]
    counts = [
        (band - offset) / scale for band, (scale, offset) in zip(noise(4), units, strict=True)
    ]
    write(tmp_path / "a.tif", np.stack(counts).astype(np.uint16))
    raster = [{"scale": scale, "offset": offset} for scale, offset in units]
    assets = {"visual": {"href": "../a.tif", "raster:bands": raster}}
    read = source(catalog(tmp_path, item("a", "", assets=assets)), scale=[0, 255], rescale=True)
    np.testing.assert_array_equal(read.read(WINDOW).values, noise(4))


def test_one_scale_for_different_zeros_is_noted(tmp_path: Path) -> None:
    for name in ("old", "new"):
        write(tmp_path / f"{name}.tif", noise(4).astype(np.uint16) * 10)
    items = [
        item(name, f"../{name}.tif", **{"s2:processing_baseline": baseline})
        for name, baseline in (("old", "02.14"), ("new", "05.09"))
    ]
    read = source(catalog(tmp_path, *items), scale=[0, 2550])
    read.read(WINDOW)
    assert "have different zero values (0, 1000)" in read.notes[0]
    assert source(catalog(tmp_path, items[0]), scale=[0, 2550]).notes == ()


@pytest.mark.parametrize("box", ["of GeoJSON", "beyond 180"])
@pytest.mark.parametrize("zone", ["EPSG:32601", "EPSG:32660"])
def test_items_across_180_degrees(tmp_path: Path, box: str, zone: str) -> None:
    pixels = np.zeros((3, 100, 200), np.uint8)
    pixels[:, :, :100], pixels[:, :, 100:] = 200, 80
    transform = Affine(0.01, 0, 179, 0, -0.01, 60.5)
    write(tmp_path / "a.tif", pixels, crs="EPSG:4326", transform=transform)
    one = item("a", "../a.tif", projection="none")
    one["bbox"] = [179, 59.5, -179 if box == "of GeoJSON" else 181, 60.5]
    x, y = Transformer.from_crs("EPSG:4326", zone, always_xy=True).transform(180, 60)
    window = Grid(zone, x - 8000, y + 8000, 400, 40, 40)
    read = source(catalog(tmp_path, one))
    require_overlap(read, window)
    data = read.read(window)
    assert data.valid.values.all() and data.attrs["errors"] == ()
    assert (data.values[:, :, :18] == 200).all() and (data.values[:, :, 22:] == 80).all()


@pytest.mark.parametrize(
    "facts",
    [
        {"proj:shape": [50, 120], "proj:transform": [1, 0, LEFT, 0, -1, TOP]},  # as it is
        {"proj:shape": [120, 50], "proj:transform": [1, 0, LEFT, 0, -1, TOP]},  # width and height
        {"proj:shape": [50, 120], "proj:transform": [LEFT, 1, 0, TOP, 0, -1]},  # GDAL's order
        {"proj:bbox": [TOP - 50, LEFT, TOP, LEFT + 120]},
        {"proj:bbox": [LEFT, TOP - 50, LEFT + 120, TOP], "bbox": "lat, lon"},
        {"proj:code": None, "bbox": "lat, lon"},
        {"proj:bbox": [LEFT, TOP - 50, LEFT + 120, TOP], "bbox": "none"},
        {"proj:bbox": [LEFT, TOP - 50, LEFT + 120, TOP], "bbox": "not numbers"},
    ],
)
def test_an_item_that_contradicts_its_own_place_is_still_found(tmp_path: Path, facts: Json) -> None:
    grid = Grid(CRS, LEFT, TOP, 1.0, 50, 120)
    write(tmp_path / "a.tif", noise(3, size=grid.shape))
    one = item("a", "../a.tif", grid, "none", **{"proj:code": CRS, **facts})
    box = one["properties"].pop("bbox", None)
    west, south, east, north = one["bbox"]
    if box is not None:
        one["bbox"] = {"lat, lon": [south, west, north, east], "none": None,
                       "not numbers": [west, south, "east", north]}[box]  # fmt: skip
    if box == "none":
        one["geometry"] = None
    data = source(catalog(tmp_path, one)).read(grid)
    assert data.valid.values.all() and data.attrs["errors"] == ()
    np.testing.assert_array_equal(data.values, noise(3, size=grid.shape))


def test_items_of_no_place_on_the_earth_lie_where_their_box_is(tmp_path: Path) -> None:
    """Their file is told to be of no use, the others are read."""
    local = pyproj.CRS('LOCAL_CS["of a drone",UNIT["metre",1]]').to_wkt()
    write(tmp_path / "a.tif", noise(1), crs=local)
    write(tmp_path / "b.tif", noise(2))
    facts = {"proj:wkt2": local, "proj:shape": [40, 50], "proj:transform": [1, 0, 0, 0, -1, 0]}
    drone = item("a", "../a.tif", projection="none", date="2025-01-01T00:00:00Z", **facts)
    data = source(catalog(tmp_path, drone, item("b", "../b.tif"))).read(WINDOW)
    np.testing.assert_array_equal(data.values, noise(2))
    (error,) = data.attrs["errors"]
    assert "a.tif has a CRS that is not on the Earth, local 'of a drone'" in error


def test_palettes_behind_signed_hrefs(
    tmp_path: Path, guarded: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAC_TOKEN", "sig=s3cret&se=2099-01-01T00%3A00%3A00Z")
    index = np.random.default_rng(8).integers(0, 3, (1, 40, 50)).astype(np.uint8)
    colours = np.array([(250, 10, 20), (0, 128, 64), (9, 8, 7)], np.uint8)
    table = {n: (*map(int, rgb), 255) for n, rgb in enumerate(colours)}
    write(tmp_path / "palette.tif", index, colormap=table)
    url = catalog(tmp_path, item("a", f"{guarded}/palette.tif"))
    data = source(url, sign="${STAC_TOKEN}").read(WINDOW)
    assert data.attrs["errors"] == ()
    np.testing.assert_array_equal(data.values, colours[index[0]].transpose(2, 0, 1))


def test_items_of_several_utm_zones_lie_on_each_other(tmp_path: Path) -> None:
    """A colour ramp in each zone's own file: 3 levels a metre."""
    here = Grid(CRS, LEFT, TOP, 1.0, 80, 80)
    move = Transformer.from_crs("EPSG:32635", CRS, always_xy=True)
    left, top = Transformer.from_crs(CRS, "EPSG:32635", always_xy=True).transform(LEFT, TOP)
    there = Grid("EPSG:32635", round(left) - 30.0, round(top) + 30.0, 1.0, 160, 160)
    east = ramp(*move.transform(*np.meshgrid(there.x, there.y)))
    write(
        tmp_path / "w.tif", east.astype(np.float32), crs=there.crs, left=there.left, top=there.top
    )
    write(tmp_path / "e.tif", ramp(*np.meshgrid(here.x, here.y)).astype(np.float32)[..., :40])
    half = Grid(CRS, LEFT, TOP, 1.0, 80, 40)
    items = [
        item("west", "../w.tif", there, date="2024-01-01T00:00:00Z"),
        item("east", "../e.tif", half, "epsg", date="2024-02-01T00:00:00Z"),
    ]
    window = Grid(CRS, LEFT + 10, TOP - 10, 1.0, 60, 60)
    data = source(catalog(tmp_path, *items), scale=[0, 255]).read(window)
    assert [i.id for i in data.attrs["items"]] == ["east", "west"]
    error = data.values - ramp(*np.meshgrid(window.x, window.y))
    assert data.valid.values.all() and np.abs(error).max() <= 1.2


def three_dates(folder: Path) -> str:
    """A mosaic of flat colours; the newest lacks its left half."""
    values = {"a": (50, 2021, 10), "b": (90, 2022, 60), "c": (200, 2023, 30)}
    items = []
    for name, (value, year, cloud) in values.items():
        pixels = np.full((3, 40, 50), value, np.uint8)
        if name == "c":
            pixels[:, :, :25] = 0
        write(folder / f"{name}.tif", pixels, nodata=0)
        facts: Json = {"eo:cloud_cover": cloud, "date": f"{year}-07-01T00:00:00Z"}
        items.append(item(name, f"../{name}.tif", **facts))
    return catalog(folder, *items)


@pytest.mark.parametrize(
    ("options", "left", "right", "seen"),
    [
        ({}, 90, 200, "cb"),
        ({"order": "least-cloud"}, 50, 50, "a"),
        ({"order": "median"}, 70, 90, "cba"),
        ({"max_cloud": 30}, 50, 200, "ca"),
        ({"datetime": "../2022-12-31"}, 90, 90, "b"),
        ({"datetime": "2021"}, 50, 50, "a"),
        ({"max_items": 1}, 0, 200, "c"),
    ],
)
def test_what_is_seen_where_items_overlap(
    tmp_path: Path, options: Json, left: int, right: int, seen: str
) -> None:
    data = source(three_dates(tmp_path), **options).read(WINDOW)
    assert (data.values[:, :, :25] == left).all() and (data.values[:, :, 25:] == right).all()
    assert data.valid.values[:, :25].all() == (left > 0)
    assert [i.id for i in data.attrs["items"]] == list(seen)


def test_collections_of_a_catalog(tmp_path: Path) -> None:
    url = three_dates(tmp_path)
    assert source(url, collections="aerial").covers(WINDOW)
    with pytest.raises(ImageryError, match="has no collection nothing: it has"):
        source(url, collections=["nothing"]).covers(WINDOW)
    with pytest.raises(ImageryError, match="static and cannot answer a query"):
        source(url, query={"eo:cloud_cover": {"lt": 3}}).covers(WINDOW)


def test_black_is_a_colour(tmp_path: Path) -> None:
    pixels = np.zeros((3, 40, 50), np.uint8)
    write(tmp_path / "a.tif", pixels)
    write(tmp_path / "b.tif", pixels + np.uint8(9))
    items = [item("a", "../a.tif", date="2025-01-01T00:00:00Z"), item("b", "../b.tif")]
    data = source(catalog(tmp_path, *items)).read(WINDOW)
    assert data.valid.values.all() and (data.values == 0).all()


def test_of_many_items_those_near_are_found(tmp_path: Path) -> None:
    """As when each is looked at, and far quicker: there is a block of the area for each of them."""
    read, rng = source(catalog(tmp_path)), np.random.default_rng(0)
    places = rng.uniform((LEFT - 90_000, TOP - 90_000), (LEFT + 90_000, TOP), (5000, 2))
    grids = [
        Grid(f"EPSG:{32635 + i % 2}", x - 420_000 * (i % 2 == 0), y, 100.0, 60, 60)
        for i, (x, y) in enumerate(places)
    ]
    read._take(
        [item(str(i), f"/{i}.tif", g, **{"eo:cloud_cover": i % 7}) for i, g in enumerate(grids)]
    )
    windows = [Grid(CRS, LEFT + 1000 * i, TOP - 40_000, 5.0, 400, 400) for i in range(20)]
    read._touching(windows[0])
    start = time.perf_counter()
    found = [{s.id for s in read._touching(window)} for window in windows]
    quick, start = time.perf_counter() - start, time.perf_counter()
    wanted = [
        {s.id for s in read._known() if overlap(s.bounds(CRS), window) is not None}
        for window in windows
    ]
    assert found == wanted and any(wanted)
    assert quick < (time.perf_counter() - start) / 4


def test_the_stack_is_lazy_and_keeps_the_lattice(tmp_path: Path) -> None:
    write(tmp_path / "a.tif", noise(1))
    read = source(catalog(tmp_path, item("a", "../a.tif"), item("b", "../a.tif")))
    asked: list[Grid] = []
    window = Grid(CRS, LEFT - 0.3, TOP + 0.7, 0.7, 21, 33)

    def layers(_: Any, part: Grid) -> Any:
        asked.append(part)
        return np.ones((4, *part.shape), np.uint8)

    stack = stack_scenes(read._touching(window), window, layers)
    assert stack.shape == (2, len(BANDS), *window.shape) and asked == []
    np.testing.assert_allclose(stack.x, window.x, atol=1e-6)
    np.testing.assert_allclose(stack.y, window.y, atol=1e-6)
    stack.compute(scheduler="synchronous")
    assert len(asked) == 2  # once for all bands


def test_faults_of_files_are_told_and_the_rest_is_given(tmp_path: Path) -> None:
    write(tmp_path / "good.tif", noise(1))
    whole = write(tmp_path / "cut.tif", noise(2)).read_bytes()
    (tmp_path / "cut.tif").write_bytes(whole[: len(whole) // 3])
    (tmp_path / "text.tif").write_text("not an image")
    write(tmp_path / "nowhere.tif", noise(3), crs=None)
    names = ("cut", "text", "gone", "nowhere")
    items = [item(n, f"../{n}.tif", date="2025-01-01T00:00:00Z") for n in names]
    data = source(catalog(tmp_path, item("good", "../good.tif"), *items)).read(WINDOW)
    np.testing.assert_array_equal(data.values, noise(1))
    told = "\n".join(data.attrs["errors"])
    assert len(data.attrs["errors"]) == len(names) and all(f"{n}.tif" in told for n in names)
    assert told.count("\n") == len(names) - 1


def test_items_without_the_asset_are_left_out(tmp_path: Path) -> None:
    write(tmp_path / "a.tif", noise(1))
    lacking = item("b", "", assets={"thumbnail": {"href": "b.jpg", "type": "image/jpeg"}})
    read = source(catalog(tmp_path, item("a", "../a.tif"), lacking))
    np.testing.assert_array_equal(read.read(WINDOW).values, noise(1))
    assert read.lacking == {"b": ("thumbnail",)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "catalog.json"),
        ("{", "catalog.json"),
        ('{"type": "Feature"}', "catalog.json"),
    ],
)
def test_catalogs_that_are_none(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / "catalog.json").write_text(text)
    with pytest.raises(ImageryError, match=message) as caught:
        source(str(tmp_path / "catalog.json")).covers(WINDOW)
    assert "\n" not in str(caught.value)


def test_a_damaged_item_is_named(tmp_path: Path) -> None:
    url = catalog(tmp_path, item("a", "../a.tif"))
    (tmp_path / "items" / "a.json").write_text("{")
    with pytest.raises(ImageryError, match=r"STAC catalog .*catalog\.json"):
        source(url).covers(WINDOW)


def test_an_area_outside_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.tif", noise(1))
    read = source(catalog(tmp_path, item("a", "../a.tif")))
    with pytest.raises(ImageryError, match=r"is outside the imagery \[400000"):
        require_overlap(read, Grid(CRS, LEFT + 9000, TOP, 1.0, 9, 9))
    with pytest.raises(ImageryError, match="has no item for this area"):
        require_overlap(source(catalog(tmp_path / "empty")), WINDOW)


def test_fingerprints(tmp_path: Path) -> None:
    url = three_dates(tmp_path)
    before = source(url).fingerprint(WINDOW)
    assert pickle.loads(pickle.dumps(source(url))).fingerprint(WINDOW) == before  # noqa: S301
    assert source(url, order="median").fingerprint(WINDOW) != before
    assert source(url, max_cloud=50).fingerprint(WINDOW) != before
    assert source(url).fingerprint(Grid(CRS, 0.0, 0.0, 1.0, 3, 3)) != before
    write(tmp_path / "a.tif", noise(1))
    assert source(url).fingerprint(WINDOW) != before


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("2024-06", "2024-06-01T00:00:00+00:00", "2024-06-30T23:59:59+00:00"),
        ("2024-01-01/..", "2024-01-01T00:00:00+00:00", None),
        ("../2024-01-02", None, "2024-01-02T23:59:59+00:00"),
    ],
)
def test_intervals(text: str, first: str | None, last: str | None) -> None:
    begin, end = interval(text)
    assert begin.year == 1 if first is None else begin.isoformat() == first
    assert end.year == 9999 if last is None else end.isoformat() == last


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"assets": ["a", "b"]}, "name one with three bands"),
        ({"sign": "sv=2024&sig=abc"}, "never the token"),
        ({"max_cloud": 101}, "less than or equal to 100"),
        ({"scale": [3, 3]}, "is empty"),
    ],
)
def test_specifications_that_make_no_sense(changes: Json, message: str) -> None:
    with pytest.raises(ValidationError, match=message) as caught:
        StacImagery.model_validate({"url": "x", **changes})
    assert "sig=abc" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    ["2021", "2021-06", "2021-06-19", "2021-06-19T10:00:00", "2021-06-19T10:00:00.5+02:00",
     "2021/..", "../2021-06-19T10:00:00Z", "2021-06-19/2021-07"],
)  # fmt: skip
def test_each_date_that_a_file_may_hold_is_an_interval(text: str) -> None:
    begin, end = interval(StacImagery(url="x", datetime=text).datetime)
    assert begin <= end


class Guarded(_Ranges):
    """Files for those who have the token; also hands it out."""

    def do_GET(self) -> Any:  # noqa: N802  (the name that http.server looks for)
        if self.path.startswith("/token/"):
            body = json.dumps({"token": "sig=s3cret", "msft:expiry": "2099-01-01T00:00:00Z"})
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body.encode())
            return None
        if "sig=s3cret" not in self.path:
            self.send_error(403)
            return None
        return super().do_GET()

    def do_HEAD(self) -> Any:  # noqa: N802
        return super().do_HEAD() if "sig=s3cret" in self.path else self.send_error(403)


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[str]:
    handler = partial(Guarded, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{listening.server_port}"
        listening.shutdown()


@pytest.mark.parametrize("how", ["endpoint", "environment"])
def test_signed_hrefs(
    tmp_path: Path, guarded: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "a.tif", noise(1))
    url = catalog(tmp_path, item("a", f"{guarded}/a.tif"), item("b", f"{guarded}/b.tif"))
    refused = source(url).read(WINDOW)
    assert not refused.valid.values.any()
    assert "a.tif" in refused.attrs["errors"][0] and "403" in refused.attrs["errors"][0]
    sign = f"{guarded}/token/{{collection}}" if how == "endpoint" else "${STAC_TOKEN}"
    if how == "environment":
        with pytest.raises(ImageryError, match=r"\$\{STAC_TOKEN\} is not set"):
            source(url, sign=sign).read(WINDOW)
        monkeypatch.setenv("STAC_TOKEN", "?sig=s3cret")
    read = source(url, sign=sign)
    data = read.read(WINDOW.pad(1))
    np.testing.assert_array_equal(data.values[:, 1:-1, 1:-1], noise(1))
    assert len(data.attrs["errors"]) == 1  # b is not there, and asked for where a has nothing
    shown = f"{data.attrs}{read.fingerprint(WINDOW)}{pickle.dumps(read)!r}{read.spec}"
    assert "s3cret" not in shown


def test_a_catalog_may_need_a_key(
    tmp_path: Path, guarded: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "a.tif", noise(1))
    catalog(tmp_path, item("a", f"{guarded}/a.tif?sig=s3cret&expires=1"))
    url = guarded + "/catalog.json?sig=${STAC_KEY}"
    with pytest.raises(ImageryError, match=r"\$\{STAC_KEY\} is not set"):
        source(url).covers(WINDOW)
    monkeypatch.setenv("STAC_KEY", "wrong")
    with pytest.raises(ImageryError, match=r"STAC_KEY\}: HTTP 403 .*check the key") as refused:
        source(url).covers(WINDOW)
    monkeypatch.setenv("STAC_KEY", "s3cret")
    data = (read := source(url)).read(WINDOW)  # the items, too, are asked for with the key
    np.testing.assert_array_equal(data.values, noise(1))
    with pytest.raises(ImageryError, match=r"HTTP 404 .*check the url") as nothing:
        source(guarded + "/nothere?sig=${STAC_KEY}").covers(WINDOW)
    assert data.attrs["items"][0].href == f"{guarded}/a.tif"
    shown = f"{refused.value}{nothing.value}{data.attrs}{read.fingerprint(WINDOW)}{read.spec}"
    assert "s3cret" not in shown and "wrong" not in shown


def test_a_catalogs_key_goes_to_no_other_host(
    tmp_path: Path, guarded: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor do its hrefs get what they ask for of the environment."""
    other = guarded.replace("127.0.0.1", "localhost")
    catalog(tmp_path, item("a", guarded + "/a.tif?x=${STAC_KEY}"))
    root = json.loads((tmp_path / "catalog.json").read_text())
    root["links"].append({"rel": "item", "href": f"{other}/items/a.json"})
    (tmp_path / "catalog.json").write_text(json.dumps(root))
    monkeypatch.setenv("STAC_KEY", "s3cret")
    with pytest.raises(ImageryError, match=r"localhost.*/a\.json' does not resolve"):
        source(guarded + "/catalog.json?sig=${STAC_KEY}").covers(WINDOW)
    root["links"].pop()
    (tmp_path / "catalog.json").write_text(json.dumps(root))
    (error,) = source(guarded + "/catalog.json?sig=${STAC_KEY}").read(WINDOW).attrs["errors"]
    assert "/a.tif?x=${STAC_KEY}" in error and "403" in error


def test_an_item_that_lies_nowhere(tmp_path: Path) -> None:
    lost = item("lost", "../a.tif", projection="none", bbox=None)
    lost |= {"bbox": None, "geometry": None}
    with pytest.raises(ImageryError, match="item lost is not valid: it has neither bbox nor"):
        source(catalog(tmp_path, lost)).covers(WINDOW)


ODD: dict[str, tuple[Any, str]] = {
    "no place": ({"bbox": None, "geometry": None, "properties": {}}, "neither bbox nor geometry"),
    "no assets": ({"assets": None}, "a value in it is of the wrong type"),
    "no properties": ({"properties": None}, "a value in it is of the wrong type"),
    "a list in place of an asset": ({"assets": {"visual": []}}, "of the wrong type"),
    "no href": ({"assets": {"visual": {"type": "image/tiff"}}}, "it has no href"),
    "a time that is none": ({"properties": {"datetime": "yesterday"}}, "yesterday"),
}


@pytest.mark.parametrize("what", ODD)
@pytest.mark.parametrize("datetime", [None, "2020-01/2030-01"])
def test_an_item_that_is_not_valid_costs_only_itself(
    tmp_path: Path, what: str, datetime: str | None
) -> None:
    facts, told = ODD[what]
    write(tmp_path / "a.tif", pixels := noise(1))
    odd = item("odd", "../a.tif", projection="none") | facts
    page = {"type": "FeatureCollection", "features": [item("a", "../a.tif"), odd]}
    path = tmp_path / "items" / "page.json"
    path.parent.mkdir()
    path.write_text(json.dumps(page))
    read = source(str(path), datetime=datetime)
    data = read.read(WINDOW)
    np.testing.assert_array_equal(data.values, pixels)
    assert data.valid.values.all() and data.attrs["errors"] == ()
    (note,) = read.notes
    assert "item odd is not valid: " in note and told in note and "left out" in note
    beside = read.read(Grid(CRS, WINDOW.left - 20, WINDOW.top, WINDOW.step, *WINDOW.shape))
    assert beside.attrs["errors"] == (note,)  # what is lacking there may be in it


WAVES = (0.49, 0.56, 0.665, 0.842)
WORDS = ("blue", "green", "red", "nir")
SAID: dict[str, tuple[Json, Json]] = {
    "wavelengths": ({"eo:bands": [{"center_wavelength": wave} for wave in WAVES]}, {}),
    "wavelengths of 1.1": ({"bands": [{"eo:center_wavelength": wave} for wave in WAVES]}, {}),
    "the item": ({}, {"eo:bands": [{"common_name": word} for word in WORDS]}),
    "the item, of 1.1": ({}, {"bands": [{"name": word} for word in WORDS]}),
}


@pytest.mark.parametrize("assets", [None, ["visual"]])
@pytest.mark.parametrize("who", SAID)
def test_bands_may_be_told_by_wavelengths_and_by_the_item(
    tmp_path: Path, who: str, assets: list[str] | None
) -> None:
    write(tmp_path / "a.tif", pixels := noise(1, bands=4), colorinterp=[ColorInterp.undefined] * 4)
    asset, facts = SAID[who]
    one = item("a", "../a.tif", **facts)
    one["assets"]["visual"] |= asset
    read = source(catalog(tmp_path, one), assets=assets)
    np.testing.assert_array_equal(read.read(WINDOW).values, pixels[2::-1])
    assert read.notes == ()


def test_bands_of_the_instrument_are_not_those_of_a_picture_of_it(tmp_path: Path) -> None:
    write(tmp_path / "a.tif", pixels := noise(1))
    one = item("a", "../a.tif", **SAID["the item"][1])
    found = source(catalog(tmp_path, one)).read(WINDOW).values
    np.testing.assert_array_equal(found, pixels)


@pytest.mark.parametrize("bands", [["blue", "green", "red", "nir"], [None, None, None, None]])
def test_bands_may_be_words_or_nothing(tmp_path: Path, bands: list[Any]) -> None:
    write(tmp_path / "a.tif", pixels := noise(1, bands=4))
    one = item("a", "../a.tif")
    one["assets"]["visual"]["eo:bands"] = bands
    found = source(catalog(tmp_path, one)).read(WINDOW).values
    np.testing.assert_array_equal(found, pixels[:3][:: -1 if bands[0] else 1])


def test_planetary_computer_signs_its_own_files_alone(
    guarded: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sign, "_PLANETARY_COMPUTER", f"{guarded}/token/{{collection}}")
    signer = sign.Signer("planetary-computer")
    theirs = "https://x.blob.core.windows.net/a.tif"
    assert signer.sign(theirs, "aerial") == f"{theirs}?sig=s3cret"
    assert signer.sign(f"{theirs}?a=b", "aerial") == f"{theirs}?a=b&sig=s3cret"
    for other in ("https://elsewhere.org/a.tif", "s3://bucket/a.tif", "/a.tif"):
        assert signer.sign(other, "aerial") == other
    assert signer.scrub(f"{theirs}?sig=s3cret: 404") == f"{theirs}: 404"


def test_tokens_are_renewed_before_they_end(guarded: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[str] = []
    fetch = sign.Signer._fetch

    def counted(self: sign.Signer, collection: str) -> tuple[str, dt.datetime]:
        fetched.append(collection)
        return fetch(self, collection)

    monkeypatch.setattr(sign.Signer, "_fetch", counted)
    signer = sign.Signer(f"{guarded}/token/{{collection}}")
    for collection in ("aerial", "aerial", "other"):
        signer.sign("https://host/a.tif", collection)
    assert fetched == ["aerial", "other"]
    late = dt.datetime(2099, 1, 1, tzinfo=dt.UTC) - dt.timedelta(minutes=1)
    monkeypatch.setattr(sign, "_now", lambda: late)
    signer.sign("https://host/a.tif", "aerial")
    assert fetched == ["aerial", "other", "aerial"]
    with pytest.raises(ImageryError, match=r"no token from http.*/nothing"):
        sign.Signer(f"{guarded}/nothing").sign("https://host/a.tif", "aerial")


def test_a_token_may_take_a_key(guarded: str, monkeypatch: pytest.MonkeyPatch) -> None:
    how = guarded + "/token/{collection}?key=${SIGN_KEY}"
    with pytest.raises(ImageryError, match=r"\$\{SIGN_KEY\} is not set"):
        sign.Signer(how).sign("https://host/a.tif", "aerial")
    monkeypatch.setenv("SIGN_KEY", "private")
    assert sign.Signer(how).sign("https://host/a.tif", "aerial").endswith("?sig=s3cret")
    with pytest.raises(ImageryError, match="no token from") as caught:
        sign.Signer("http://127.0.0.1:9/?key=${SIGN_KEY}").sign("https://host/a.tif", "aerial")
    assert "private" not in str(caught.value)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stac")
    three_dates(folder)
    return folder


class Api:
    """A real STAC API on loopback."""

    def __init__(self, folder: Path, items: list[Json]) -> None:
        path = folder / "api.json"
        path.write_text(json.dumps({"type": "FeatureCollection", "features": items}))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        program = str(Path(sys.executable).with_name("rustac"))
        command = [program, "serve", "-a", f"127.0.0.1:{self.port}", "--create-collections"]
        self.process = subprocess.Popen(
            [*command, str(path)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self.url = f"http://127.0.0.1:{self.port}"
        self._await()

    def _await(self) -> None:
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise TimeoutError("the STAC API does not start")

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def api(files: Path) -> Iterator[Api]:
    if not Path(sys.executable).with_name("rustac").exists():
        pytest.skip("rustac is not installed")
    items = [json.loads(p.read_text()) for p in sorted((files / "items").glob("*.json"))]
    for one in items:
        one["assets"]["visual"]["href"] = (files / f"{one['id']}.tif").as_uri()
    far = Grid(CRS, LEFT + 80_000, TOP, 1.0, 40, 50)
    items.append(item("far", "file:///nowhere.tif", far, collection="other"))
    running = Api(files, items)
    yield running
    running.stop()


def test_an_api_is_searched(api: Api, files: Path) -> None:
    read = source(api.url)
    require_overlap(read, WINDOW)
    data = read.read(WINDOW)
    plain = source(str(files / "catalog.json")).read(WINDOW)
    np.testing.assert_array_equal(data.values, plain.values)
    np.testing.assert_array_equal(data.valid, plain.valid)
    assert [i.id for i in data.attrs["items"]] == ["c", "b"] and data.attrs["errors"] == ()
    assert "far" not in {scene.id for scene in read._known()}  # the box was asked for
    seen = {
        "a": {"datetime": "2021-01-01/2021-12-31"},
        "ca": {"max_cloud": 30},
        "cb": {"collections": ["aerial"]},
    }
    for ids, options in seen.items():
        found = source(api.url, **options).read(WINDOW).attrs["items"]
        assert [i.id for i in found] == list(ids), options
    limited = source(api.url, max_items=2)
    assert limited.covers(WINDOW) and len(limited._known()) == 2


def test_what_an_api_does_not_know(api: Api) -> None:
    with pytest.raises(ImageryError, match=r"no collection mars: it has aerial, other"):
        source(api.url, collections=["mars"]).covers(WINDOW)
    with pytest.raises(ImageryError, match="does not declare the query extension"):
        source(api.url, query={"eo:cloud_cover": {"lt": 30}}).covers(WINDOW)
    with pytest.raises(ImageryError, match="is outside the imagery"):
        require_overlap(source(api.url), Grid(CRS, LEFT, TOP + 900_000, 10.0, 9, 9))
    with pytest.raises(ImageryError, match="STAC catalog http") as caught:
        never = StacImagery(url=api.url).model_copy(update={"datetime": "yesterday"})
        StacSource(never).covers(WINDOW)
    assert "\n" not in str(caught.value)


def test_an_api_is_asked_once_for_an_area_and_may_then_be_gone(api: Api) -> None:
    read = source(api.url)
    area = Grid(CRS, LEFT, TOP, 10.0, 40, 50)
    require_overlap(read, area)
    api.stop()
    worker = pickle.loads(pickle.dumps(read))  # noqa: S301  (our own)
    assert worker.read(WINDOW).valid.values.all()
    worker.fingerprint(WINDOW)
    assert not worker.read(WINDOW.window(slice(60, 70), slice(0, 5))).valid.values.any()
    with pytest.raises(ImageryError, match=f"STAC catalog {api.url}: .*refused") as caught:
        worker.read(Grid(CRS, LEFT + 50_000, TOP, 1.0, 9, 9))
    assert "\n" not in str(caught.value)
    with pytest.raises(ImageryError, match="refused"):
        require_overlap(source(api.url), area)
