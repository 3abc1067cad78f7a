"""Where an image is, is asked of the image: no file that holds pixels is missed, wherever it lies.

Every file shows one smooth world: what a window shows is known from its pixels' longitude and
latitude alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from rasterio.transform import Affine

from geoloc.domain import Grid
from geoloc.imagery import require_overlap
from geoloc.imagery.placing import Places, mesh_of, part_of

from .test_imagery_geotiff import source_of, write

GEOS = "+proj=geos +h=35785831 +lon_0=0 +sweep=y +ellps=GRS80 +units=m +type=crs"
GEOS180 = "+proj=geos +h=35785831 +lon_0=180 +sweep=y +ellps=GRS80 +units=m +type=crs"
MOLLWEIDE = "+proj=moll +lon_0=0 +datum=WGS84 +units=m +type=crs"
NAD27 = "EPSG:4267"
FLAT = "EPSG:4087"  # equidistant cylindrical
SIDE = 40


def lonlat(crs: str, x: NDArray[Any], y: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    lon, lat = Transformer.from_crs(crs, "EPSG:4326", always_xy=True).transform(x, y)
    return np.asarray(lon), np.asarray(lat)


def world(lon: NDArray[Any], lat: NDArray[Any]) -> NDArray[np.float64]:
    """Colours ``(3, y, x)`` of places: smooth, of no symmetry, the same at both ends."""
    a, b = np.radians(lon), np.radians(lat)
    east, north, up = np.cos(b) * np.cos(a - 0.4), np.cos(b) * np.sin(a - 0.4), np.sin(b)
    return 128 + 100 * np.stack([np.sin(2 * east + up), np.sin(3 * north), np.cos(2 * up + north)])


@dataclass(frozen=True)
class Case:
    """A file of the world, and the window's middle."""

    crs: str
    transform: Affine
    shape: tuple[int, int]
    window: str
    lon: float
    lat: float
    step: float

    def file(self, folder: Path) -> Path:
        height, width = self.shape
        cols, rows = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
        lon, lat = lonlat(self.crs, *(self.transform @ (cols, rows)))
        known = np.isfinite(lon) & np.isfinite(lat)
        pixels = np.where(
            known, np.rint(world(np.where(known, lon, 0), np.where(known, lat, 0))), 0
        )
        return write(
            folder / "a.tif",
            pixels.astype(np.uint8),
            crs=self.crs,
            transform=self.transform,
            nodata=0,
        )

    @property
    def grid(self) -> Grid:
        to = Transformer.from_crs("EPSG:4326", self.window, always_xy=True)
        x, y = to.transform(self.lon, self.lat)
        half = SIDE // 2 * self.step
        return Grid(self.window, round(x) - half, round(y) + half, self.step, SIDE, SIDE)

    @property
    def wanted(self) -> NDArray[np.float64]:
        return world(*lonlat(self.window, *np.meshgrid(self.grid.x, self.grid.y)))


def degrees(west: float, north: float, size: float, ny: int, nx: int) -> tuple[Any, ...]:
    return "EPSG:4326", Affine(size, 0, west, 0, -size, north), (ny, nx)


def square(crs: str, left: float, top: float, size: float, n: int) -> tuple[Any, ...]:
    return crs, Affine(size, 0, left, 0, -size, top), (n, n)


def turned(crs: str, left: float, top: float, size: float, n: int) -> tuple[Any, ...]:
    return (
        crs,
        Affine.translation(left, top) @ Affine.rotation(-33) @ Affine.scale(size, -size),
        (n, n),
    )


