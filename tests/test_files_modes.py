"""Who may read answers: the modes of folders and files, whatever the umask and the writer."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from geoloc.bulk import run_bulk
from geoloc.errors import UsageError
from geoloc.files.modes import (
    VARIABLE,
    answers_mode,
    create_file,
    make_closed_folder,
    make_folder,
    open_answer,
    set_file_mode,
)
from geoloc.query import query_photos
from geoloc.report import write_report
from tests.bulk_place import Place
from tests.media import save
from tests.report_sample import FlatImagery, sample


@pytest.fixture(autouse=True)
def _no_umask() -> Iterator[None]:
    """Nothing is taken away: what is closed was made so."""
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def modes(folder: Path) -> set[tuple[str, int]]:
    return {("folder" if p.is_dir() else "file", mode(p)) for p in folder.rglob("*")}


PRIVATE = {("folder", 0o700), ("file", 0o600)}


def test_answers_are_private_by_default(tmp_path: Path) -> None:
    write_report(sample(), tmp_path / "out" / "a", FlatImagery())
    assert modes(tmp_path) == PRIVATE


@pytest.mark.parametrize(
    ("word", "folder", "file"), [("group", 0o750, 0o640), ("umask", 0o777, 0o666)]
)
def test_a_setting_opens_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str, folder: int, file: int
) -> None:
    monkeypatch.setenv(VARIABLE, word)
    write_report(sample(), tmp_path / "out" / "a")
    assert modes(tmp_path) == {("folder", folder), ("file", file)}


def test_group_answers_are_the_groups_under_a_strict_umask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "group")
    os.umask(0o077)
    write_report(sample(), tmp_path / "out" / "a")
    assert modes(tmp_path) == {("folder", 0o750), ("file", 0o640)}


def test_another_word_is_refused_with_the_three(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "0644")
    with pytest.raises(UsageError, match="0644: write private, group or umask"):
        answers_mode()


def test_folders_of_the_user_keep_their_modes(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir(mode=0o755)
    write_report(sample(), own / "new" / "answer")
    assert mode(own) == 0o755
    assert modes(own) == PRIVATE


def test_the_groups_bit_of_a_folder_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is made in such a folder belongs to its group: a team's folder."""
    monkeypatch.setenv(VARIABLE, "group")
    tmp_path.chmod(0o2770)
    if not mode(tmp_path) & stat.S_ISGID:
        pytest.skip("this file system has no such bit")
    make_folder(tmp_path / "answers")
    assert mode(tmp_path / "answers") == 0o2750


def test_queries_leave_nothing_open(place: Place, tmp_path: Path) -> None:
    photo = save(tmp_path / "in" / "a.jpg", 1)
    query_photos(place.cube, [photo], tmp_path / "out")
    assert mode(tmp_path / "out") == 0o700
    assert modes(tmp_path / "out") == PRIVATE


def test_bulk_runs_leave_nothing_open(place: Place, tmp_path: Path) -> None:
    """Its store, pictures, thumbnails, tables and page too; a rerun does not open them."""
    for number in (1, 2):
        save(tmp_path / "in" / f"{number}.jpg", number)
    (tmp_path / "in" / "bad.jpg").write_bytes(b"no picture")
    for _ in range(2):
        run_bulk(place.cube, tmp_path / "in", tmp_path / "out")
        assert mode(tmp_path / "out") == 0o700
        assert modes(tmp_path / "out") == PRIVATE
        (tmp_path / "out" / "results.geojson").unlink()


def test_nobody_may_look_while_an_answer_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Into a folder that all may read: at the first byte of each file its folder is closed."""
    own = tmp_path / "own"
    own.mkdir(mode=0o777)
    seen: list[int] = []
    from geoloc.report import write

    def spied(*args: object) -> None:
        seen.extend(mode(path) for path in own.iterdir())
        real(*args)  # type: ignore[arg-type]

    real = write.write_evidence
    monkeypatch.setattr(write, "write_evidence", spied)
    write_report(sample(), own)
    assert seen == [0o700]
    assert {mode(path) for path in own.iterdir()} == {0o600}


def test_a_file_is_closed_before_it_has_content(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.touch(0o666)
    with open_answer(path) as file:
        assert mode(path) == 0o600
        file.write("x")
    create_file(tmp_path / "b")
    assert mode(tmp_path / "b") == 0o600


def test_a_file_that_is_there_is_not_opened_again(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("kept")
    create_file(path)
    assert path.read_text() == "kept"


def test_what_a_killed_run_left_open_is_closed(tmp_path: Path) -> None:
    (tmp_path / "part").mkdir(0o777)
    make_closed_folder(tmp_path / "part")
    assert mode(tmp_path / "part") == 0o700


def test_file_systems_without_modes_are_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: object) -> None:
        raise PermissionError("Operation not permitted")

    monkeypatch.setattr(Path, "chmod", refuse)
    monkeypatch.setattr(os, "fchmod", refuse)
    os.umask(0o022)
    monkeypatch.setenv(VARIABLE, "group")
    make_folder(tmp_path / "a" / "b")
    with open_answer(tmp_path / "a" / "b" / "c") as file:
        file.write("x")
    set_file_mode(tmp_path / "a" / "b" / "c")
    write_report(sample(), tmp_path / "a" / "answer")
    assert (tmp_path / "a" / "answer" / "query.json").is_file()
