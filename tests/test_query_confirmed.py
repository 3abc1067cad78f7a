"""Confirmed places: kept once, whole or not at all, and nothing that was not meant to be kept."""

from __future__ import annotations

import datetime as dt
import json
import stat
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pyproj import Transformer

from geoloc.domain import Grid
from geoloc.errors import OutputError, UsageError
from geoloc.query import open_cube, query_photos, search_scene
from geoloc.query.confirmed import confirm, read_confirmed, usual_file
from tests.bulk_place import Place
from tests.encoder_models import imagery

DAY = dt.date(2026, 3, 1)


def at(grid: Grid, row: int, col: int) -> str:
    """The centre of a cell as people write it."""
    to_degrees = Transformer.from_crs(grid.crs, 4326, always_xy=True)
    lon, lat = to_degrees.transform(grid.x[col], grid.y[row])
    return f"{lat:.7f},{lon:.7f}"


@pytest.fixture
def record(place: Place, tmp_path: Path) -> Path:
    photo = tmp_path / "harbour.png"
    Image.fromarray(imagery(60, 90).transpose(1, 2, 0)).save(photo)
    query_photos(place.cube, [photo], tmp_path / "out", top=2)
    return tmp_path / "out" / "harbour" / "query.json"


def test_a_place_is_kept_with_both_vectors(place: Place, record: Path, tmp_path: Path) -> None:
    cube, told = open_cube(place.cube), json.loads(record.read_text())
    file = tmp_path / "kept" / "confirmed.jsonl"
    kept = confirm(record, at(cube.grid, 3, 7), file=file, today=DAY)
    assert kept.new and kept.warnings == () and kept.confirmed.cell == (3, 7)
    (one,) = read_confirmed(file)
    assert one == kept.confirmed
    assert one.photos == (told["photos"][0]["sha256"],) and one.confirmed == DAY
    np.testing.assert_array_equal(np.float32(one.vector), np.float32([*told["vector"].values()]))
    np.testing.assert_array_equal(np.float32(one.place_vector), cube.vector(3, 7))
    assert (one.cube.generation, one.cube.model) == (cube.generation, cube.model_digest)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_nothing_else_of_the_photo_is_kept(place: Place, record: Path, tmp_path: Path) -> None:
    told = json.loads(record.read_text())
    told["photos"][0]["exif"] = {"gps": [50.111, 30.222], "camera": "mine"}
    record.write_text(json.dumps(told))
    confirm(record, at(open_cube(place.cube).grid, 3, 7), file=tmp_path / "c.jsonl")
    text = (tmp_path / "c.jsonl").read_text()
    assert told["photos"][0]["file"] not in text and "50.111" not in text and "mine" not in text


def test_twice_is_once_and_another_place_takes_over(
    place: Place, record: Path, tmp_path: Path
) -> None:
    grid, file = open_cube(place.cube).grid, tmp_path / "c.jsonl"
    confirm(record, at(grid, 3, 7), file=file, today=DAY)
    before = file.read_bytes()
    again = confirm(record, at(grid, 3, 7), file=file, today=DAY + dt.timedelta(days=1))
    assert not again.new and file.read_bytes() == before
    moved = confirm(record, at(grid, 5, 2), file=file)
    assert moved.new and "the new place counts" in moved.warnings[0]
    assert [one.cell for one in read_confirmed(file)] == [(5, 2)]
    assert len(file.read_text().splitlines()) == 2  # what was said before stays on record
    assert confirm(record, at(grid, 3, 7), file=file).new  # and back again
    assert [one.cell for one in read_confirmed(file)] == [(3, 7)]


@pytest.mark.usefixtures("place")
def test_outside_of_the_cube_is_said(record: Path) -> None:
    kept = confirm(record, "10.5N 20.25E")
    assert kept.file == usual_file() and kept.file.is_file()
    assert "is no place of the cube" in kept.warnings[0] and kept.confirmed.place_vector is None
    kept.file.unlink()


def test_what_cannot_be_confirmed_is_one_line(place: Place, record: Path, tmp_path: Path) -> None:
    file, grid = tmp_path / "c.jsonl", open_cube(place.cube).grid
    scene = search_scene(place.cube, grid_class(place), tmp_path / "out")
    assert scene.folder is not None
    for path, where, kind in (
        (scene.folder / "query.json", "50,30", UsageError),
        (record, "91,181", UsageError),
        (record, "north", UsageError),
        (tmp_path / "none.json", "50,30", UsageError),
    ):
        with pytest.raises(kind) as told:
            confirm(path, where, file=file)
        assert "\n" not in str(told.value) and not file.exists()
    (tmp_path / "plain").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        confirm(record, at(grid, 3, 7), file=tmp_path / "plain" / "c.jsonl")
    for line in ("{", '{"format": "geoloc-confirmed/1"}', "[]"):
        file.write_text(line + "\n")
        with pytest.raises(UsageError, match=r"c\.jsonl:1 is no confirmed photo"):
            confirm(record, at(grid, 3, 7), file=file)
        assert file.read_text() == line + "\n"


def grid_class(place: Place) -> str:
    return open_cube(place.cube).features.names[0]
