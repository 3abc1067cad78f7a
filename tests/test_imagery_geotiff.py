"""GeoTIFF mosaics: nothing is shifted, flipped or smeared, whatever the files look like."""

from __future__ import annotations

import datetime as dt
import http.server
import json
import os
import pickle
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp, Resampling
from rasterio.rpc import RPC
from rasterio.shutil import copy as copy_raster
from rasterio.transform import from_origin
from scipy.ndimage import minimum_filter

from geoloc.area import GeotiffImagery
from geoloc.domain import Grid
from geoloc.errors import ImageryError
from geoloc.imagery import open_source, require_overlap
from geoloc.imagery.geotiff import GeotiffSource, list_files

CRS = "EPSG:32636"
TWIN = "EPSG:25836"  # another CRS by name, the same place to a millimetre: GDAL's warper is used
LEFT, TOP = 400_000.0, 5_600_000.0
SHARED = Path(os.environ.get("GEOLOC_SHARED", Path(__file__).parents[2] / "shared"))


def write(path: Path, pixels: NDArray[Any], **profile: Any) -> Path:
    """A GeoTIFF of ``(band, y, x)``; by default 1 m pixels from (LEFT, TOP) in UTM."""
    left, top, gsd = (profile.pop(k, v) for k, v in (("left", LEFT), ("top", TOP), ("gsd", 1.0)))
    tags, mask = profile.pop("tags", {}), profile.pop("mask", None)
    kinds, colormap = profile.pop("colorinterp", None), profile.pop("colormap", None)
    options = {"driver": "GTiff", "crs": CRS, "transform": from_origin(left, top, gsd, gsd)}
    count, height, width = pixels.shape
    options |= {"count": count, "height": height, "width": width, "dtype": pixels.dtype} | profile
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "w", **options) as out:
        out.update_tags(**tags)
        if kinds:
            out.colorinterp = kinds
        out.write(pixels)
        if mask is not None:
            out.write_mask(mask)
        if colormap:
            out.write_colormap(1, colormap)
    return path


def ramp(x: NDArray[Any], y: NDArray[Any]) -> NDArray[np.float64]:
    """Colours ``(3, y, x)`` that grow to the east, to the south and askew: 3 levels a metre."""
    east, south = x - LEFT, TOP - y
    return np.stack([3 * east, 3 * south, 20 + east + 1.5 * south])


def ramp_file(path: Path, crs: str = CRS, **options: Any) -> Path:
    grid = Grid(crs, LEFT, TOP, 1.0, 80, 80)
    values = ramp(*np.meshgrid(grid.x, grid.y)).astype(np.float32)
    return write(path, values, crs=crs, **options)


def source_of(*paths: Path, **options: Any) -> GeotiffSource:
    source = open_source(GeotiffImagery(paths=[str(p) for p in paths], **options))
    assert isinstance(source, GeotiffSource)
    return source


def noise(seed: int, bands: int = 3, size: tuple[int, int] = (40, 50)) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(1, 256, (bands, *size), np.uint8)


WINDOW = Grid(CRS, LEFT, TOP, 1.0, 40, 50)


def test_the_files_own_lattice_gives_its_own_pixels(tmp_path: Path) -> None:
    pixels = noise(1)
    data = source_of(write(tmp_path / "a.tif", pixels)).read(WINDOW)
    np.testing.assert_array_equal(data.values, pixels)
    np.testing.assert_array_equal(data.x, WINDOW.x)
    np.testing.assert_array_equal(data.y, WINDOW.y)
    assert data.valid.values.all()
    assert data.attrs["crs"] == CRS and data.attrs["errors"] == ()
    assert [item.id for item in data.attrs["items"]] == ["a"]
    corner = source_of(tmp_path / "a.tif").read(WINDOW.window(slice(5, 9), slice(40, 50)))
    np.testing.assert_array_equal(corner.values, pixels[:, 5:9, 40:50])


