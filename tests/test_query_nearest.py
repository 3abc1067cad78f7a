"""The point of a cube of points that stands for a place."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pyproj import Geod

from geoloc.cube import Cube
from geoloc.domain import Points
from geoloc.errors import CubeError, UsageError
from geoloc.query import describe_place
from geoloc.query.coordinates import Place
from geoloc.query.nearest import nearest_known, shows
from tests.encoder_models import CLASSES
from tests.point_place import write_point_cube
from tests.test_cli import Run, run

__all__ = ["run"]  # the fixture

COUNT = 300
MISSING = 17


def lonlat() -> NDArray[np.float64]:
    """About 300 m apart, and on both sides of 180 degrees."""
    rng = np.random.default_rng(3)
    lon = rng.uniform(179.97, 180.03, COUNT)
    return np.stack([(lon + 180) % 360 - 180, rng.uniform(-17.02, -16.99, COUNT)], axis=1)


@pytest.fixture(scope="module")
def cube(tmp_path_factory: pytest.TempPathFactory) -> Cube:
    """Of each point one class stands out, by its place."""
    features = np.zeros((COUNT, len(CLASSES)), np.float32)
    features[np.arange(COUNT), np.arange(COUNT) % len(CLASSES)] = 9
    features[MISSING] = np.nan
    url = tmp_path_factory.mktemp("near") / "cube.zarr"
    return write_point_cube(url, Points("EPSG:4326", lonlat()), features, size=64)


def by_definition(place: Place, but: int = -1) -> tuple[int, float]:
    away = np.array([
        Geod(ellps="WGS84").inv(place.lon, place.lat, lon, lat)[2] for lon, lat in lonlat().tolist()
    ])  # fmt: skip
    if but >= 0:
        away[but] = np.inf
    return int(away.argmin()), float(away.min())


def test_the_nearest_point_is_that_of_the_definition(cube: Cube) -> None:
    rng = np.random.default_rng(8)
    for east in rng.uniform(-0.03, 0.03, 40).tolist():
        place = Place(
            lat=float(rng.uniform(-17.02, -16.99)), lon=east + (180 if east < 0 else -180)
        )
        point, vector, told = nearest_known(cube, place)
        index, metres = by_definition(place, but=MISSING)
        assert point.index == index and point.metres == pytest.approx(metres, abs=1e-6)
        assert f"is {metres:,.0f} m from {place}" in told
        assert CLASSES[int(vector.argmax())] == CLASSES[index % len(CLASSES)]


def test_a_point_without_imagery_gives_way_to_the_next(cube: Cube) -> None:
    lon, lat = lonlat()[MISSING].tolist()
    point, _, _ = nearest_known(cube, Place(lat=lat, lon=lon))
    assert point.index == by_definition(Place(lat=lat, lon=lon), but=MISSING)[0] != MISSING


def test_the_order_that_has_a_point_near_it_counts(cube: Cube) -> None:
    lon, lat = lonlat()[5].tolist()
    point, _, told = nearest_known(cube, f"{lat:.7f},{lon:.7f}")
    assert point.index == 5 and "longitude first" not in told
    east = lonlat()[lonlat()[:, 0] > 0]
    lon, lat = east[0].tolist()
    _, _, told = nearest_known(cube, f"{lon:.7f},{lat:.7f}")  # 180 is no latitude
    assert "longitude first" not in told


def test_far_away_and_without_imagery_are_refused(cube: Cube, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"is [\d.]+ km from lat -17, lon 179, .* more than 1 km"):
        nearest_known(cube, "-17,179")
    features = np.full((2, len(CLASSES)), np.nan, np.float32)
    features[1] = 1
    apart = Points("EPSG:4326", np.array([[10.0, 50.0], [10.0, 51.0]]))
    bare = write_point_cube(tmp_path / "c.zarr", apart, features)
    with pytest.raises(CubeError, match="has no imagery at its points near lat 50"):
        nearest_known(bare, "50,10.0001")


def test_points_in_metres_and_how_wide_the_imagery_is(tmp_path: Path) -> None:
    xy = np.array([[400_000.0, 5_500_000.0], [401_500.0, 5_500_400.0]])
    features = np.eye(2, len(CLASSES), dtype=np.float32)
    cube = write_point_cube(tmp_path / "c.zarr", Points("EPSG:32636", xy), features)
    at = Place(lat=49.6493, lon=31.6335)
    point, _, told = nearest_known(cube, at)
    assert point.index == 1 and "does not show" not in told and shows(cube, point)
    cube.spec.encoding.update(patch_px=64, gsd=1.0)
    assert "64 m wide and does not show the place" in nearest_known(cube, at)[2]
    assert not shows(cube, point)


def test_the_command_says_how_far_the_point_is(
    cube: Cube, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    lon, lat = lonlat()[5].tolist()
    at = f"{abs(lat):.6f}S {abs(lon):.6f}{'E' if lon > 0 else 'W'}"
    done = run("describe", "--cube", cube.url, "--at", at, "--top", 1, "--json")
    told = json.loads(done.out)
    assert done.code == 0 and told[at][0][0] == CLASSES[5 % len(CLASSES)]
    assert told["point"]["metres"] < 1 and told["point"]["lat"] == pytest.approx(lat)
    far = run("describe", "--cube", cube.url, "--at", "10,10")
    assert far.code == 2 and far.is_one_line("the nearest point of cube", "more than 1 km")
    with caplog.at_level(logging.INFO, "geoloc"):
        scenes = describe_place(cube.url, (lon, lat), top=1)
    assert scenes[0][0] == CLASSES[5 % len(CLASSES)] and "the nearest point" in caplog.text
