"""A file of points read in parts: what is counted and drawn, and what lies near."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from geoloc.errors import UsageError
from geoloc.points import file as points_file
from geoloc.points.file import PointSet, read_in_parts, writing_points
from geoloc.points.survey import neighbours, survey_points

COUNT = 5000


@pytest.fixture
def lonlat() -> np.ndarray:
    """Points of a country, some of which lie where others do."""
    rng = np.random.default_rng(4)
    xy = rng.uniform((22, 44), (40, 52), (COUNT, 2))
    xy[rng.integers(0, COUNT, 300)] = xy[rng.integers(0, COUNT, 300)]
    return xy


def written(path: Path, lonlat: np.ndarray, part: int = 1700) -> Path:
    number = np.arange(len(lonlat))
    with writing_points(path, {"sequence": "ab"}) as write:
        for start in range(0, len(lonlat), part):
            rows = slice(start, start + part)
            names = {"way_id": number[rows], "highway": np.full(len(number[rows]), "")}
            write(PointSet(lonlat[rows], number[rows], names, "ab"))
    return path


def replace_column(path: Path, name: str, values: pa.Array) -> None:
    about = pq.read_metadata(path).metadata
    kept = {key: value for key, value in about.items() if key != b"ARROW:schema"}
    table = pq.read_table(path)
    table = table.set_column(table.column_names.index(name), name, values)
    pq.write_table(table.replace_schema_metadata(kept), path)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(points_file, "_PART", 700)


def test_places_are_counted_once_and_bounds_are_those_of_all(
    tmp_path: Path, lonlat: np.ndarray
) -> None:
    found = survey_points(written(tmp_path / "p.parquet", lonlat))
    assert found.count == len(np.unique(lonlat, axis=0)) < COUNT
    assert found.bounds == (*lonlat.min(axis=0), *lonlat.max(axis=0))


def test_zero_is_one_place_whatever_its_sign(tmp_path: Path) -> None:
    xy = np.array([[0.0, 1.0], [-0.0, 1.0], [1.0, 0.0], [0.0, 0.0], [1.0, -0.0]])
    assert survey_points(written(tmp_path / "p.parquet", xy)).count == 3


def test_the_drawn_ones_are_of_the_file_and_from_all_of_it(
    tmp_path: Path, lonlat: np.ndarray
) -> None:
    drawn = survey_points(written(tmp_path / "p.parquet", lonlat)).drawn
    places = {tuple(place): row for row, place in enumerate(lonlat.tolist())}
    rows = [places[tuple(place)] for place in drawn.tolist()]
    assert len(rows) == 4096
    assert np.histogram(rows, 5, (0, COUNT))[0].min() > 600


@pytest.mark.parametrize("most", [1, 40, 9000])
def test_neighbours_are_those_of_a_naive_search(
    tmp_path: Path, lonlat: np.ndarray, most: int
) -> None:
    spot = lonlat[77]
    found = neighbours(written(tmp_path / "p.parquet", lonlat), spot, most)
    places = np.unique(lonlat, axis=0)
    away = np.hypot((places[:, 0] - spot[0]) * np.cos(np.radians(spot[1])), places[:, 1] - spot[1])
    expected = places[np.argsort(away)[:most]]
    assert {*map(tuple, found.tolist())} == {*map(tuple, expected.tolist())}
    assert tuple(found[0]) == tuple(spot)


def test_memory_does_not_grow_with_the_points_but_for_their_keys(tmp_path: Path) -> None:
    peaks = []
    for count in (250_000, 500_000):
        xy = np.random.default_rng(1).uniform((-170, -60), (170, 60), (count, 2))
        path = written(tmp_path / f"{count}.parquet", xy, 10_000)
        tracemalloc.start()
        survey_points(path)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 12 * 250_000


@pytest.mark.parametrize("order", [[0, 1, 1], [0, 1, 3], [0.0, 1.0, 2.0], [-1, 0, 1]])
def test_an_order_that_is_none_is_refused(tmp_path: Path, order: list[float]) -> None:
    path = written(tmp_path / "p.parquet", np.array([[30.0, 50.0], [31.0, 50.0], [32.0, 50.0]]))
    replace_column(path, "order", pa.array(order))
    with pytest.raises(UsageError, match="column order is not 0, 1, 2"):
        survey_points(path)


def test_a_row_without_a_point_is_named_by_its_number(tmp_path: Path, lonlat: np.ndarray) -> None:
    path = written(tmp_path / "p.parquet", lonlat[:2000])
    shapes = pq.read_table(path)["geometry"].to_pylist()
    shapes[1234] = None
    replace_column(path, "geometry", pa.array(shapes, pa.binary()))
    with pytest.raises(UsageError, match="row 1234 has nothing"):
        list(read_in_parts(path))
