"""Which pixels chunks need: points each in their own zone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Geod, Transformer

from geoloc.domain import Grid, Points
from geoloc.encoders.windows import Image, cells_of, encode_chunk, own_zones, windows
from geoloc.errors import UsageError

from .cubes import TinyEncoder

GEOD = Geod(ellps="WGS84")


@settings(max_examples=60, deadline=None)
@given(
    st.floats(-180, 180, allow_nan=False),
    st.floats(-90, 90, allow_nan=False),
)
def test_a_window_is_centred_on_its_point_and_metres_are_metres(lon: float, lat: float) -> None:
    ((code, x, y),) = own_zones("EPSG:4326", np.array([[lon, lat]]))
    back = Transformer.from_crs(code, 4326, always_xy=True)
    found = back.transform(x, y)
    assert GEOD.inv(lon, lat, *found)[2] < 1e-3
    for dx, dy in ((100, 0), (0, 100)):
        a, b = back.transform(x - dx, y - dy), back.transform(x + dx, y + dy)
        assert GEOD.inv(*a, *b)[2] == pytest.approx(200, rel=0.0065)  # UPS: 0.994 at the pole


def test_zones_are_those_of_each_point() -> None:
    lonlat = np.array([[29.99, 50], [30.01, 50], [179.999, -3], [-179.999, -3], [10, 86], [3, -85]])
    codes = [code for code, _, _ in own_zones("EPSG:4326", lonlat)]
    assert [int(code[5:]) for code in codes] == [32635, 32636, 32760, 32701, 32661, 32761]
    x, y = Transformer.from_crs(4326, 32636, always_xy=True).transform(*lonlat[:2].T)
    again = own_zones("EPSG:32636", np.stack([x, y], axis=1))
    assert [code for code, _, _ in again] == ["EPSG:32635", "EPSG:32636"]


def test_windows_of_points_are_one_each_and_of_a_grid_one() -> None:
    points = Points("EPSG:4326", np.array([[29.99, 50.0], [30.01, 50.1], [31.0, 51.0]]))
    encoder = TinyEncoder()
    cells = cells_of(points, points.chunk(0))
    found = windows(encoder, points, points.chunk(0))
    assert [window.crs for window in found] == ["EPSG:32635", "EPSG:32636", "EPSG:32636"]
    for window, cell in zip(found, cells, strict=True):
        left, bottom, right, top = window.bounds
        assert ((left + right) / 2, (bottom + top) / 2) == pytest.approx(cell.center(0, 0))
    grid = Grid("EPSG:32636", 300_000, 5_600_000, 10, 6, 5)
    assert list(windows(encoder, grid, grid.chunk(0, 0))) == [encoder.window(grid)]


def test_vectors_are_of_each_image_and_missing_ones_stay_missing() -> None:
    points = Points("EPSG:4326", np.array([[29.99, 50.0], [30.01, 50.1], [31.0, 51.0]]))
    encoder, chunk = TinyEncoder(), points.chunk(0)
    rng, images = np.random.default_rng(0), []
    for window in windows(encoder, points, chunk):
        pixels = rng.integers(1, 255, (3, *window.shape)).astype(np.uint8)
        images.append(Image(window, pixels, np.ones(window.shape, np.bool_)))
    images[1] = Image(images[1].window)
    vectors = encode_chunk(encoder, images, points, chunk)
    assert np.isnan(vectors[1]).all() and np.isfinite(vectors[[0, 2]]).all()
    for i in (0, 2):
        one = images[i]
        cells = cells_of(points, chunk)[i]
        alone = encoder.encode(one.pixels, one.valid, one.window, cells)
        np.testing.assert_array_equal(vectors[i], alone[0, 0])
    with pytest.raises(UsageError, match="2 images"):
        encode_chunk(encoder, images[:2], points, chunk)
