from __future__ import annotations

import json
from pathlib import Path

import geopandas
import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely import LineString, Point

from geoloc.errors import OutputError, UsageError
from geoloc.points import PointSet, read_points, writing_points


def points(count: int, start: int = 0) -> PointSet:
    order = np.arange(start, start + count)
    coordinates = np.column_stack([10 + order / 100, 50 - order / 50])
    highway = np.array(["", "track", "résidentiel"])[order % 3]
    return PointSet(
        coordinates, order, {"way_id": order * 7, "highway": highway, "height": order / 2}, "abc"
    )


def written(path: Path, *parts: PointSet) -> Path:
    with writing_points(path, {"sequence": "abc", "seed": 3}) as write:
        for part in parts:
            write(part)
    return path


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = written(tmp_path / "points.parquet", points(5), points(4, 5))
    found, known = read_points(path), points(9)
    assert np.array_equal(found.coordinates, known.coordinates)
    assert found.order.tolist() == list(range(9))
    assert found.sequence == "abc" and len(found) == 9
    for name, values in known.attributes.items():
        assert found.attributes[name].tolist() == values.tolist(), name
    assert read_points(path, 6).order.tolist() == list(range(6))
    with pytest.raises(UsageError, match="has 9 points, fewer than the 10 wanted"):
        read_points(path, 10)


def test_others_open_it_as_geoparquet(tmp_path: Path) -> None:
    path = written(tmp_path / "points.parquet", points(5), points(4, 5))
    frame = geopandas.read_parquet(path)
    assert frame.crs == "EPSG:4326"
    assert [(p.x, p.y) for p in frame.geometry] == list(map(tuple, points(9).coordinates.tolist()))
    assert list(frame.columns) == ["geometry", "order", "way_id", "highway", "height"]
    kept = pq.read_metadata(path).metadata
    geo = json.loads(kept[b"geo"])
    assert geo["version"] == "1.1.0" and geo["columns"]["geometry"]["geometry_types"] == ["Point"]
    assert geo["columns"]["geometry"]["bbox"] == pytest.approx(frame.total_bounds.tolist())
    assert json.loads(kept[b"geoloc"]) == {"sequence": "abc", "seed": 3}


@settings(max_examples=10)
@given(st.permutations(range(6)))
def test_rows_come_in_the_order_of_drawing(
    tmp_path_factory: pytest.TempPathFactory, order: list[int]
) -> None:
    path = tmp_path_factory.mktemp("points") / "p.parquet"
    frame = geopandas.GeoDataFrame(
        {"order": order}, geometry=[Point(k, -k) for k in order], crs="EPSG:4326"
    )
    frame.to_parquet(path)
    found = read_points(path, 4)
    assert found.coordinates.tolist() == [[k, -k] for k in range(4)]
    assert found.sequence == "" and found.attributes["way_id"].tolist() == [-1] * 4


def test_points_of_others_in_metres_are_brought_into_degrees(tmp_path: Path) -> None:
    frame = geopandas.GeoDataFrame(geometry=[Point(9.5, 47.1), Point(9.6, 47.2)], crs=4326)
    frame.to_crs(32632).to_parquet(tmp_path / "p.parquet")
    found = read_points(tmp_path / "p.parquet")
    assert np.allclose(found.coordinates, [[9.5, 47.1], [9.6, 47.2]], atol=1e-9)
    assert found.order.tolist() == [0, 1]


def frame_of(*shapes: object, **columns: list[object]) -> geopandas.GeoDataFrame:
    return geopandas.GeoDataFrame(columns, geometry=list(shapes), crs="EPSG:4326")


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (frame_of(), "has no points"),
        (frame_of(Point(1, 2), LineString([(0, 0), (1, 1)])), "row 1 has a LineString"),
        (frame_of(Point(1, 2), None), "row 1 has nothing"),
        (frame_of(Point()), "row 0 has a Point|row 0 has nothing"),
        (frame_of(Point(1, 95)), "longitude 1, latitude 95 is not on the globe"),
        (frame_of(Point(float("nan"), 5)), "is not on the globe|row 0"),
        (frame_of(Point(1, 2), Point(1, 2), order=[0, 2]), "column order is not 0, 1, 2"),
        (frame_of(Point(1, 2), order=[0.0]), "column order is not 0, 1, 2"),
        (frame_of(Point(1, 2)).set_crs(None, allow_override=True), "names no CRS"),
    ],
)
def test_files_without_points_are_refused(
    tmp_path: Path, frame: geopandas.GeoDataFrame, words: str
) -> None:
    path = tmp_path / "p.parquet"
    frame.to_parquet(path)
    with pytest.raises(UsageError, match=words) as caught:
        read_points(path)
    assert "\n" not in str(caught.value)


def test_what_is_no_geoparquet_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    frame_of(Point(1, 2), a=[1]).drop(columns="geometry").to_parquet(path)
    with pytest.raises(UsageError, match="is Parquet without geometry"):
        read_points(path)
    whole = written(path, points(500)).read_bytes()
    path.write_bytes(whole[:-100])
    with pytest.raises(UsageError, match="cannot be read"):
        read_points(path)
    path.write_text("lat,lon\n1,2\n")
    with pytest.raises(UsageError, match="is not a Parquet file"):
        read_points(path)
    with pytest.raises(UsageError, match="is a folder"):
        read_points(tmp_path)
    with pytest.raises(UsageError, match="does not exist"):
        read_points(tmp_path / "none.parquet")


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = written(tmp_path / "points.parquet", points(3))
    with pytest.raises(KeyboardInterrupt), writing_points(path, {"sequence": "x"}) as write:
        write(points(5))
        raise KeyboardInterrupt
    assert len(read_points(path)) == 3
    assert [p.name for p in tmp_path.iterdir()] == ["points.parquet"]
    with pytest.raises(OutputError, match="cannot be written"):
        written(tmp_path / "none" / "points.parquet", points(3))