@pytest.mark.parametrize("crs", [CRS, TWIN])
@pytest.mark.parametrize("step", [0.25, 0.7, 1.0, 1.6, 3.0, 6.5])
@pytest.mark.parametrize("offset", [(0.0, 0.0), (0.5, 0.25), (0.37, 0.81)])
def test_no_pixel_is_shifted(
    tmp_path: Path, step: float, offset: tuple[float, float], crs: str
) -> None:
    """A linear ramp survives: half a pixel would be 1.5 levels, a flip far more."""
    source = source_of(ramp_file(tmp_path / "a.tif", crs), scale=(0, 255))
    window = Grid(CRS, LEFT + 20 + offset[0], TOP - 8 - offset[1], step, 6, 5)
    error = source.read(window).values - ramp(*np.meshgrid(window.x, window.y))
    assert np.abs(error).max() <= 0.5 + 0.2  # rounding, and an edge pixel's own extent


@pytest.mark.parametrize("step", [0.5, 1.0, 2.5])
def test_no_pixel_is_shifted_between_utm_zones(tmp_path: Path, step: float) -> None:
    other = "EPSG:32635"
    source = source_of(ramp_file(tmp_path / "a.tif"), scale=(0, 255))
    x, y = Transformer.from_crs(CRS, other, always_xy=True).transform(LEFT + 40, TOP - 40)
    window = Grid(other, x - 8, y + 9, step, int(15 / step), int(14 / step))
    data = source.read(window)
    there = Transformer.from_crs(other, CRS, always_xy=True).transform(
        *np.meshgrid(window.x, window.y)
    )
    assert data.valid.values.all()
    assert np.abs(data.values - ramp(*there)).max() <= 1.0  # 3 levels a metre


@pytest.mark.parametrize(
    ("crs", "lon", "lat"),
    [("EPSG:2065", 15.0, 50.1), ("EPSG:31468", 15.0, 50.1), ("EPSG:31468", 11.5, 48.1),
     ("EPSG:28406", 31.0, 50.4), ("EPSG:2053", 28.5, -26.0)],
)  # fmt: skip
def test_the_shift_between_datums_is_that_of_every_other_place(
    tmp_path: Path, crs: str, lon: float, lat: float
) -> None:
    """PROJ says where each of the file's pixels lies; GDAL alone is up to 140 m off."""
    zone = f"EPSG:{(32600 if lat > 0 else 32700) + int((lon + 180) // 6) + 1}"
    x, y = np.round(Transformer.from_crs(4326, zone, always_xy=True).transform(lon, lat))
    left, top = np.round(Transformer.from_crs(zone, crs, always_xy=True).transform(x, y))
    grid = Grid(crs, left - 60, top + 60, 1.0, 120, 120)
    there = Transformer.from_crs(crs, zone, always_xy=True).transform(*np.meshgrid(grid.x, grid.y))
    values = np.stack([there[0] - x + 128, there[1] - y + 128, 0 * there[0]]).astype(np.float32)
    path = tmp_path / "a.tif"
    write(path, values, crs=crs, left=grid.left, top=grid.top)
    window = Grid(zone, x - 20, y + 20, 1.0, 40, 40)
    data = source_of(path, scale=(0, 255)).read(window)
    assert data.valid.values.all()
    east, north = np.meshgrid(window.x - x + 128, window.y - y + 128)
    assert np.abs(data.values[0] - east).max() <= 1.0
    assert np.abs(data.values[1] - north).max() <= 1.0


@pytest.mark.parametrize("step", [0.6, 1.0, 2.0, 3.7])
def test_both_ways_of_reading_agree(tmp_path: Path, step: float) -> None:
    """The separable resampling, and GDAL's warper that serves every other lattice."""
    source = with_holes("nodata", tmp_path / "a.tif", noise(9))
    here, twin = (
        source.read(Grid(crs, LEFT - 1.3, TOP + 2.4, step, int(45 / step), int(55 / step)))
        for crs in (CRS, TWIN)
    )
    both = here.valid.values & twin.valid.values
    assert both.sum() / (here.valid.values | twin.valid.values).sum() > 0.97
    inner = minimum_filter(
        both, 3, mode="constant"
    )  # at rims GDAL weighs a pixel's parts more roughly
    assert inner.sum() > 40
    assert np.abs(here.values.astype(int) - twin.values)[:, inner].max() <= 1


