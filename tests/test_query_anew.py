"""Queries that ask twice: distances of the moved vector, and what the answer says of them."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from geoloc.bulk import run_bulk
from geoloc.cube import Cube, Ledger, Status
from geoloc.query import anew, query_photos, search_scene
from geoloc.query.anew import ASKED_ANEW, places_all_over
from geoloc.query.matching import sample_cells
from geoloc.query.repeat import repeat_query
from geoloc.query.session import class_weights
from geoloc.report import QueryResult
from geoloc.search.feedback import with_feedback
from tests.bulk_place import Place
from tests.cubes import step_of, write_cube
from tests.media import save


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    return save(tmp_path / "a.jpg", 5)


def asked(place: Place, photo: Path, out: Path, **options: Any) -> QueryResult:
    (result,) = query_photos(place.cube, [photo], out, **options).results
    return result


@pytest.mark.parametrize("weights", [{}, {"indoor": 0.25, "beach": 2.0}], ids=["plain", "weights"])
def test_distances_are_those_of_the_moved_vector(
    place: Place, photo: Path, tmp_path: Path, weights: dict[str, float]
) -> None:
    result = asked(place, photo, tmp_path / "o", feedback=True, weights=weights)
    cube = Cube.open(place.cube)
    cells = cube.features.decode(cube.read(slice(None), slice(None)))
    distance = cube.features.distance(class_weights(weights, cube.features.names))
    own = np.asarray(result.vector, np.float32)
    (moved,) = with_feedback(own[None], cells.reshape(-1, cells.shape[-1]), distance)
    expected = [[distance.between(moved, cell) for cell in row] for row in cells]
    np.testing.assert_allclose(np.asarray(result.heatmap), expected, rtol=1e-3)
    plain = asked(place, photo, tmp_path / "p", weights=weights)
    assert plain.vector.tolist() == result.vector.tolist()  # shown is the photo's own
    assert np.abs(np.asarray(plain.heatmap) - expected).max() > 10 * step_of(cube)


def test_the_answer_says_so_and_is_repeated(place: Place, photo: Path, tmp_path: Path) -> None:
    result = asked(place, photo, tmp_path / "o", feedback=True)
    assert ASKED_ANEW in result.notes
    plain = asked(place, photo, tmp_path / "p")
    assert ASKED_ANEW not in plain.notes and any("--calibrate" in note for note in plain.notes)
    assert not any("--calibrate" in note for note in result.notes)  # which is without feedback
    assert result.folder is not None
    record = json.loads((result.folder / "query.json").read_text())
    assert record["parameters"]["feedback"] is True and ASKED_ANEW in record["notes"]
    assert repeat_query(result.folder / "query.json").exact
    record["parameters"]["feedback"] = False
    (tmp_path / "altered.json").write_text(json.dumps(record))
    assert not repeat_query(tmp_path / "altered.json").same


def test_a_bulk_run_asks_as_a_query_does(place: Place, photo: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    photo.rename(tmp_path / "photos" / "a.jpg")
    run_bulk(place.cube, tmp_path / "photos", tmp_path / "bulk", feedback=True)
    (record,) = (tmp_path / "bulk").rglob("query.json")
    one = asked(place, tmp_path / "photos" / "a.jpg", tmp_path / "o", feedback=True)
    told = json.loads(record.read_text())
    assert told["parameters"]["feedback"] and ASKED_ANEW in told["notes"]
    assert one.folder is not None
    alone = json.loads((one.folder / "query.json").read_text())
    for key in ("lat", "lon", "distance"):
        found, expected = ([c[key] for c in r["candidates"]] for r in (told, alone))
        assert found == pytest.approx(expected, rel=1e-4)


def test_scenes_are_asked_for_once(place: Place, tmp_path: Path) -> None:
    assert ASKED_ANEW not in search_scene(place.cube, "beach", tmp_path / "s").notes


def test_places_are_taken_evenly_from_all_over_a_cube(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(anew, "_PLACES", 100)
    features = np.random.default_rng(1).normal(0, 2, (24, 31, 4)).astype(np.float32)
    features[:5] = np.nan
    cube = write_cube(tmp_path / "c.zarr", features)
    known = features[5:].reshape(-1, 4)
    taken = places_all_over(cube)
    assert len(taken) == 99  # each sixth of 589
    np.testing.assert_allclose(taken, known[::6], atol=0.1)


def test_of_each_block_only_its_sample_is_kept(tmp_path: Path) -> None:
    """Views of samples would keep every block: of large blocks many gigabytes."""
    features = np.random.default_rng(2).normal(0, 2, (384, 384, 30)).astype(np.float32)
    cube = write_cube(tmp_path / "c.zarr", features)
    block = 128 * 128 * 30
    places_all_over(cube)  # what reading itself takes the first time is not counted
    places_all_over.cache_clear()
    tracemalloc.start()
    try:
        assert len(places_all_over(cube)) > 3500
        assert tracemalloc.get_traced_memory()[1] < 5 * block  # of nine
    finally:
        tracemalloc.stop()


def test_a_cube_of_which_most_is_missing_is_asked_twice_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(anew, "_BLOCKS", 1)
    features = np.full((130, 300, 4), np.nan, np.float32)
    features[129, 298:] = [[1, 2, 3, 4], [5, 6, 7, 8]]
    taken = places_all_over(write_cube(tmp_path / "c.zarr", features))
    np.testing.assert_allclose(taken, features[129, 298:], atol=0.1)


def test_blocks_outside_the_area_are_no_part_of_the_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a cube of a winding border most blocks may be such: photos would ask once, unnoticed."""
    monkeypatch.setattr(anew, "_BLOCKS", 2)
    features = np.random.default_rng(3).normal(0, 2, (4 * 128, 10, 4)).astype(np.float32)
    features[:128] = features[-128:] = np.nan
    cube = write_cube(tmp_path / "c.zarr", features)
    for row in (0, 3):
        Ledger(cube.url, cube.generation).mark((row, 0), Status.OUTSIDE, "ab" * 32)
    cube = Cube.open(tmp_path / "c.zarr")
    known = cube.features.decode(cube.read(slice(128, 384), slice(None))).reshape(-1, 4)
    np.testing.assert_array_equal(places_all_over(cube), known)
    assert len(sample_cells(cube)) == 500
