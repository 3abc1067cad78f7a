from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import geopandas
import numpy as np
import pyarrow.parquet as pq
import pytest
import shapely
from scipy.stats import chisquare

from geoloc.errors import OutputError, UsageError
from geoloc.points import read_points, sample_area, sample_places, sample_roads
from geoloc.points.lengths import edge_lengths
from geoloc.sandbox.catalog import write_roads
from geoloc.sandbox.roads import Road
from tests.benchmarks.bench_sampling import synthesise
from tests.road_files import Way, extract, lines_of, write_extract

WEST = [(9.50, 47.10), (9.52, 47.10)]
EAST = [(9.52, 47.10), (9.52, 47.15), (9.55, 47.15)]
PATH = [(9.52, 47.10), (9.50, 47.15)]
LIECHTENSTEIN = Path(__file__).parents[2] / "shared/data/osm/liechtenstein-latest.osm.pbf"


@pytest.fixture
def roads(tmp_path: Path) -> Path:
    return extract(
        tmp_path / "roads.osm.pbf",
        Way(1, WEST, {"highway": "primary"}),
        Way(2, EAST, {"highway": "residential"}),
        Way(3, PATH, {"highway": "path"}),
        Way(4, [(9.0, 47.0), (9.9, 47.9)], {"waterway": "river"}),
    )


def test_points_lie_on_their_ways_in_proportion_to_their_length(
    roads: Path, tmp_path: Path
) -> None:
    out = tmp_path / "points.parquet"
    done = sample_roads([roads], out, 5000, seed=1)
    lines = lines_of(WEST, EAST, PATH)
    lengths = np.add.reduceat(edge_lengths(lines), lines.offsets[:-1])
    assert done.metres == pytest.approx(lengths.sum(), abs=1e-3) and done.points == 5000
    found = read_points(out)
    assert found.sequence == done.sequence
    ways = found.attributes["way_id"]
    assert chisquare(np.bincount(ways)[1:], 5000 * lengths / lengths.sum()).pvalue > 0.01
    classes = dict(zip(ways.tolist(), found.attributes["highway"].tolist(), strict=True))
    assert classes == {1: "primary", 2: "residential", 3: "path"}
    for way, shape in zip((1, 2, 3), (WEST, EAST, PATH), strict=True):
        places = shapely.points(found.coordinates[ways == way])
        assert shapely.distance(places, shapely.LineString(shape)).max() < 1e-5  # about a metre


def test_a_prefix_is_the_same_sample_of_the_same_sequence(roads: Path, tmp_path: Path) -> None:
    few = sample_roads([roads], tmp_path / "few.parquet", 100, seed=5)
    many = sample_roads([roads], tmp_path / "many.parquet", 2000, seed=5)
    assert few.sequence == many.sequence
    a, b = read_points(tmp_path / "few.parquet"), read_points(tmp_path / "many.parquet", 100)
    assert np.array_equal(a.coordinates, b.coordinates)
    assert np.array_equal(a.attributes["way_id"], b.attributes["way_id"])


def test_the_sequence_names_seed_network_polygon_and_sources(roads: Path, tmp_path: Path) -> None:
    def sequence(*paths: Path, **options: object) -> str:
        return sample_roads(paths or [roads], tmp_path / "p.parquet", 10, **options).sequence  # type: ignore[arg-type]

    other = extract(tmp_path / "other.osm.pbf", Way(9, [(9.6, 47.1), (9.7, 47.1)]))
    box = "9.49,47.09,9.53,47.2"
    names = [
        sequence(),
        sequence(seed=1),
        sequence(network="drive"),
        sequence(within=box),
        sequence(roads, other),
    ]
    assert len(set(names)) == 5 and all(len(name) == 64 for name in names)
    assert sequence(other, roads) == names[4] == sequence(roads, other, roads)
    copy = tmp_path / "renamed.osm.pbf"
    copy.write_bytes(roads.read_bytes())
    assert sequence(copy) == names[0]
    about = json.loads(pq.read_metadata(tmp_path / "p.parquet").metadata[b"geoloc"])
    assert about["sequence"] == names[0] and about["sources"][0]["file"] == "renamed.osm.pbf"


def test_two_extracts_in_any_order_give_the_same_points(tmp_path: Path) -> None:
    numbers = dict[tuple[float, float], int]()
    west = write_extract(tmp_path / "w.osm.pbf", [Way(1, WEST), Way(2, EAST)], numbers)
    east = write_extract(tmp_path / "e.osm.pbf", [Way(2, EAST), Way(3, PATH)], numbers)
    a, b = tmp_path / "a.parquet", tmp_path / "b.parquet"
    metres = sample_roads([west, east], a, 500).metres
    sample_roads([east, west], b, 500)
    assert a.read_bytes() == b.read_bytes()
    assert metres == pytest.approx(edge_lengths(lines_of(WEST, EAST, PATH)).sum(), abs=1e-3)