def test_coarse_windows_average_and_do_not_alias(tmp_path: Path) -> None:
    pixels = noise(2, size=(48, 60))
    data = source_of(write(tmp_path / "a.tif", pixels)).read(Grid(CRS, LEFT, TOP, 4.0, 12, 15))
    expected = pixels.reshape(3, 12, 4, 15, 4).mean(axis=(2, 4))
    assert np.abs(data.values - expected).max() <= 0.51


def test_badly_made_overviews_do_not_alias(tmp_path: Path) -> None:
    """Overviews by nearest neighbour are only used with averaging left to do."""
    path = write(tmp_path / "a.tif", noise(3, size=(256, 256)), tiled=True)
    window = Grid(CRS, LEFT, TOP, 8.0, 32, 32)
    plain = source_of(path).read(window).values.astype(int)
    with rasterio.open(path, "r+") as data:
        data.build_overviews([2, 4, 8], Resampling.nearest)
    source = source_of(path)
    assert source.files[0].overviews == (2, 4, 8)
    assert source.read(window).values.std() < 40 < noise(3).std()
    with rasterio.open(path, "r+") as data:
        data.build_overviews([2, 4, 8], Resampling.average)
    assert np.abs(source_of(path).read(window).values.astype(int) - plain).max() <= 2


def holes(pixels: NDArray[Any]) -> NDArray[np.bool_]:
    """An asymmetric pattern of pixels without data, one of them alone in the middle."""
    missing = np.zeros(pixels.shape[1:], bool)
    missing[:7, :11] = missing[20, 30] = True
    return missing


def with_holes(kind: str, path: Path, pixels: NDArray[np.uint8]) -> GeotiffSource:
    """The same picture with the same holes, told in another way."""
    missing = holes(pixels)
    present = np.where(missing, 0, 255).astype(np.uint8)
    punched = np.where(missing, 0, pixels)
    deep = punched.astype(np.uint16) * 100
    real = np.where(missing, np.nan, pixels).astype(np.float32)
    rgba = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha]
    match kind:
        case "nodata":
            return source_of(write(path, punched, nodata=0))
        case "nodata of the area file":
            return source_of(write(path, punched), nodata=0)
        case "mask":
            return source_of(write(path, pixels, mask=present))
        case "alpha":
            both = np.concatenate([pixels, present[None]])
            return source_of(write(path, both, colorinterp=rgba))
        case "uint16":
            return source_of(write(path, deep, nodata=0), scale=(0, 25500))
        case "nan":
            return source_of(write(path, real), scale=(0, 255))
        case _:
            return source_of(write(path, np.nan_to_num(real, nan=-9999), nodata=-9999),
                             scale=(0, 255))  # fmt: skip


KINDS = ["nodata", "nodata of the area file", "mask", "alpha", "uint16", "nan", "-9999"]


@pytest.mark.parametrize("kind", KINDS)
def test_missing_pixels_are_known_however_they_are_told(tmp_path: Path, kind: str) -> None:
    pixels = noise(4)
    data = with_holes(kind, tmp_path / "a.tif", pixels).read(WINDOW.pad(3))
    inner = (slice(3, -3), slice(3, -3))
    valid = data.valid.values
    np.testing.assert_array_equal(~valid[inner], holes(pixels))
    np.testing.assert_array_equal(data.values[:, *inner], np.where(holes(pixels), 0, pixels))
    assert valid.sum() == (~holes(pixels)).sum()
    assert not data.values[:, ~valid].any()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("step", [0.4, 1.0, 2.7])
@pytest.mark.parametrize("crs", [CRS, TWIN])
def test_missing_pixels_never_bleed(tmp_path: Path, kind: str, step: float, crs: str) -> None:
    """On a picture of one colour every valid pixel has that colour, at any resampling."""
    pixels = np.full((3, 40, 50), 200, np.uint8)
    window = Grid(crs, LEFT - 3.3, TOP + 2.2, step, int(46 / step), int(57 / step))
    data = with_holes(kind, tmp_path / "a.tif", pixels).read(window)
    valid = data.valid.values
    assert 0.6 < valid.mean() < 0.95
    assert (data.values[:, valid] == 200).all()
    assert (data.values[:, ~valid] == 0).all()


