"""Names that people gave, as names of files."""

from __future__ import annotations

import os

import pytest

from geoloc.names import (
    free_name,
    path_text,
    repeated_name,
    safe_name,
    text_path,
    unique_names,
    writable,
)


def test_folder_names_are_safe_and_unique() -> None:
    names = ["IMG", "img", "../etc", "..", "a/b\x00", "Київ 1", "IMG", "x" * 300]
    safe = list(unique_names(names))
    assert safe[:7] == ["IMG", "img-2", "_etc", "photo", "a_b_", "Київ 1", "IMG-3"]
    assert len(safe[7]) == 100
    assert safe_name("<script>") == "_script_"


def test_a_free_name_is_the_first_that_is_not_taken() -> None:
    taken = {"a", "a (2)", "a (4)"}
    assert free_name("b", taken.__contains__, "{} ({})") == "b"
    assert free_name("a", taken.__contains__, "{} ({})") == "a (3)"
    assert free_name("a", taken.__contains__) == "a-2"


@pytest.mark.parametrize("letter", ["漢", "я", "x", "𠀀"])
def test_names_are_cut_by_bytes_before_anything_is_added(letter: str) -> None:
    crop = " crop 12345,12345,12345,12345"
    names = list(unique_names([letter * 300] * 12, [crop] * 12))
    assert all(name.startswith(letter * 20) for name in names)
    assert all(len(name.encode()) <= 255 for name in names)
    assert names[0].endswith(crop) and names[11].endswith(f"{crop}-12")
    assert safe_name("Ж" * 100) == "Ж" * 100


def test_a_name_that_stands_twice() -> None:
    assert repeated_name(["a", "", "b", ""]) is None
    assert repeated_name(["b", "Lat ", "B", "lat"]) == "b"
    assert repeated_name(["lon", " LAT", "x", "lat"]) == "lat"


def test_half_characters_become_writable() -> None:
    assert writable("a \ud800 b") == r"a \ud800 b"
    assert writable("Київ 😀") == "Київ 😀"


def test_a_path_is_found_again_by_its_text() -> None:
    names = [b"a\xff.jpg", b"a\xfe.jpg", rb"a\udcff.jpg", rb"a\u005cudcff.jpg", rb"a\x\u.jpg"]
    paths = [os.fsdecode(name) for name in names]
    texts = [path_text(path) for path in paths]
    assert len(set(texts)) == len(names)
    assert texts[0] == r"a\udcff.jpg"
    assert "".join(texts).encode()
    assert [text_path(text) for text in texts] == paths