def test_points_stay_in_the_polygon(roads: Path, tmp_path: Path) -> None:
    polygon = shapely.Polygon([(9.49, 47.09), (9.515, 47.09), (9.515, 47.12), (9.49, 47.12)])
    file = tmp_path / "town.geojson"
    geopandas.GeoDataFrame(geometry=[polygon], crs=4326).to_file(file)
    done = sample_roads([roads], tmp_path / "p.parquet", 800, within=file)
    xy = read_points(tmp_path / "p.parquet").coordinates
    assert shapely.intersects_xy(polygon.buffer(1e-9), *xy.T).all()
    whole = edge_lengths(lines_of(WEST))[0]
    assert 0.75 * whole < (done.metres or 0) < 2 * whole


def test_a_network_of_roads_for_cars_has_no_paths(roads: Path, tmp_path: Path) -> None:
    sample_roads([roads], tmp_path / "p.parquet", 300, network="drive")
    assert set(read_points(tmp_path / "p.parquet").attributes["way_id"]) == {1, 2}


def test_a_geopackage_and_an_extract_together(roads: Path, tmp_path: Path) -> None:
    frame = geopandas.GeoDataFrame(
        {"osmid": ["8"], "highway": ["track"]},
        geometry=[shapely.LineString([(9.6, 47.1), (9.8, 47.1)])],
        crs=4326,
    )
    frame.to_file(tmp_path / "more.gpkg", layer="edges")
    sample_roads([tmp_path / "more.gpkg", roads], tmp_path / "p.parquet", 300)
    assert set(read_points(tmp_path / "p.parquet").attributes["way_id"]) == {1, 2, 3, 8}


def test_towns_have_more_points_than_fields(tmp_path: Path) -> None:
    """A town's streets every 100 m on a quarter of the land: nearly all points lie in it."""
    crs, corner = "EPSG:32636", np.array([300_000.0, 5_600_000.0])
    streets = [
        Road(np.array(ends) + corner, "residential", 6)
        for k in range(0, 1001, 100)
        for ends in (((k, 0), (k, 1000)), ((0, k), (1000, k)))
    ]
    country = Road(np.array([(1000, 500), (2000, 500)]) + corner, "primary", 8)
    write_roads([*streets, country], crs, tmp_path / "roads.osm.pbf")
    sample_roads([tmp_path / "roads.osm.pbf"], tmp_path / "p.parquet", 4000)
    found = geopandas.points_from_xy(
        *read_points(tmp_path / "p.parquet").coordinates.T, crs=4326
    ).to_crs(crs)
    in_fields = float(np.mean(np.asarray(found.x) > corner[0] + 1001))
    assert in_fields == pytest.approx(1 / 23, abs=0.01)
    box = "33.0,50.0,34.0,51.0"
    sample_area(box, tmp_path / "u.parquet", 4000)
    xy = read_points(tmp_path / "u.parquet").coordinates
    assert np.mean(xy[:, 0] > 33.5) == pytest.approx(0.5, abs=0.03)  # area knows no towns


def test_points_of_ones_own_are_shuffled_and_keep_what_is_known_of_them(tmp_path: Path) -> None:
    rows = [f"{50 + k / 1000},{30 + k / 1000},place {k},{k}" for k in range(200)]
    table = tmp_path / "places.csv"
    table.write_text("lat,lon,name,number\n" + "\n".join(rows) + "\n")
    sample_places(table, tmp_path / "p.parquet", seed=3)
    found = read_points(tmp_path / "p.parquet")
    numbers = found.attributes["number"]
    assert sorted(numbers) == list(range(200)) and np.any(np.diff(numbers) < 0)
    assert np.allclose(found.coordinates[:, 0], 30 + numbers / 1000)
    assert found.attributes["name"][0] == f"place {numbers[0]}"
    sample_places(table, tmp_path / "few.parquet", 20, seed=3)
    assert read_points(tmp_path / "few.parquet").attributes["number"].tolist() == list(numbers[:20])
    done = sample_places(table, tmp_path / "p.parquet", within="30.05,50,30.0999,51")
    assert done.points == 50
    with pytest.raises(UsageError, match=r"has 50 places there, fewer than 60"):
        sample_places(table, tmp_path / "p.parquet", 60, within="30.05,50,30.0999,51")
    with pytest.raises(UsageError, match=r"no place of .* lies in the polygon 1,1,2,2"):
        sample_places(table, tmp_path / "p.parquet", within="1,1,2,2")