def test_black_is_a_colour_unless_all_bands_say_no_data(tmp_path: Path) -> None:
    pixels = noise(5)
    pixels[0, 3, 4] = 0
    pixels[:, 6, 7] = 0
    data = source_of(write(tmp_path / "a.tif", pixels, nodata=0)).read(WINDOW)
    assert np.argwhere(~data.valid.values).tolist() == [[6, 7]]
    assert data.values[:, 3, 4].tolist() == pixels[:, 3, 4].tolist()


def test_grey_is_given_thrice_and_bands_are_chosen(tmp_path: Path) -> None:
    grey = source_of(write(tmp_path / "grey.tif", noise(6, bands=1))).read(WINDOW)
    np.testing.assert_array_equal(grey.values, np.repeat(noise(6, bands=1), 3, axis=0))
    many = write(tmp_path / "many.tif", noise(7, bands=5))
    chosen = source_of(many, bands=(5, 1, 1)).read(WINDOW)
    np.testing.assert_array_equal(chosen.values, noise(7, bands=5)[[4, 0, 0]])
    with pytest.raises(ImageryError, match=r"has 5 bands.*\[6, 1, 1\]"):
        source_of(many, bands=(6, 1, 1)).read(WINDOW)


def test_palettes_become_colours(tmp_path: Path) -> None:
    index = np.random.default_rng(8).integers(0, 3, (1, 40, 50)).astype(np.uint8)
    colours = {0: (250, 10, 20, 255), 1: (0, 128, 64, 255), 2: (9, 8, 7, 255)}
    path = write(tmp_path / "a.tif", index, colormap=colours)
    expected = np.array([colours[i][:3] for i in range(3)], np.uint8)[index[0]].transpose(2, 0, 1)
    np.testing.assert_array_equal(source_of(path).read(WINDOW).values, expected)


def test_deep_values_are_stretched_and_clipped(tmp_path: Path) -> None:
    deep = np.zeros((3, 40, 50), np.uint16)
    deep[:, :, 10:20], deep[:, :, 20:] = 1600, 60_000
    path = write(tmp_path / "a.tif", deep)
    values = source_of(path, scale=(100, 3100)).read(WINDOW).values[0, 0]
    assert values[[0, 15, 40]].tolist() == [0, 128, 255]
    with pytest.raises(ImageryError, match=r"is uint16: .*scale"):
        source_of(path).read(WINDOW)


def test_files_are_mosaicked_and_holes_filled_from_below(tmp_path: Path) -> None:
    below, above = noise(10), noise(11)
    punched = np.where(holes(above), 0, above)
    paths = (
        write(tmp_path / "b.tif", punched[:, :, :30], nodata=0),
        write(tmp_path / "a.tif", below),
        write(tmp_path / "far.tif", noise(12), left=LEFT + 500),
    )
    data = source_of(*paths).read(WINDOW)
    expected = below.copy()
    seen = ~holes(above)[:, :30]
    expected[:, :, :30][:, seen] = above[:, :, :30][:, seen]
    np.testing.assert_array_equal(data.values, expected)
    assert [item.id for item in data.attrs["items"]] == ["b", "a"]
    assert data.valid.values.all()


def dated(path: Path, seed: int, when: str | None) -> Path:
    return write(path, noise(seed), tags={"TIFFTAG_DATETIME": when} if when else {})


def test_the_newest_wins_unless_the_list_does(tmp_path: Path) -> None:
    paths = (
        dated(tmp_path / "undated.tif", 1, None),
        dated(tmp_path / "old.tif", 2, "2019:05:01 10:00:00"),
        dated(tmp_path / "new.tif", 3, "2022:03:04 11:30:00"),
    )
    data = source_of(*paths).read(WINDOW)
    np.testing.assert_array_equal(data.values, noise(3))
    assert data.attrs["items"][0].datetime == dt.datetime(2022, 3, 4, 11, 30, tzinfo=dt.UTC)
    np.testing.assert_array_equal(source_of(*paths, order="listed").read(WINDOW), noise(1))
    assert [f.id for f in source_of(*paths).files] == ["new", "old", "undated"]


