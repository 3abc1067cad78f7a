from __future__ import annotations

import json
from pathlib import Path

import geopandas
import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from geoloc.errors import UsageError
from geoloc.points.boundary import Boundary
from geoloc.points.lengths import edge_lengths
from geoloc.points.lines import split_at_antimeridian
from tests.road_files import lines_of

COORDINATE = st.floats(-3, 3)


def test_a_box_is_west_south_east_north() -> None:
    within = Boundary.read("9.4, 47.0,9.6,47.3")
    assert within.polygon.bounds == (9.4, 47.0, 9.6, 47.3)
    assert within.holds(np.array([[9.5, 47.1], [47.1, 9.5], [9.4, 47.0]])).tolist() == [
        True, False, True,
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["1,2,1,3", "1,5,2,4", "1,2,3,95", "200,1,201,2", "1.1.1,2,3,4"])
def test_a_box_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="write west,south,east,north in degrees"):
        Boundary.read(text)


def test_a_box_across_the_antimeridian_holds_both_sides() -> None:
    within = Boundary.read("177,-19,-178,-16")
    places = np.array([[178.0, -17], [-179.0, -17], [0.0, -17], [-177.0, -17], [180.0, -17]])
    assert within.holds(places).tolist() == [True, True, False, False, True]
    lines = split_at_antimeridian(lines_of([(176, -17), (-177, -17)]))
    clipped = within.clip(lines)
    assert sorted(clipped.coordinates[:, 0]) == [-180, -178, 177, 180]


def test_polygons_of_files_are_read_in_any_crs(tmp_path: Path) -> None:
    shape = shapely.box(300_000, 5_600_000, 340_000, 5_630_000)
    frame = geopandas.GeoDataFrame(geometry=[shape], crs=32636)
    frame.to_file(tmp_path / "metres.gpkg")
    within = Boundary.read(str(tmp_path / "metres.gpkg"))
    # the middle of its southern edge bends by 47 m in degrees
    x, y = np.array([320_000.0, 320_000.0]), np.array([5_600_010.0, 5_599_990.0])
    places = geopandas.points_from_xy(x, y, crs=32636).to_crs(4326)
    assert within.holds(np.column_stack([places.x, places.y])).tolist() == [True, False]


def test_a_polygon_has_the_same_digest_in_whatever_file(tmp_path: Path) -> None:
    shape = shapely.Polygon([(9.4, 47.0), (9.4, 47.3), (9.6, 47.3), (9.6, 47.0)])
    frame = geopandas.GeoDataFrame(geometry=[shape], crs=4326)
    frame.to_file(tmp_path / "a.geojson")
    frame.to_file(tmp_path / "b.gpkg")
    digests = {Boundary.read(str(tmp_path / name)).digest for name in ("a.geojson", "b.gpkg")}
    assert len(digests) == 1
    assert Boundary.read("9.4,47.0,9.6,47.4").digest not in digests


def test_lines_are_cut_at_the_edge_and_keep_their_way() -> None:
    within = Boundary(shapely.box(0, 0, 1, 1), "box")
    lines = lines_of(
        [(0.2, 0.2), (0.4, 0.4)],  # inside
        [(-1, 0.5), (0.5, 0.5), (0.5, 2)],  # in and out again
        [(5, 5), (6, 6)],  # outside
        [(-1, 1), (1, -1)],  # touches a corner
        [(0.5, -1), (0.5, 3)],  # through
    )
    clipped = within.clip(lines)
    parts = {
        (int(way), *map(tuple, clipped.coordinates[a:b].tolist()))
        for way, a, b in zip(clipped.way_id, clipped.offsets, clipped.offsets[1:], strict=False)
    }
    assert parts == {
        (1, (0.2, 0.2), (0.4, 0.4)),
        (2, (0, 0.5), (0.5, 0.5)),
        (2, (0.5, 0.5), (0.5, 1)),
        (5, (0.5, 0), (0.5, 1)),
    }
    assert len(within.clip(lines.select(np.zeros(5, np.bool_)))) == 0
    assert len(within.clip(lines.select(np.array([False, False, True, False, False])))) == 0


@given(st.lists(st.lists(st.tuples(COORDINATE, COORDINATE), min_size=2, max_size=4), min_size=1,
                max_size=4))  # fmt: skip
def test_two_halves_have_the_length_of_the_whole(places: list[list[tuple[float, float]]]) -> None:
    halves = [Boundary(shapely.box(*box), "") for box in ((-5, -5, 0.1, 5), (0.1, -5, 5, 5))]
    lines = lines_of(*places)
    along_edge = np.isclose(lines.coordinates[:, 0], 0.1, atol=1e-6).any()
    parts = sum(edge_lengths(half.clip(lines)).sum() for half in halves)
    if not along_edge:  # which both halves have
        assert parts == pytest.approx(edge_lengths(lines).sum(), rel=2e-3, abs=1.0)


def test_geojson_that_crosses_180_is_read_as_meant(tmp_path: Path) -> None:
    ring = [[179, 0], [-179, 0], [-179, 1], [179, 1], [179, 0]]
    file = tmp_path / "fiji.geojson"
    file.write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    places = np.array([[179.5, 0.5], [-179.5, 0.5], [0, 0.5]])
    assert Boundary.read(str(file)).holds(places).tolist() == [True, True, False]
