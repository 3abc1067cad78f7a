from __future__ import annotations

from pathlib import Path

import geopandas
import numpy as np
import pytest
from pyproj import CRS
from shapely import Point

from geoloc.points import read_points
from geoloc.points.degrees import in_degrees

XY = np.array([[31.09, 50.33], [30.5, 48.0]])


@pytest.mark.parametrize("crs", ["EPSG:4326", "OGC:CRS84"])
def test_longitude_and_latitude_stay_as_they_are(crs: str) -> None:
    assert in_degrees(XY, CRS.from_user_input(crs)) is XY


@pytest.mark.parametrize("crs", ["EPSG:32636", "EPSG:3857", "EPSG:4284", "EPSG:4258", "EPSG:4807"])
def test_places_of_any_crs_are_where_map_tools_put_them(crs: str) -> None:
    frame = geopandas.GeoSeries(map(Point, XY), crs=4326).to_crs(crs)
    found = in_degrees(np.column_stack([frame.x, frame.y]), CRS.from_user_input(crs))
    np.testing.assert_allclose(found, XY, atol=1e-8)


def test_points_in_degrees_of_another_datum_are_moved(tmp_path: Path) -> None:
    frame = geopandas.GeoDataFrame(geometry=list(map(Point, XY)), crs=4326).to_crs(4284)
    frame.to_parquet(path := tmp_path / "points.parquet")
    assert np.abs(frame.geometry.x - XY[:, 0]).min() > 1e-3  # 100 m
    np.testing.assert_allclose(read_points(path).coordinates, XY, atol=1e-8)