def test_a_stac_item_beside_a_file_tells_its_time(tmp_path: Path) -> None:
    path = dated(tmp_path / "a.tif", 1, "2030:01:01 00:00:00")
    item = {"type": "Feature", "properties": {"datetime": "2022-03-04T12:30:00+02:00"}}
    (tmp_path / "a.json").write_text(json.dumps(item))
    when = source_of(path).files[0].datetime
    assert when == dt.datetime(2022, 3, 4, 10, 30, tzinfo=dt.UTC)
    (tmp_path / "a.json").write_text('["another", "json"]')
    assert source_of(path).files[0].datetime == dt.datetime(2030, 1, 1, tzinfo=dt.UTC)


def truncated(path: Path, pixels: NDArray[np.uint8], share: float = 0.5, **options: Any) -> Path:
    """A COG cut short, as an interrupted download leaves it: the header is sound."""
    whole = write(path.with_suffix(".whole"), pixels, **options)
    copy_raster(whole, path, driver="COG", compress="DEFLATE", blocksize=128)
    whole.unlink()
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    return path


def test_a_truncated_file_leaves_a_hole_and_an_error(tmp_path: Path) -> None:
    good = write(tmp_path / "good.tif", noise(1, size=(300, 100)))
    bad = truncated(tmp_path / "bad.tif", noise(2, size=(300, 300)), left=LEFT + 100)
    whole = Grid(CRS, LEFT, TOP, 1.0, 300, 400)
    data = source_of(good, bad).read(whole)
    np.testing.assert_array_equal(data.values[:, :, :100], noise(1, size=(300, 100)))
    assert data.valid.values[:, :100].all() and not data.valid.values[:, 100:].any()
    assert not data.values[:, :, 100:].any()
    (error,) = data.attrs["errors"]
    assert "bad.tif" in error and "\n" not in error
    beside = source_of(good, bad).read(whole.window(slice(0, 300), slice(0, 90)))
    assert beside.attrs["errors"] == ()


def test_what_a_broken_file_hides_is_filled_by_the_next(tmp_path: Path) -> None:
    bad = truncated(tmp_path / "bad.tif", noise(2, size=(300, 300)))
    good = write(tmp_path / "good.tif", noise(1, size=(300, 300)))
    data = source_of(bad, good).read(Grid(CRS, LEFT, TOP, 1.0, 300, 300))
    np.testing.assert_array_equal(data.values, noise(1, size=(300, 300)))
    assert len(data.attrs["errors"]) == 1


@pytest.mark.parametrize("content", [b"", b"not an image", None])
def test_files_without_a_header_are_reported_where_pixels_miss(
    tmp_path: Path, content: bytes | None
) -> None:
    bad = tmp_path / "bad.tif"
    if content is not None:
        bad.write_bytes(content)
    source = source_of(write(tmp_path / "good.tif", noise(1)), bad)
    assert source.read(WINDOW).attrs["errors"] == ()
    (error,) = source.read(WINDOW.pad(2)).attrs["errors"]
    assert "bad.tif" in error
    far = Grid(CRS, LEFT + 9000, TOP, 1.0, 10, 10)
    assert source.covers(far), "the unreadable file may lie there"
    with pytest.raises(ImageryError, match="is outside the imagery"):
        require_overlap(source, far)
    with pytest.raises(
        ImageryError, match=r"none of 1 imagery files can be read; first: .*bad.tif"
    ):
        source_of(bad).read(WINDOW)


@pytest.mark.parametrize("fault", [{"crs": None}, {"transform": rasterio.Affine.identity()}])
def test_files_without_georeference_are_reported(tmp_path: Path, fault: dict[str, Any]) -> None:
    path = write(tmp_path / "a.tif", noise(1), **fault)
    with pytest.raises(ImageryError, match=r"has no CRS|is not georeferenced"):
        source_of(path).bounds(CRS)


LOCAL = 'LOCAL_CS["of a drone",UNIT["metre",1]]'
MOON = (
    'GEOGCS["Moon 2000",DATUM["D_Moon",SPHEROID["Moon",1737400,0]],PRIMEM["Meridian",0],'
    'UNIT["Degree",0.0174532925199433]]'
)


