"""Regions: which place lies in which square, whatever the domain, its CRS and the border."""

from __future__ import annotations

import pickle
import re

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Geod, Transformer

from geoloc.domain import Grid, Points, Regions, equal_area_crs, frame_of, region_crs
from geoloc.domain.regions import MOST_REGIONS
from geoloc.errors import UsageError

UTM = "EPSG:32636"
GRID = Grid(UTM, 300_200.0, 5_604_600.0, 10.0, 90, 140)


def test_cells_are_pooled_from_the_corner_of_their_grid() -> None:
    layout = Regions.of(GRID, 400)
    assert layout.grid == Grid(UTM, 300_200.0, 5_604_600.0, 400.0, 3, 4)
    index = layout.index(GRID.centres(np.arange(GRID.size))).reshape(GRID.shape)
    rows, cols = np.indices(GRID.shape)
    np.testing.assert_array_equal(index, rows // 40 * 4 + cols // 40)


@given(
    left=st.floats(-1e5, 1e5), top=st.floats(-1e5, 1e5), size=st.floats(3, 1e5),
    seed=st.integers(0, 999), count=st.integers(1, 40),
)  # fmt: skip
def test_every_point_lies_in_the_square_that_is_said(
    left: float, top: float, size: float, seed: int, count: int
) -> None:
    xy = np.random.default_rng(seed).uniform((left, top), (left + 999, top + 333), (count, 2))
    points = Points("EPSG:3035", xy + np.array([4_321_000, 3_210_000]))
    layout = Regions.of(points, size)
    index = layout.index(points.coordinates)
    assert (index >= 0).all()
    squares = layout.squares[index]
    at = shapely.points(points.coordinates)
    assert (shapely.distance(squares, at) < 1e-6).all()
    if size > 1000:
        assert layout.count == 1


def test_regions_stay_where_they_are_as_points_are_added() -> None:
    rng = np.random.default_rng(0)
    xy = rng.uniform((300_000, 5_500_000), (400_000, 5_560_000), (200, 2))
    few, many = (Regions.of(Points(UTM, xy[:n]), 25_000) for n in (50, 200))
    offset = (few.grid.left - many.grid.left) / 25_000, (few.grid.top - many.grid.top) / 25_000
    assert all(part == round(part) for part in offset)


def test_points_on_the_outer_edges_belong_to_a_region() -> None:
    xy = np.array([[0, 0], [50_000, 0], [0, 50_000], [50_000, 50_000]], float)
    xy += [300_000, 5_500_000]
    index = Regions.of(Points(UTM, xy), 25_000).index(xy)
    assert (index >= 0).all() and len(set(index.tolist())) == 4
    assert Regions.of(Points(UTM, xy[:1]), 25_000).index(xy[:1]).tolist() == [0]


@pytest.mark.parametrize(("lon", "lat"), [(31.2, 48.7), (179.9, -17.0), (-70.0, -53.0)])
def test_regions_of_degrees_are_as_large_as_they_say(lon: float, lat: float) -> None:
    rng = np.random.default_rng(1)
    xy = np.array([lon, lat]) + rng.uniform(-2, 2, (400, 2))
    xy[:, 0] = (xy[:, 0] + 180) % 360 - 180
    points = Points("EPSG:4326", xy)
    layout = Regions.of(points, 25_000)
    assert "Azimuthal Equal Area" in layout.grid.crs
    assert (layout.index(points.coordinates) >= 0).all()
    assert max(layout.grid.shape) < 25  # not around the Earth
    to_degrees = Transformer.from_crs(layout.grid.crs, 4326, always_xy=True)
    dense = shapely.segmentize(layout.squares[layout.count // 3], 1000)
    area, _ = Geod(ellps="WGS84").polygon_area_perimeter(
        *to_degrees.transform(*shapely.get_coordinates(dense).T)
    )
    assert abs(area) == pytest.approx(25_000**2, rel=1e-3)


def test_a_crs_that_stretches_areas_is_not_taken_for_regions() -> None:
    xy = np.array([[3_400_000.0, 6_200_000.0], [3_500_000.0, 6_300_000.0]])
    assert region_crs(Points(UTM, np.array([[300_000.0, 5_600_000.0]]))) == UTM
    assert "Azimuthal" in region_crs(Points("EPSG:3857", xy))
    assert region_crs(GRID) == UTM
    assert equal_area_crs(179.7, 10) == equal_area_crs(-180.2, 10)


def test_regions_are_clipped_to_a_border_and_places_outside_belong_to_none() -> None:
    border = shapely.Polygon([(300_300, 5_604_000), (301_000, 5_604_100), (300_500, 5_604_500)])
    layout = Regions.of(GRID, 200, polygon=border)
    xy = GRID.centres(np.arange(GRID.size))
    index, free = layout.index(xy), Regions.of(GRID, 200).index(xy)
    inside = shapely.contains_xy(border, xy)
    np.testing.assert_array_equal(index, np.where(inside, free, -1))
    there = np.flatnonzero(layout.is_region)
    touched = shapely.area(shapely.intersection(layout.squares, border)) > 0
    np.testing.assert_array_equal(there, np.flatnonzero(touched))
    assert shapely.union_all(layout.outline(there)).area == pytest.approx(border.area)
    again = pickle.loads(pickle.dumps(layout))  # noqa: S301 our own
    np.testing.assert_array_equal(again.index(xy), index)


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (5, "smaller than a cell of 10 m: give --regions 10 or more"),
        (0, "give a length above 0"),
        (float("nan"), "give a length above 0"),
    ],
)
def test_sizes_that_cannot_be_are_refused_in_one_line(size: float, words: str) -> None:
    with pytest.raises(UsageError, match=words) as refused:
        Regions.of(GRID, size)
    assert "\n" not in str(refused.value)
    assert Regions.of(GRID, 10).count == GRID.size
    assert Regions.of(GRID, 1e7).count == 1


def test_too_many_regions_and_a_border_elsewhere_are_refused() -> None:
    xy = np.array([[30.0, 48.0], [36.0, 52.0]])
    with pytest.raises(UsageError, match=r"would be .* more than 1,000,000: give --regions \d"):
        Regions.of(Points("EPSG:4326", xy), 100)
    with pytest.raises(UsageError, match="the border does not meet the area"):
        Regions.of(GRID, 100, polygon=shapely.box(0, 0, 9, 9))


FIJI = shapely.MultiPolygon([shapely.box(177, -19, 180, -16), shapely.box(-180, -19, -178, -16)])


@pytest.mark.parametrize(
    ("border", "frame"),
    [
        (shapely.box(22, 44, 40, 52), (22, 44, 40, 52)),
        (FIJI, (177, -19, 182, -16)),
        (shapely.box(177, -19, 182, -16), (177, -19, 182, -16)),
        (shapely.box(-180, -90, 180, 90), (-180, -90, 180, 90)),
        (
            shapely.MultiPolygon([shapely.box(19, 41, 180, 82), shapely.box(-180, 60, -169, 72)]),
            (19, 41, 191, 82),
        ),
        (
            shapely.MultiPolygon([shapely.box(-10, 1, 5, 3), shapely.box(-100, 1, -99, 2)]),
            (-100, 1, 5, 3),
        ),
        (
            shapely.MultiPolygon([shapely.box(-180, 1, 180, 3), shapely.box(-100, 1, -99, 5)]),
            (-180, 1, 180, 5),
        ),
    ],
)
def test_the_frame_of_a_border_is_the_short_way_around(
    border: shapely.Geometry, frame: tuple[float, float, float, float]
) -> None:
    assert frame_of(border) == pytest.approx(frame)


def test_regions_of_a_country_on_both_sides_of_180_degrees_are_squares_on_the_ground() -> None:
    points = Points("EPSG:4326", np.array([[179.9, -17.0], [-179.9, -17.0]]))
    crs = region_crs(points, frame_of(FIJI))
    to_degrees = Transformer.from_crs(crs, 4326, always_xy=True)
    x, y = Transformer.from_crs(4326, crs, always_xy=True).transform(180.0, -17.0)
    lon, lat = to_degrees.transform([x, x + 25_000, x], [y, y, y + 25_000])
    across, up = Geod(ellps="WGS84").inv([lon[0]] * 2, [lat[0]] * 2, lon[1:], lat[1:])[2]
    assert across == pytest.approx(25_000, rel=0.01)
    assert up == pytest.approx(25_000, rel=0.01)


@settings(max_examples=40)
@given(
    width=st.floats(1, 1e7), height=st.floats(1, 1e7), size=st.floats(1e-3, 1e3),
    left=st.floats(-1e5, 1e5),
)  # fmt: skip
def test_too_many_regions_are_refused_with_a_size_that_is_taken(
    width: float, height: float, size: float, left: float
) -> None:
    east, north = 4_321_000 + left, 3_210_000
    points = Points("EPSG:3035", np.array([[east, north], [east + width, north + height]]))
    try:
        Regions.of(points, size)
    except UsageError as error:
        told = re.search(r"give --regions (\S+) or more", str(error))
        assert told is not None
        enough = float(told[1])
        assert Regions.of(points, enough).count <= MOST_REGIONS
        assert enough > size


def test_the_size_that_is_proposed_is_round() -> None:
    country = Points(UTM, np.array([[100_000.0, 5_000_000], [900_000, 5_600_000]]))
    with pytest.raises(
        UsageError, match=r"480,\d+,\d+, more than .*: give --regions 700 or more, in"
    ):
        Regions.of(country, 1000 / 31.623)
    with pytest.raises(UsageError, match=r"or more, in metres \(for 25 km: 25000\)$"):
        Regions.of(country, 25)
