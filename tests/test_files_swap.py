"""Folders that change places."""

from __future__ import annotations

from pathlib import Path

import pytest

from geoloc.files import swap as module
from geoloc.files.swap import swap


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    one, other = tmp_path / "one", tmp_path / "ötherr"
    for folder in (one, other):
        folder.mkdir()
        (folder / folder.name).touch()
    return one, other


def test_both_have_what_the_other_had(folders: tuple[Path, Path]) -> None:
    one, other = folders
    if not swap(one, other):
        pytest.skip("this file system cannot exchange two names")
    assert [path.name for path in one.iterdir()] == ["ötherr"]
    assert [path.name for path in other.iterdir()] == ["one"]


def test_what_is_not_there_is_an_error(folders: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        swap(tmp_path / "nowhere", folders[0])
    assert [path.name for path in folders[0].iterdir()] == ["one"]


def test_a_system_that_cannot_says_so(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_rename", lambda: None)
    assert not swap(*folders)
    assert [path.name for path in folders[0].iterdir()] == ["one"]