def test_bad_input_is_refused_in_one_line_and_leaves_nothing(roads: Path, tmp_path: Path) -> None:
    bare = extract(tmp_path / "river.osm.pbf", Way(1, WEST, {"waterway": "river"}))
    empty = tmp_path / "empty.gpkg"
    geopandas.GeoDataFrame(geometry=[shapely.Point(1, 1)], crs=4326).to_file(empty)
    out = tmp_path / "out" / "p.parquet"
    out.parent.mkdir()
    cases: list[tuple[str, dict[str, object]]] = [
        ("river.osm.pbf has no roads: is it an extract with roads", {"roads": [bare]}),
        ("has no roads of the network rail", {"network": "rail"}),
        (
            "no roads of .* lie in the polygon 1,1,2,2: they lie in "
            r"9.5,47.1,9.55,47.15 \(west,south,east,north",
            {"within": "1,1,2,2"},
        ),
        ("no roads of the network drive of .* lie in", {"within": "1,1,2,2", "network": "drive"}),
        ("m of roads are less than a metre for each of 1,000,000 points", {"n": 10**6}),
        ("--n 0: write how many", {"n": 0}),
        ("--n -5", {"n": -5}),
        ("--seed -1", {"seed": -1}),
        ("--network boat", {"network": "boat"}),
        ("has no lines", {"roads": [empty]}),
        ("does not exist", {"roads": [tmp_path / "none.osm.pbf"]}),
        ("does not exist", {"roads": [tmp_path / "none.gpkg"]}),
        ("does not exist", {"within": str(tmp_path / "none.geojson")}),
        ("no roads are named", {"roads": []}),
    ]
    with pytest.raises(UsageError, match=r"GeoParquet; give a name that ends in \.parquet"):
        sample_roads([roads], out.with_suffix(".csv"), 100)
    for words, changed in cases:
        given = {"roads": [roads], "n": 100} | changed
        with pytest.raises(UsageError, match=words) as caught:
            sample_roads(given.pop("roads"), out, given.pop("n"), **given)  # type: ignore[arg-type]
        assert "\n" not in str(caught.value)
    for bad in (tmp_path / "none" / "p.parquet", tmp_path):
        with pytest.raises(OutputError, match="cannot be written"):
            sample_roads([roads], bad, 10)
    assert list(out.parent.iterdir()) == []


def test_an_interruption_leaves_the_file_that_was_there(roads: Path, tmp_path: Path) -> None:
    out = tmp_path / "out" / "p.parquet"
    out.parent.mkdir()
    sample_roads([roads], out, 10)
    before = out.read_bytes()

    def stages(title: str) -> object:
        def advance(_done: float, _total: int) -> None:
            if title == "drawing points":
                raise KeyboardInterrupt

        return advance

    with pytest.raises(KeyboardInterrupt):
        sample_roads([roads], out, 20, stages=stages)  # type: ignore[arg-type]
    assert out.read_bytes() == before and list(out.parent.iterdir()) == [out]


def test_memory_grows_with_the_roads_alone(tmp_path: Path) -> None:
    """However far apart the numbers of its nodes are, an extract takes no bitmap of them all."""
    copy = synthesise(tmp_path / "roads.osm.pbf", 1)
    code = (
        "import resource, sys; from geoloc.points import sample_roads\n"
        "import pyarrow.parquet, pyproj, osmium, shapely\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "done = sample_roads(sys.argv[1:2], sys.argv[2], 20_000)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    command = [sys.executable, "-c", code, str(copy), str(tmp_path / "p.parquet")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 80 * 1024  # KiB
    assert len(read_points(tmp_path / "p.parquet")) == 20_000


@pytest.mark.skipif(not LIECHTENSTEIN.exists(), reason="no real extract beside the project")
def test_a_real_country(tmp_path: Path) -> None:
    out = tmp_path / "p.parquet"
    done = sample_roads([LIECHTENSTEIN], out, 10_000, seed=1)
    assert 1_000_000 < (done.metres or 0) < 2_000_000
    xy = read_points(out).coordinates
    assert (xy.min(axis=0) > (9.3, 46.9)).all() and (xy.max(axis=0) < (9.8, 47.4)).all()
    # Vaduz and the plain of the Rhine against the mountains of the east, of equal size
    towns, mountains = ((xy[:, 0] > a) & (xy[:, 0] < a + 0.03) for a in (9.50, 9.58))
    assert towns.sum() > 2 * mountains.sum()


def test_a_file_that_is_read_is_never_written_over(roads: Path, tmp_path: Path) -> None:
    own, within = tmp_path / "own.csv", tmp_path / "box.geojson"
    own.write_text("lat,lon\n50,10\n51,11\n")
    within.write_text(json.dumps(shapely.geometry.mapping(shapely.box(0, 0, 80, 80))))
    (tmp_path / "link.parquet").symlink_to(roads)
    kept = {path: path.read_bytes() for path in (roads, own, within)}
    for out in (roads, within, tmp_path / "link.parquet"):
        with pytest.raises(UsageError, match="is one of the input files"):
            sample_roads([roads], out, 2, within=within)
    with pytest.raises(UsageError, match="is one of the input files"):
        sample_places(own, own)
    with pytest.raises(UsageError, match="is one of the input files"):
        sample_area(within, within, 5)
    assert {path: path.read_bytes() for path in kept} == kept
