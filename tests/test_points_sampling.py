from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare, kstest

from geoloc.errors import UsageError
from geoloc.points.boundary import Boundary
from geoloc.points.lengths import distances, edge_lengths
from geoloc.points.lines import Lines
from geoloc.points.sampling import Roads, RoadsBuilder, draw_along, draw_within
from tests.road_files import lines_of

FAR_NORTH = [(25.0, 70.0), (25.3, 70.0), (25.3, 70.4)]
EQUATOR = [(10.0, 0.0), (10.2, 0.0)]
REPEATED = [(10.0, 5.0), (10.0, 5.0), (10.1, 5.0), (10.1, 5.0)]


def roads_of(*lines: Lines) -> Roads:
    builder = RoadsBuilder()
    for part in lines:
        builder.add(part)
    roads = builder.roads()
    assert roads is not None
    return roads


def drawn(roads: Roads, seed: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    batches = list(draw_along(roads, seed, n))
    return (
        np.concatenate([batch.coordinates for batch in batches]),
        np.concatenate([batch.line for batch in batches]),
    )


def test_points_are_uniform_by_length_not_by_degrees() -> None:
    """At 70 degrees north a degree of longitude is a third of one at the equator."""
    lines = lines_of(FAR_NORTH, EQUATOR, REPEATED)
    roads = roads_of(lines)
    lengths = edge_lengths(lines)
    expected = [lengths[a:b].sum() for a, b in zip(lines.offsets, lines.offsets[1:], strict=False)]
    assert roads.metres == pytest.approx(sum(expected))
    _, line = drawn(roads, 3, 30_000)
    counts = np.bincount(line, minlength=3)
    assert chisquare(counts, 30_000 * np.array(expected) / roads.metres).pvalue > 0.01
    degrees = np.array([0.7, 0.2, 0.1])
    assert chisquare(counts, 30_000 * degrees / degrees.sum()).pvalue < 1e-9


def test_points_are_uniform_along_each_edge() -> None:
    roads = roads_of(lines_of([(10.0, 60.0), (10.4, 60.2)]))
    xy, _ = drawn(roads, 5, 4_000)
    share = distances(np.broadcast_to(roads.coordinates[:1], xy.shape), xy) / roads.metres
    assert kstest(share, "uniform").pvalue > 0.01


def test_a_thousand_edges_have_points_by_their_length() -> None:
    """Chi-square over the edges of a random network."""
    random = np.random.default_rng(1)
    lines = lines_of(*(
        np.cumsum(random.normal(0, 0.002, (21, 2)), axis=0) + random.uniform((5, 40), (15, 60))
        for _ in range(50)
    ))  # fmt: skip
    roads = roads_of(lines)
    n = 100_000
    share = np.concatenate([b.coordinates for b in draw_along(roads, 11, n)])
    edges = lines.edges()
    tree = shapely.STRtree(shapely.linestrings(
        np.stack([lines.coordinates[edges], lines.coordinates[edges + 1]], axis=1)
    ))  # fmt: skip
    nearest = tree.nearest(shapely.points(share))
    counts = np.bincount(nearest, minlength=len(edges))
    expected = n * edge_lengths(lines)[edges] / roads.metres
    assert chisquare(counts, expected).pvalue > 0.01


@settings(max_examples=25)
@given(st.integers(0, 2**32), st.integers(1, 300), st.integers(1, 300))
def test_every_prefix_is_the_same_sample(seed: int, few: int, more: int) -> None:
    roads = roads_of(lines_of(FAR_NORTH, EQUATOR))
    a, b = drawn(roads, seed, few), drawn(roads, seed, few + more)
    assert np.array_equal(a[0], b[0][:few]) and np.array_equal(a[1], b[1][:few])


def test_prefixes_hold_across_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    roads = roads_of(lines_of(FAR_NORTH, EQUATOR))
    whole = drawn(roads, 2, 1000)[0]
    monkeypatch.setattr("geoloc.points.sampling._BATCH", 64)
    assert np.array_equal(drawn(roads, 2, 1000)[0], whole)
    assert [len(batch.line) for batch in draw_along(roads, 2, 100)] == [64, 36]


def test_batches_of_lines_make_one_network() -> None:
    lines = lines_of(FAR_NORTH, EQUATOR, REPEATED)
    keep = np.array([True, False, False])
    parts = roads_of(lines.select(keep), lines.select(~keep & False), lines.select(~keep))
    whole = roads_of(lines)
    assert np.array_equal(parts.before, whole.before)
    assert np.array_equal(parts.way_id, whole.way_id)
    assert parts.highway(np.array([0, 2])).tolist() == ["road", "road"]


@given(st.lists(st.lists(st.sampled_from([(0, 0), (1, 0), (1, 1), (2, 3)]), min_size=2, max_size=4),
                min_size=1, max_size=5), st.floats(0, 1, exclude_max=True))  # fmt: skip
def test_a_share_of_the_length_is_a_place_on_its_line(
    places: list[list[tuple[float, float]]], share: float
) -> None:
    lines = lines_of(*places)
    if not edge_lengths(lines).any():
        return
    roads = roads_of(lines)
    found = roads.at(np.array([share, 0.0, np.nextafter(1, 0)]))
    shape = shapely.linestrings(lines.select(np.arange(len(lines)) == found.line[0]).coordinates)
    assert shapely.distance(shape, shapely.points(found.coordinates[0])) < 0.01  # geodesics bend
    before = roads.before[roads.offsets[found.line[0]]]
    after = roads.before[roads.offsets[found.line[0] + 1] - 1]
    assert before <= share * roads.metres <= after


def test_no_roads_are_none() -> None:
    builder = RoadsBuilder()
    assert builder.roads() is None
    builder.add(lines_of([(1, 1), (1, 1)]))
    assert builder.roads() is None


def test_points_in_a_polygon_are_uniform_by_area() -> None:
    """Between the equator and 60 degrees sin(60) = 0.866 of a hemisphere: half lie below 25.7."""
    within = Boundary(shapely.box(0, 0, 90, 60), "box")
    xy = np.concatenate(list(draw_within(within, 4, 20_000)))
    assert len(xy) == 20_000 and within.holds(xy).all()
    # authalic, not spherical, but that differs by less than the sample shows
    assert np.mean(xy[:, 1] < 25.66) == pytest.approx(0.5, abs=0.01)
    assert kstest(xy[:, 0] / 90, "uniform").pvalue > 0.01
    assert np.array_equal(np.concatenate(list(draw_within(within, 4, 50))), xy[:50])


def test_points_in_a_polygon_across_the_antimeridian() -> None:
    within = Boundary.read("170,-20,-170,20")
    xy = next(draw_within(within, 1, 1000))
    assert (np.abs(xy[:, 0]) >= 170).all() and 300 < (xy[:, 0] > 0).sum() < 700


def test_a_polygon_with_hardly_any_area_is_refused() -> None:
    thin = shapely.Polygon([(0, 0), (10, 10), (10, 10 + 1e-7)])
    with pytest.raises(UsageError, match="polygon thin is too thin to draw places in it"):
        next(draw_within(Boundary(thin, "thin"), 1, 10))
