"""Points as a domain: their order along a curve, their chunks, what travels of them."""

from __future__ import annotations

import gc
import pickle

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from pyproj import Geod

from geoloc.domain import Points
from geoloc.domain.points import POINTS_CHUNK, geocentric, hilbert_index
from geoloc.errors import AreaError
from geoloc.search import TopK

F64 = NDArray[np.float64]
CRS = "EPSG:32636"


def scattered(count: int, seed: int = 0) -> F64:
    """Asymmetric in both axes."""
    rng = np.random.default_rng(seed)
    return rng.normal(0, 1, (count, 2)) * (90_000, 20_000) + (400_000, 5_500_000)


@given(bits=st.integers(1, 6))
@settings(max_examples=6)
def test_the_curve_goes_through_every_cell_by_steps_of_one(bits: int) -> None:
    side = 1 << bits
    cells = np.stack(np.meshgrid(np.arange(side), np.arange(side)), axis=-1).reshape(-1, 2)
    index = hilbert_index(cells * side / max(side - 1, 1) / side, bits) if side > 1 else cells[:, 0]
    assert sorted(index) == list(range(side * side))
    walk = cells[np.argsort(index)]
    assert (np.abs(np.diff(walk, axis=0)).sum(axis=1) == 1).all()


@given(hnp.arrays(np.float64, st.tuples(st.integers(1, 40), st.just(2)),
                  elements=st.floats(-1e7, 1e7, allow_subnormal=False)))  # fmt: skip
@settings(max_examples=60)
def test_points_in_order_are_the_points(xy: F64) -> None:
    points = Points.along_curve(CRS, xy, {"id": np.arange(len(xy))})
    np.testing.assert_array_equal(points.coordinates, xy[points.attributes["id"]])
    assert sorted(points.attributes["id"]) == list(range(len(xy)))
    index = hilbert_index(points.coordinates)
    assert (np.diff(index) >= 0).all() and index.min() >= 0


def test_chunks_of_points_in_order_are_neighbours() -> None:
    xy = scattered(20_000)
    ordered, drawn = Points.along_curve(CRS, xy), Points(CRS, xy)
    reach = [
        np.mean([np.ptp(chunk.xy, axis=0).max() for chunk in points.chunks(size=100)])
        for points in (ordered, drawn)
    ]
    assert reach[0] < 0.15 * reach[1]


@given(count=st.integers(1, 300), size=st.integers(1, 70), seed=st.integers(0, 2**32))
@settings(max_examples=60)
def test_chunks_hold_every_point_once_and_polygons_touch_theirs(
    count: int, size: int, seed: int
) -> None:
    points = Points.along_curve(CRS, scattered(count, seed))
    chunks = list(points.chunks(size=size))
    assert points.chunk_grid(size) == (len(chunks),)
    np.testing.assert_array_equal(np.concatenate([c.xy for c in chunks]), points.coordinates)
    polygon = shapely.Point(*points.coordinates[count // 2]).buffer(30_000)
    inside = shapely.contains_xy(polygon, points.coordinates)
    found = np.zeros(count, bool)
    for chunk in points.chunks(polygon, size):
        found[chunk.slices] = chunk.inside(polygon)
    np.testing.assert_array_equal(found, inside)
    assert len(list(points.chunks(polygon, size))) == points.touched(polygon, size).sum()


def test_a_chunk_that_is_sent_names_its_points() -> None:
    points = Points.along_curve(CRS, scattered(200_000))
    chunk = points.chunk(7)
    sent = pickle.dumps(chunk)
    assert len(sent) < 500
    again = pickle.loads(sent)  # noqa: S301 our own
    np.testing.assert_array_equal(again.xy, chunk.xy)
    assert (again.index, again.size, again.shape) == (chunk.index, chunk.size, (POINTS_CHUNK,))
    work = pickle.dumps((points, "the work"))
    del points, chunk, again
    gc.collect()
    with pytest.raises(LookupError, match="send the points with the work"):
        pickle.loads(sent)  # noqa: S301 our own
    arrived, _ = pickle.loads(work)  # noqa: S301 our own
    twice, _ = pickle.loads(work)  # noqa: S301 our own
    del twice
    gc.collect()
    assert pickle.loads(sent).domain is arrived  # noqa: S301 our own


def test_facts_of_points() -> None:
    points = Points(CRS, [[3, 4], [1, 9], [2, 5]])  # type: ignore[arg-type]
    assert points.dims == ("point",) and points.shape == (3,) and points.size == 3
    assert points.bounds == (1, 4, 3, 9)
    np.testing.assert_array_equal(points.centres(np.array([2, 0])), [[2, 5], [3, 4]])
    assert points.chunk_grid() == (1,) and 1 <= points.most_within(1.0) <= 2
    assert points.digest != Points("EPSG:32637", points.coordinates).digest


@pytest.mark.parametrize("bad", [[], [[1, 2, 3]], [[1, np.nan]], [1, 2]])
def test_what_are_no_points_is_refused(bad: list[object]) -> None:
    with pytest.raises(AreaError):
        Points(CRS, np.array(bad, float))
    with pytest.raises(AreaError, match="2 values of id for 1 points"):
        Points(CRS, np.ones((1, 2)), {"id": np.arange(2)})


def test_geocentric_lengths_are_those_of_the_ground() -> None:
    geod = Geod(ellps="WGS84")
    rng = np.random.default_rng(5)
    a = rng.uniform((-180, -89), (180, 89), (200, 2))
    lon, lat, _ = geod.fwd(*a.T, rng.uniform(0, 360, 200), np.full(200, 10_000.0))
    b = np.stack([lon, lat], axis=1)
    length = np.linalg.norm(geocentric(a) - geocentric(b), axis=1)
    np.testing.assert_allclose(length, 10_000, atol=0.01)


@pytest.mark.parametrize("crs", ["EPSG:4326", CRS])
def test_no_more_points_lie_near_one_than_is_said(crs: str) -> None:
    rng = np.random.default_rng(8)
    xy = rng.normal((179.999, 51), 0.02, (400, 2))
    if crs == CRS:
        xy = rng.normal((300_000, 5_600_000), 2000, (400, 2))
    else:
        xy[xy[:, 0] > 180, 0] -= 360
    xy[3:6] = xy[2]
    points = Points.along_curve(crs, xy)
    places = points.metres(np.arange(400))
    apart = np.linalg.norm(places[:, None] - places[None], axis=-1)
    for radius in (0.0, 150.0, 900.0, 25_000.0):
        most = int((apart < max(radius, 1e-9)).sum(axis=1).max())
        assert most <= points.most_within(radius) <= 400
    assert points.most_within(150.0) < 100


def test_the_best_points_lie_apart_across_180_degrees() -> None:
    xy = np.array([[179.9995, 10], [-179.9995, 10], [179.99, 10], [0.0, 10]])
    points = Points("EPSG:4326", xy)
    top = TopK(points, 1, top=3, radius=150.0)
    top.add(points.chunk(0), np.array([[1.0, 2.0, 3.0, 4.0]], np.float32))
    assert [place.index for place in top.result()[0]] == [0, 2, 3]