def without_place(kind: str, path: Path) -> Path:
    """A file that has no usable place on the Earth."""
    if kind in ("local", "moon"):
        crs = rasterio.crs.CRS.from_wkt(LOCAL if kind == "local" else MOON)
        return write(path, noise(3), crs=crs)
    if kind == "no crs":
        return write(path, noise(3), crs=None)
    if kind == "metres as degrees":
        return write(path, noise(3), crs="EPSG:4326")
    write(path, noise(3), crs=None, transform=None)
    with rasterio.open(path, "r+") as data:
        if kind == "control points":
            corners = [(0, 0), (0, 50), (40, 0), (40, 50)]
            points = [GroundControlPoint(r, c, LEFT + c, TOP - r) for r, c in corners]
            data.gcps = points, rasterio.crs.CRS.from_string(CRS)
        elif kind == "rpc":
            ones = [1.0] * 20
            data.rpcs = RPC(100, 50, 50, 1, ones, ones, 30, 1, 20, 1, ones, ones, 25, 1)
        else:
            data.update_tags(ns="GEOLOCATION", X_DATASET="x.tif", Y_DATASET="y.tif")
    return path


@pytest.mark.parametrize(
    ("kind", "advice"),
    [
        ("local", "has a CRS that is not on the Earth, local 'of a drone': assign the one"),
        ("moon", "has a CRS that is not on the Earth, 'Moon 2000'"),
        ("no crs", "has no CRS: assign the one it was made in, with rio edit-info --crs"),
        ("metres as degrees", "begins at 400000, 5600000, which is outside its CRS EPSG:4326"),
        ("control points", "ground control points only (4): rectify it, with gdalwarp -tps -t_srs "
         "EPSG:32636"),
        ("rpc", "rational polynomial coefficients (RPC) only: orthorectify it with a height model"),
        ("arrays", "arrays of longitude and latitude only: rectify it, with gdalwarp -geoloc"),
    ],
)  # fmt: skip
def test_a_file_without_a_place_is_a_gap_with_advice(
    tmp_path: Path, kind: str, advice: str
) -> None:
    odd = without_place(kind, tmp_path / "odd.tif")
    source = source_of(write(tmp_path / "good.tif", noise(1)), odd)
    require_overlap(source, WINDOW)
    np.testing.assert_array_equal(source.read(WINDOW).values, noise(1))
    (line,) = source.unreadable
    assert "odd.tif" in line and advice in line and "\n" not in line
    assert source.read(WINDOW.pad(2)).attrs["errors"] == (line,)
    with pytest.raises(ImageryError) as caught:
        source_of(odd).read(WINDOW)
    assert "none of 1 imagery files can be read" in str(caught.value)
    assert advice in str(caught.value)


def test_paths_that_match_nothing(tmp_path: Path) -> None:
    with pytest.raises(ImageryError, match="no file matches"):
        source_of(tmp_path / "*.tif")
    with pytest.raises(ImageryError, match=r"is a folder: write .*/\*\.tif"):
        source_of(tmp_path)


def test_globs_are_sorted_and_no_file_counts_twice(tmp_path: Path) -> None:
    for name in ("b.tif", "a.tif", "[c].tif"):
        write(tmp_path / name, noise(1))
    source = source_of(tmp_path / "*.tif", tmp_path / "a.tif", tmp_path / "[c].tif")
    assert [f.id for f in source.files] == ["[c]", "a", "b"]


def test_an_area_outside_is_refused(tmp_path: Path) -> None:
    source = source_of(write(tmp_path / "a.tif", noise(1)))
    require_overlap(source, WINDOW)
    with pytest.raises(ImageryError, match=r"400000, 5599960, 400050, 5600000"):
        require_overlap(source, Grid(CRS, 0.0, 0.0, 10.0, 10, 10))


def test_gsd_is_measured_on_the_ground(tmp_path: Path) -> None:
    assert source_of(write(tmp_path / "a.tif", noise(1))).gsd == pytest.approx(1.0, rel=2e-3)
    mercator = write(tmp_path / "b.tif", noise(1), crs="EPSG:3857", left=3.3e6, top=6.5e6, gsd=1.0)
    lat = Transformer.from_crs("EPSG:3857", "EPSG:4326").transform(3.3e6, 6.5e6)[0]
    assert source_of(mercator).gsd == pytest.approx(np.cos(np.deg2rad(lat)), rel=5e-3)
    degrees = write(tmp_path / "c.tif", noise(1), crs="EPSG:4326", left=30, top=0.001, gsd=1e-5)
    assert source_of(degrees).gsd == pytest.approx(1.11, rel=1e-2)


