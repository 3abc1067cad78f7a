"""Who decides whether pages hide photos: the user, else the area file, else what is usual."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from geoloc.area import load_area
from geoloc.bulk import run_bulk
from geoloc.cli import app
from geoloc.cube import Cube
from geoloc.errors import AreaError
from geoloc.query import query_photos
from tests.bulk_place import Place
from tests.media import save

HIDDEN = '<details class="sensitive">'


@pytest.fixture
def areas(place: Place, tmp_path: Path) -> Iterator[Any]:
    """Area files of the same cube, by what they say."""
    grid = Cube.open(place.cube).grid

    def written(told: bool | None) -> Path:
        path = tmp_path / f"{told}.yaml"
        path.write_text(
            f"name: a\ncrs: {grid.crs}\nbounds: {list(grid.bounds)}\nstep: {grid.step}\n"
            f"imagery: {{kind: geotiff, paths: [t.tif]}}\nmodel: tiny\ncube: {place.cube}\n"
            + ("" if told is None else f"sensitive: {str(told).lower()}\n")
        )
        return path

    yield written


def hidden(folder: Path) -> set[bool]:
    return {HIDDEN in path.read_text(encoding="utf-8") for path in folder.rglob("report.html")}


@pytest.mark.parametrize(
    ("told", "wish", "expected"),
    [(None, None, False), (True, None, True), (False, None, False), (True, False, False),
     (None, True, True)],
)  # fmt: skip
def test_a_query_hides_as_user_or_area_say(
    areas: Any, tmp_path: Path, told: bool | None, wish: bool | None, expected: bool
) -> None:
    query_photos(areas(told), [save(tmp_path / "a.jpg", 1)], tmp_path / "out", sensitive=wish)
    assert hidden(tmp_path / "out") == {expected}


@pytest.mark.parametrize(
    ("told", "wish", "expected"),
    [(None, None, True), (False, None, False), (True, False, False), (False, True, True)],
)
def test_a_bulk_run_hides_unless_somebody_says_no(
    areas: Any, tmp_path: Path, told: bool | None, wish: bool | None, expected: bool
) -> None:
    save(tmp_path / "in" / "a.jpg", 1)
    run_bulk(areas(told), tmp_path / "in", tmp_path / "out", sensitive=wish)
    assert hidden(tmp_path / "out") == {expected}
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert (f'<body class="{"sensitive" if expected else "unblurred"}">') in page
    assert ("Pictures are blurred until clicked" in page) == expected


def test_a_cube_that_is_named_itself_is_bulks_usual(place: Place, tmp_path: Path) -> None:
    save(tmp_path / "in" / "a.jpg", 1)
    run_bulk(place.cube, tmp_path / "in", tmp_path / "out")
    assert hidden(tmp_path / "out") == {True}


def test_a_bulk_run_with_another_wish_writes_its_pages_anew(place: Place, tmp_path: Path) -> None:
    save(tmp_path / "in" / "a.jpg", 1)
    for wish, expected in ((False, {False}), (None, {True})):
        report = run_bulk(place.cube, tmp_path / "in", tmp_path / "out", sensitive=wish)
        assert report.answered == 1
        assert hidden(tmp_path / "out") == expected


def test_the_commands_have_the_option(place: Place, tmp_path: Path) -> None:
    photo = save(tmp_path / "in" / "a.jpg", 1)
    asked = ["query", str(place.cube), str(photo), "--out", str(tmp_path / "q"), "--sensitive"]
    assert CliRunner().invoke(app, asked).exit_code == 0
    assert hidden(tmp_path / "q") == {True}
    asked = ["bulk", str(place.cube), str(tmp_path / "in"), "--out", str(tmp_path / "b")]
    assert CliRunner().invoke(app, [*asked, "--no-sensitive"]).exit_code == 0
    assert hidden(tmp_path / "b") == {False}


def test_the_flows_have_the_parameter() -> None:
    pytest.importorskip("prefect")
    from flows.geolocate_folder import geolocate_folder
    from flows.query_photo import query_photo

    for flow in (query_photo, geolocate_folder):
        parameter = inspect.signature(flow.fn).parameters["sensitive"]
        assert parameter.default is None


def test_a_word_that_is_neither_is_refused(areas: Any) -> None:
    path = areas(None)
    path.write_text(path.read_text() + "sensitive: very\n")
    with pytest.raises(AreaError, match="sensitive"):
        load_area(path)