MERC, UTM1, UTM60, UTM36, POLE, SOUTH = (
    "EPSG:3857", "EPSG:32601", "EPSG:32660", "EPSG:32636", "EPSG:3413", "EPSG:3031"
)  # fmt: skip
X180 = math.pi * 6378137
CASES = {
    "world": Case(*degrees(-180, 90, 1, 180, 360), UTM36, 31, 50, 9000),
    "world, from 0": Case(*degrees(0, 90, 1, 180, 360), UTM36, 31, 50, 9000),
    "world, from 0, in the west": Case(*degrees(0, 90, 1, 180, 360), "EPSG:32618", -75, 40, 9000),
    "world, from 0, at Greenwich": Case(*degrees(0, 90, 1, 180, 360), "EPSG:32631", 0, 45, 9000),
    "world, at 180": Case(*degrees(-180, 90, 1, 180, 360), UTM1, 180, 60, 9000),
    "world, at 180, zone 60": Case(*degrees(-180, 90, 1, 180, 360), UTM60, 180, -20, 9000),
    "170 to 190": Case(*degrees(170, 65, 0.05, 200, 400), UTM1, 180, 60, 2000),
    "170 to 190, east": Case(*degrees(170, 65, 0.05, 200, 400), UTM1, -175, 60, 2000),
    "-190 to -170": Case(*degrees(-190, 65, 0.05, 200, 400), UTM60, 180, 60, 2000),
    "-190 to -170, west": Case(*degrees(-190, 65, 0.05, 200, 400), UTM60, 175, 60, 2000),
    "530 to 550": Case(*degrees(530, 65, 0.05, 200, 400), UTM60, 175, 60, 2000),
    "NAD27 across 180": Case(
        NAD27, Affine(0.01, 0, 178, 0, -0.01, 53), (200, 400), UTM1, 180, 52, 1000
    ),
    "zone 60 at 180": Case(*square(UTM60, 600e3, 6800e3, 1000, 300), UTM1, 180, 60, 1000),
    "zone 1 from zone 60": Case(*square(UTM1, 300e3, 6800e3, 1000, 300), UTM60, -179, 60, 1000),
    "Mercator across 180": Case(*square(MERC, X180 - 1e6, 9e6, 5000, 400), UTM1, 180, 60, 2500),
    "Mercator to 180": Case(*square(MERC, -X180, X180, X180 / 200, 400), UTM1, 180, 60, 20000),
    "flat map across 180": Case(*square(FLAT, X180 - 1e6, 7.5e6, 5000, 400), UTM1, 180, 60, 2500),
    "the Earth's disc": Case(*square(GEOS, -5.57e6, 5.57e6, 24e3, 464), "EPSG:32633", 15, 45, 9000),
    "the disc's rim": Case(*square(GEOS, -5.57e6, 5.57e6, 12e3, 928), UTM36, 33, 62, 9000),
    "a disc over 180": Case(*square(GEOS180, -5.57e6, 5.57e6, 24e3, 464), UTM1, 180, -20, 9000),
    "Mollweide": Case(*square(MOLLWEIDE, -1.81e7, 1.81e7, 6e4, 604), UTM36, 31, 50, 9000),
    "around the pole": Case(*square(POLE, -3e6, 3e6, 12e3, 500), "EPSG:32633", 15, 78, 9000),
    "the pole, of degrees": Case(*degrees(-180, 90, 0.5, 360, 720), POLE, 0, 90, 30000),
    "the pole, of degrees from 0": Case(*degrees(0, 90, 0.5, 360, 720), POLE, 0, 90, 30000),
    "beside the pole": Case(*degrees(-180, 90, 0.5, 360, 720), POLE, 100, 87, 10000),
    "the south pole": Case(*degrees(0, -60, 0.5, 60, 720), SOUTH, 0, -90, 30000),
    "turned": Case(*turned(UTM36, 300e3, 5.5e6, 500, 400), "EPSG:32635", 31.4, 48.6, 500),
    "turned, of its own zone": Case(*turned(UTM36, 300e3, 5.5e6, 500, 400), UTM36, 31.4, 48.6, 500),
    "south up": Case(UTM36, Affine(500, 0, 3e5, 0, 500, 5.5e6), (400, 400), UTM36, 31.4, 50.5, 500),
    "south up, in degrees": Case(
        "EPSG:4326", Affine(1, 0, -180, 0, 1, -90), (180, 360), UTM1, 180, 50, 9000
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_every_pixel_is_found_wherever_the_file_lies(tmp_path: Path, case: Case) -> None:
    source = source_of(case.file(tmp_path))
    require_overlap(source, case.grid)
    data = source.read(case.grid)
    assert data.attrs["errors"] == ()
    assert data.valid.values.mean() == 1
    np.testing.assert_allclose(data.values, case.wanted, atol=3.5)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_coarse_windows_too(tmp_path: Path, case: Case) -> None:
    """Other resampling, and pixels that lie on both sides of a seam."""
    x, y = case.grid.center(SIDE // 2, SIDE // 2)
    step = case.step * 6
    window = Grid(case.window, x - 3 * step, y + 3 * step, step, 6, 6)
    data = source_of(case.file(tmp_path)).read(window)
    wanted = world(*lonlat(case.window, *np.meshgrid(window.x, window.y)))
    there = data.valid.values
    assert there.mean() > 0.7
    # GDAL's averages are rough where a pixel touches a pole
    assert np.abs(data.values - wanted)[:, there].max() < (30 if abs(case.lat) == 90 else 10)


def test_nothing_is_found_elsewhere(tmp_path: Path) -> None:
    source = source_of(CASES["170 to 190"].file(tmp_path))
    for zone, lon in (("EPSG:32636", 33), ("EPSG:32601", -166), ("EPSG:32659", 168)):
        x, y = Transformer.from_crs("EPSG:4326", zone, always_xy=True).transform(lon, 60)
        window = Grid(zone, x - 5000, y + 5000, 100, 100, 100)
        assert not source.covers(window)
        assert not source.read(window).valid.values.any()


@dataclass(frozen=True)
class Box:
    crs: str
    box: tuple[float, float, float, float]


@settings(max_examples=80, deadline=None)
@given(
    lon=st.floats(-180, 180),
    lat=st.floats(-83, 83),
    size=st.sampled_from([0.001, 0.3, 20.0]),
    turns=st.integers(-1, 1),
    step=st.sampled_from([1.0, 50.0, 900.0]),
    x=st.floats(0, 1),
    y=st.floats(0, 1),
)
def test_no_box_excludes_what_lies_in_it(
    lon: float, lat: float, size: float, turns: int, step: float, x: float, y: float
) -> None:
    """A window that has a place of the image in it is never said to be beside it."""
    zone = f"EPSG:{(32700 if lat < 0 else 32600) + int((lon + 180) // 6) % 60 + 1}"
    east, north = Transformer.from_crs("EPSG:4326", zone, always_xy=True).transform(lon, lat)
    window = Grid(zone, east - x * 100 * step, north + y * 100 * step, step, 100, 100)
    west = lon - size * x + 360 * turns
    image = Box("EPSG:4326", (west, lat - size * y, west + size, lat - size * y + size))
    part = part_of(image, window)
    assert part is not None
    row, col = (min(int(share * 100), 99) for share in (y, x))
    assert part[0].start <= row < part[0].stop and part[1].start <= col < part[1].stop
    assert Places([image]).touching(window) == [(0, part)]


def test_a_window_is_mapped_once_for_all_images() -> None:
    window = Grid(UTM36, 4e5, 5.6e6, 10.0, 256, 256)
    assert mesh_of(window, "EPSG:4326") is mesh_of(Grid(*vars(window).values()), "EPSG:4326")
    images = [Box("EPSG:4326", (30 + n, 50, 31 + n, 51)) for n in range(-5, 5)]
    assert [index for index, _ in Places(images).touching(window)] == [
        i for i, image in enumerate(images) if part_of(image, window)
    ]


def test_the_files_of_a_window_are_found_among_those_of_a_country() -> None:
    """In two zones, whose coordinates are alike: each window finds its own."""
    images = [
        Box(crs, (x, y, x + 10e3, y + 10e3))
        for crs in ("EPSG:32635", UTM36)
        for x in np.arange(200e3, 450e3, 10e3)
        for y in np.arange(5.5e6, 5.7e6, 10e3)
    ]
    window = Grid(UTM36, 305e3, 5_605e3, 100.0, 100, 100)
    found = [images[index] for index, _ in Places(images).touching(window)]
    own = {image.box[:2] for image in found if image.crs == UTM36}
    assert own == {(x, y) for x in (300e3, 310e3) for y in (5_590e3, 5_600e3)}
    assert len(found) == len(own)  # the other zone's lie 400 km to the west


def test_crs_of_no_code_work() -> None:
    assert CRS(GEOS).to_epsg() is None
    assert part_of(Box(CRS(GEOS).to_wkt(), (0, 0, 1e5, 1e5)), CASES["world"].grid) is None
