from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import osmium
import pytest
from osmium.osm import mutable

from geoloc.errors import UsageError
from geoloc.points.extracts import latest, read_extracts, require_extract
from geoloc.points.lines import Lines, joined
from tests.road_files import Way, extract, write_extract

A, B, C, D = (9.5, 47.1), (9.51, 47.1), (9.52, 47.11), (9.5, 47.2)
RAIL = {"railway": "rail"}
RIVER = {"waterway": "river"}


def read(*paths: Path, network: str = "all", many_bytes: int = 1 << 30) -> dict[int, list[Lines]]:
    found = joined(list(read_extracts(paths, network, many_bytes=many_bytes)))
    ways = dict[int, list[Lines]]()
    for k, way in enumerate(found.way_id.tolist()):
        ways.setdefault(way, []).append(found.select(np.arange(len(found)) == k))
    return ways


@pytest.mark.parametrize("many_bytes", [1 << 30, 0])
def test_ways_come_with_their_places_and_classes(tmp_path: Path, many_bytes: int) -> None:
    path = extract(
        tmp_path / "roads.osm.pbf",
        Way(7, [A, B, C]),
        Way(5, [C, D], {"highway": "track"}),
        Way(9, [A, D], RAIL),
        Way(11, [B, D], RIVER),
    )
    ways = read(path, many_bytes=many_bytes)
    assert sorted(ways) == [5, 7]
    assert np.array_equal(ways[7][0].coordinates, [A, B, C])
    assert [ways[way][0].highway[0] for way in (5, 7)] == ["track", "residential"]
    assert sorted(read(path, network="rail", many_bytes=many_bytes)) == [9]


def test_a_way_of_two_extracts_counts_once_and_in_its_latest_version(tmp_path: Path) -> None:
    numbers = dict[tuple[float, float], int]()
    west = write_extract(tmp_path / "w.osm.pbf", [Way(1, [A, B]), Way(2, [B, C])], numbers)
    east = write_extract(
        tmp_path / "e.osm.pbf", [Way(2, [B, D], version=2), Way(3, [C, D])], numbers
    )
    for order in ((west, east), (east, west)):
        ways = read(*order)
        assert {way: len(parts) for way, parts in ways.items()} == {1: 1, 2: 1, 3: 1}
        assert np.array_equal(ways[2][0].coordinates, [B, D])


def test_nodes_that_one_extract_lacks_come_from_another(tmp_path: Path) -> None:
    numbers = dict[tuple[float, float], int]()
    long = [A, B, C, D]
    west = write_extract(tmp_path / "w.osm.pbf", [Way(1, long, lacking=frozenset([2, 3]))], numbers)
    assert np.array_equal(read(west)[1][0].coordinates, [A, B])
    east = write_extract(tmp_path / "e.osm.pbf", [Way(1, long, lacking=frozenset([0]))], numbers)
    assert np.array_equal(read(west, east)[1][0].coordinates, long)


def test_ways_that_hold_their_places_need_no_nodes(tmp_path: Path) -> None:
    plain = extract(tmp_path / "plain.osm.pbf", Way(7, [A, B, C]), Way(8, [C, D]))
    placed = tmp_path / "placed.osm.pbf"
    table = osmium.index.create_map("sparse_mem_array")
    file = osmium.io.File(str(placed), "pbf,locations_on_ways=true")
    with osmium.SimpleWriter(file) as writer:
        ways = osmium.filter.EntityFilter(osmium.osm.WAY)
        osmium.apply(str(plain), osmium.NodeLocationsForWays(table), ways, writer)
    found = read(placed)
    assert np.array_equal(found[7][0].coordinates, [A, B, C])
    assert np.array_equal(found[8][0].coordinates, [C, D])


def test_a_way_with_a_gap_is_two_lines(tmp_path: Path) -> None:
    path = extract(tmp_path / "r.osm.pbf", Way(1, [A, B, C, D, A], lacking=frozenset([2])))
    assert [part.coordinates.tolist() for part in read(path)[1]] == [
        [list(A), list(B)], [list(D), list(A)],
    ]  # fmt: skip


def test_the_latest_version_is_taken_and_the_first_of_equal_ones() -> None:
    def ways(*rows: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        ids, versions = np.array(rows, np.int64).reshape(-1, 2).T
        return ids, versions

    kept = latest([ways((1, 1), (2, 3), (4, 1)), ways(), ways((1, 2), (2, 3), (3, 1), (3, 1))])
    assert [part.tolist() for part in kept] == [
        [False, True, True], [], [True, False, True, False],
    ]  # fmt: skip


@pytest.fixture
def roads(tmp_path: Path) -> Path:
    places = [(9.5 + k / 1e4, 47.0 + (k % 7) / 1e3) for k in range(30_000)]
    return extract(
        tmp_path / "roads.osm.pbf", *(Way(k + 1, places[k : k + 3]) for k in range(20_000))
    )


def test_a_truncated_extract_is_refused(roads: Path) -> None:
    whole = roads.read_bytes()
    for share in (0.3, 0.6, 0.95):
        roads.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(UsageError, match=r"roads\.osm\.pbf is damaged .*download it again"):
            list(read_extracts([roads], "all"))


def test_a_damaged_extract_is_refused(roads: Path) -> None:
    content = bytearray(roads.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 2000] = bytes(2000)
    roads.write_bytes(content)
    with pytest.raises(UsageError, match=r"is damaged"):
        list(read_extracts([roads], "all"))


O5M = b"\xff\xe0\x04o5m2\x10\x07\x01\x00\x02\x02\xfe"


@pytest.mark.parametrize(
    ("suffix", "kind"), [("osm", "XML"), ("osm.gz", "gzip"), ("osm.bz2", "bzip2"), ("o5m", "o5m")]
)
def test_other_formats_under_the_name_are_refused(tmp_path: Path, suffix: str, kind: str) -> None:
    path = tmp_path / "roads.osm.pbf"
    path.write_bytes(O5M)
    if suffix != "o5m":  # which osmium does not write
        other = tmp_path / f"x.{suffix}"
        with osmium.SimpleWriter(str(other)) as writer:
            writer.add_node(mutable.Node(id=1, version=1, location=A))
        shutil.copy(other, path)
    with pytest.raises(UsageError, match=rf"is {kind}: convert it with 'osmium cat"):
        require_extract(path)


def test_a_history_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "roads.osh.pbf"
    with osmium.SimpleWriter(str(path)) as writer:
        writer.add_node(mutable.Node(id=1, version=1, location=A))
    renamed = tmp_path / "roads.osm.pbf"
    shutil.copy(path, renamed)
    for file in (path, renamed):
        with pytest.raises(UsageError, match="is a history of OpenStreetMap"):
            require_extract(file)


def test_what_is_no_extract_is_refused(tmp_path: Path) -> None:
    for content, words in ((b"", "is empty"), (b"hello", "is not PBF"), (b"\0" * 99, "is not PBF")):
        path = tmp_path / "roads.osm.pbf"
        path.write_bytes(content)
        with pytest.raises(UsageError, match=words):
            require_extract(path)
    with pytest.raises(UsageError, match="is a folder"):
        require_extract(tmp_path)
    with pytest.raises(UsageError, match="does not exist"):
        require_extract(tmp_path / "none.osm.pbf")