def test_the_fingerprint_follows_the_files_that_touch_the_window(tmp_path: Path) -> None:
    first = write(tmp_path / "a.tif", noise(1))
    second = write(tmp_path / "b.tif", noise(2), left=LEFT + 100)
    there = Grid(CRS, LEFT + 100, TOP, 1.0, 40, 50)
    source = source_of(first, second)
    before = source.fingerprint(WINDOW), source.fingerprint(there)
    assert before == (source.fingerprint(WINDOW), source.fingerprint(there))
    assert before[0] != before[1]
    write(tmp_path / "b.tif", noise(3), left=LEFT + 100)
    os.utime(second, (1, 1))
    assert source_of(first, second).fingerprint(WINDOW) == before[0]
    assert source_of(first, second).fingerprint(there) != before[1]
    assert source_of(first, second, order="listed").fingerprint(WINDOW) != before[0]


def test_a_vrt_is_as_old_as_what_it_is_made_of(tmp_path: Path) -> None:
    part = write(tmp_path / "a.tif", noise(1))
    copy_raster(part, tmp_path / "all.vrt", driver="VRT")
    source = source_of(tmp_path / "all.vrt")
    np.testing.assert_array_equal(source.read(WINDOW).values, noise(1))
    before = source.fingerprint(WINDOW)
    os.utime(part, (1, 1))
    assert source.fingerprint(WINDOW) != before


def test_sources_travel_to_other_processes_and_serve_many_threads(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{i}.tif", noise(i), left=LEFT + 10 * i) for i in range(4)]
    source = source_of(*paths, order="listed")
    packed = pickle.dumps(source)
    fresh = pickle.loads(packed)  # noqa: S301  (our own)
    expected = source.read(WINDOW.pad(5)).values
    with ThreadPoolExecutor(4) as pool:
        for data in pool.map(fresh.read, [WINDOW.pad(5)] * 12):
            np.testing.assert_array_equal(data.values, expected)


class _Ranges(http.server.SimpleHTTPRequestHandler):
    """A file server that answers byte ranges, as object stores do."""

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def _answer(self, body: bool) -> None:
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            return self.send_error(404)
        content, wanted = path.read_bytes(), self.headers.get("Range")
        start, stop = 0, len(content)
        if wanted:
            first, last = wanted.removeprefix("bytes=").split("-")
            start, stop = int(first), min(int(last or stop) + 1, stop)
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(stop - start))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", f'"{path.stat().st_mtime_ns}"')
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(content)}")
        self.end_headers()
        if body:
            self.wfile.write(content[start:stop])
        return None

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    def handler(*args: Any) -> _Ranges:
        return _Ranges(*args, directory=str(tmp_path))

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{listening.server_port}"
        listening.shutdown()


def test_urls_are_read_and_their_versions_asked(tmp_path: Path, server: str) -> None:
    path = write(tmp_path / "a.tif", noise(1))
    spec = GeotiffImagery(paths=[f"{server}/a.tif", f"{server}/missing.tif"])
    source = open_source(spec)
    data = source.read(WINDOW)
    np.testing.assert_array_equal(data.values, noise(1))
    assert data.attrs["items"][0].id == "a"
    assert len(source.read(WINDOW.pad(1)).attrs["errors"]) == 1
    before = source.fingerprint(WINDOW)
    assert open_source(spec).fingerprint(WINDOW) == before
    os.utime(path, (1, 1))
    assert open_source(spec).fingerprint(WINDOW) != before


def test_what_this_process_has_read_of_a_changed_file_is_forgotten(
    tmp_path: Path, server: str
) -> None:
    """As in a cluster's worker that reads the same address for weeks."""
    spec = GeotiffImagery(paths=[f"{server}/a.tif"])
    for seed in (1, 2, 3, 1):
        write(tmp_path / "a.tif", noise(seed))
        np.testing.assert_array_equal(open_source(spec).read(WINDOW).values, noise(seed))


