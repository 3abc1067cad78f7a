from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import geopandas
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shapely import LineString, MultiLineString, Point

from geoloc.errors import UsageError
from geoloc.points.lines import Lines, joined
from geoloc.points.networks import read_network
from tests.road_files import lines_of

A, B, C, D = (9.5, 47.1), (9.51, 47.1), (9.52, 47.11), (9.5, 47.2)


def read(path: Path, network: str = "all") -> Lines:
    return joined(list(read_network(path, network)))


def edges(**columns: list[object]) -> geopandas.GeoDataFrame:
    shapes = [LineString([A, B]), LineString([C, B, A]), LineString([A, B, C]), LineString([C, D])]
    return geopandas.GeoDataFrame(columns, geometry=shapes, crs=4326)


OSMNX = {
    "osmid": ["11", "[12, 13]", "[12, 13]", "14"],
    "highway": ["primary", "['residential', 'service']", "['residential', 'service']", "track"],
}


@pytest.mark.parametrize("name", ["net.gpkg", "net.geojson", "net.parquet", "net!;1.gpkg"])
def test_streets_in_both_directions_count_once(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    frame = edges(**OSMNX)
    plain = tmp_path / f"plain{path.suffix}"
    frame.to_parquet(plain) if path.suffix == ".parquet" else frame.to_file(plain, layer="edges")
    plain.rename(path)
    found = read(path)
    assert found.way_id.tolist() == [11, -1, 14]
    assert found.highway.tolist() == ["primary", "residential", "track"]
    assert np.array_equal(found.coordinates[2:5], [C, B, A])
    assert read(path, "drive").way_id.tolist() == [11, -1]


def test_the_layer_with_lines_is_read_beside_one_of_nodes(tmp_path: Path) -> None:
    path = tmp_path / "net.gpkg"
    edges(**OSMNX).to_file(path, layer="edges")
    geopandas.GeoDataFrame(geometry=[Point(A)], crs=4326).to_file(path, layer="nodes")
    assert len(read(path)) == 3
    edges().iloc[:1].to_file(path, layer="more")
    with pytest.raises(UsageError, match=r"lines in 2 layers \(edges, more\): write"):
        read(path)
    assert len(read(Path(f"{path}|layername=more"))) == 1


def test_networks_in_metres_come_in_degrees(tmp_path: Path) -> None:
    frame = edges(osm_id=[1, 2, 3, 4], fclass=["primary", "", "path", "rail"]).to_crs(32632)
    frame.to_file(tmp_path / "roads.shp")
    found = read(tmp_path / "roads.shp")
    assert found.way_id.tolist() == [1, 3, 4]
    assert np.allclose(found.coordinates[:2], [A, B], atol=1e-9)
    assert read(tmp_path / "roads.shp", "rail").way_id.tolist() == [4]


def test_lines_without_a_class_are_roads_but_of_no_kind(tmp_path: Path) -> None:
    frame = geopandas.GeoDataFrame(
        geometry=[
            MultiLineString([[A, B], [C, D]]),
            LineString([(*A, 5), (*D, 9)]),
            None,
            Point(A),
        ],
        crs=4326,
    )
    frame.to_file(tmp_path / "own.gpkg")
    found = read(tmp_path / "own.gpkg")
    assert len(found) == 3 and found.way_id.tolist() == [-1, -1, -1]
    assert found.highway.tolist() == [""] * 3
    with pytest.raises(
        UsageError, match="has no column highway, so --network drive cannot be applied"
    ):
        read(tmp_path / "own.gpkg", "drive")


def test_what_is_no_network_is_refused(tmp_path: Path) -> None:
    geopandas.GeoDataFrame(geometry=[Point(A)], crs=4326).to_file(tmp_path / "points.gpkg")
    with pytest.raises(UsageError, match=r"points\.gpkg has no lines"):
        read(tmp_path / "points.gpkg")
    (tmp_path / "roads.gpkg").write_text("<OGRVRTDataSource/>")
    with pytest.raises(UsageError, match="is not opened"):
        read(tmp_path / "roads.gpkg")
    (tmp_path / "roads.parquet").write_text("no")
    with pytest.raises(UsageError, match=r"roads\.parquet cannot be read"):
        read(tmp_path / "roads.parquet")
    with pytest.warns(UserWarning, match="crs"):
        edges().set_crs(None, allow_override=True).to_file(tmp_path / "bare.gpkg")
    with pytest.raises(UsageError, match="names no CRS"):
        read(tmp_path / "bare.gpkg")
    metres = edges().to_crs(32632).set_crs(4326, allow_override=True)
    metres.to_file(tmp_path / "metres.gpkg")
    with pytest.raises(UsageError, match="coordinates off the globe for its CRS, WGS 84"):
        read(tmp_path / "metres.gpkg")
    with pytest.raises(UsageError, match="does not exist"):
        read(tmp_path / "none.gpkg")


PLACE = st.tuples(st.integers(-3, 3), st.integers(-3, 3))


@given(st.lists(st.lists(PLACE, min_size=2, max_size=4), min_size=1, max_size=6))
def test_lines_alike_are_those_with_the_same_edges(places: list[list[tuple[int, int]]]) -> None:
    from geoloc.points.networks import _Seen

    def key(line: list[tuple[int, int]]) -> tuple[tuple[tuple[int, int], ...], ...]:
        return tuple(sorted(tuple(sorted(pair)) for pair in pairwise(line)))

    first = [key(line) not in [key(other) for other in places[:k]] for k, line in enumerate(places)]
    lines, seen = lines_of(*places), _Seen()
    half = np.arange(len(places)) < len(places) // 2
    found = [*seen.new(lines.select(half)), *seen.new(lines.select(~half))]
    assert found == first
