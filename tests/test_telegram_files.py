"""Files that an export names, found though their names were changed on the way."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from geoloc.bulk.media import find_media
from geoloc.errors import UsageError
from geoloc.telegram.files import Files, is_absent
from tests.media import message, save, write_export

NAME = "Київ й ü.jpg"


@pytest.mark.parametrize("named", ["NFC", "NFD"])
@pytest.mark.parametrize("there", ["NFC", "NFD"])
def test_names_in_another_normal_form_are_found(tmp_path: Path, named: str, there: str) -> None:
    folder = unicodedata.normalize(there, "фотої")  # type: ignore[arg-type]
    save(tmp_path / folder / unicodedata.normalize(there, NAME), 1)  # type: ignore[arg-type]
    told = unicodedata.normalize(named, f"фотої/{NAME}")  # type: ignore[arg-type]
    write_export(tmp_path, [message(1, photo=told)])
    found = find_media(tmp_path)
    assert ([len(m.messages) for m in found.media], found.failures) == ([1], {})


def test_capitals_may_differ_where_one_file_is_meant(tmp_path: Path) -> None:
    files = Files(tmp_path.resolve())
    for name in ("Photos/IMG_1.JPG", "Photos/b.jpg", "Photos/B.jpg"):
        save(tmp_path / "x.jpg", 1).rename(_made(tmp_path / name))
    assert files.find("photos/img_1.jpg").name == "IMG_1.JPG"
    assert files.find("Photos/B.jpg").name == "B.jpg"
    with pytest.raises(UsageError, match="is missing"):
        files.find("photos/b.JPG")  # either may be meant


def _made(path: Path) -> Path:
    path.parent.mkdir(exist_ok=True)
    return path


def test_a_numbered_copy_is_taken_only_where_it_is_certain(tmp_path: Path) -> None:
    copy = save(tmp_path / "photos" / "a (1).jpg", 1)
    size, files = copy.stat().st_size, Files(tmp_path.resolve())
    assert files.find("photos/a.jpg", size) == copy.resolve()
    for told in (None, size + 1):
        with pytest.raises(UsageError, match="is missing"):
            files.find("photos/a.jpg", told)
    (tmp_path / "photos" / "a (2).jpg").write_bytes(copy.read_bytes())
    with pytest.raises(UsageError, match="is missing"):
        Files(tmp_path.resolve()).find("photos/a.jpg", size)
    write_export(tmp_path, [message(1, photo="photos/A(1).jpg", photo_file_size=size)])
    assert "result.json: message 1 of Watch" in find_media(tmp_path).failures


@pytest.mark.parametrize(
    ("sentence", "reason"),
    [("(File not included. Change data exporting settings to download.)", "photos and videos"),
     ("(File exceeds maximum size. Change data exporting settings to download.)", "size limit"),
     ("(File unavailable, please try again later)", "export it later"),
     ("(Photo not included. Change data exporting settings to download.)", "does not include"),
     ("card (File unavailable, please try again later)", "export it later"), ("", "include")],
)  # fmt: skip
def test_sentences_of_the_exporter_are_no_paths(tmp_path: Path, sentence: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        Files(tmp_path.resolve()).find(sentence)


def test_names_with_parentheses_are_paths(tmp_path: Path) -> None:
    assert not is_absent("(1).jpg")
    assert Files(tmp_path.resolve()).find(save(tmp_path / "(1).jpg", 1).name).name == "(1).jpg"