def test_keys_come_from_the_environment_and_never_show(
    tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "a.tif", noise(1))
    spec = GeotiffImagery(paths=[server + f"/{name}.tif?x=${{TIFF_KEY}}" for name in "ab"])
    with pytest.raises(ImageryError, match=r"\$\{TIFF_KEY\} is not set in the environment: export"):
        open_source(spec)
    monkeypatch.setenv("TIFF_KEY", "s3cret")
    source = open_source(spec)
    data = source.read(WINDOW)
    np.testing.assert_array_equal(data.values, noise(1))
    assert data.attrs["items"][0].href == spec.paths[0]
    (error,) = source.read(WINDOW.pad(1)).attrs["errors"]
    assert "/b.tif?x=${TIFF_KEY}" in error and "404" in error
    with pytest.raises(ImageryError, match=r"none of 1 .*b\.tif") as caught:
        open_source(GeotiffImagery(paths=spec.paths[1:])).read(WINDOW)
    monkeypatch.setenv("TIFF_KEY", "renewed")
    assert open_source(spec).fingerprint(WINDOW) == source.fingerprint(WINDOW)
    shown = f"{error}{caught.value}{data.attrs}{pickle.dumps(source)!r}{spec.recorded()}"
    assert "s3cret" not in shown


def test_a_variable_in_a_path_on_disk_is_its_name(tmp_path: Path) -> None:
    path = write(tmp_path / "${HOME}.tif", noise(1))
    np.testing.assert_array_equal(source_of(path).read(WINDOW).values, noise(1))


def test_a_real_town() -> None:
    path = SHARED / "data/town/town_0.5m_epsg3857.tif"
    if not path.exists():
        pytest.skip(f"no real town at {path}")
    source = source_of(path)
    assert source.gsd == pytest.approx(0.51, abs=0.01)
    with rasterio.open(path) as data:
        gsd, left, top = data.transform.a, data.transform.c, data.transform.f
        expected = data.read(window=((2000, 2100), (3000, 3120)))
    window = Grid("EPSG:3857", left + 3000 * gsd, top - 2000 * gsd, gsd, 100, 120)
    np.testing.assert_array_equal(source.read(window).values, expected)
    margin = source.read(Grid("EPSG:3857", left - 600, top + 600, 8.0, 850, 1000))
    assert 0.3 < margin.valid.values.mean() < 0.95
    assert margin.values[:, margin.valid.values].max(axis=0).min() > 0


@pytest.mark.parametrize(
    "folder", ["set [2024]", "[a]", "a*b?", "x [1]/y [2]", "plain/[!x]", "[[]", "a]b["]
)
@pytest.mark.parametrize("pattern", ["*.tif", "t [1]/*.tif", "t [1]/x [9].tif", "**/x*.tif"])
def test_folders_whose_names_look_like_patterns(tmp_path: Path, folder: str, pattern: str) -> None:
    base = tmp_path / folder
    (base / "t [1]").mkdir(parents=True)
    inside = "t [1]" in pattern or "**" in pattern
    path = write((base / "t [1]" if inside else base) / "x [9].tif", noise(1))
    assert list_files([str(base / pattern)]) == [str(path)]
    (tmp_path / "set 2").mkdir()
    (tmp_path / "set 2" / "x.tif").write_text("not meant")  # though set [2024] matches its name
    resolved = GeotiffImagery(paths=[pattern]).resolve(base)
    assert list_files(resolved.paths) == [str(path)]
    assert resolved.resolve(tmp_path) == resolved


def test_a_pattern_comes_before_a_name_that_looks_like_one(tmp_path: Path) -> None:
    for name in ("a1", "a2", "a[12]"):
        (tmp_path / name).mkdir()
        write(tmp_path / name / "x.tif", noise(1))
    both = [str(tmp_path / name / "x.tif") for name in ("a1", "a2")]
    assert list_files([str(tmp_path / "a[12]" / "*.tif")]) == both
    # but of the folder that an area file lies in, there is no doubt
    inside = GeotiffImagery(paths=["*.tif"]).resolve(tmp_path / "a[12]")
    assert list_files(inside.paths) == [str(tmp_path / "a[12]" / "x.tif")]
    with pytest.raises(ImageryError, match="no file matches"):
        list_files([str(tmp_path / "a[12]" / "*.jp2")])
