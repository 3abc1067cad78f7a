"""Names that people gave, as names of files."""

from __future__ import annotations

from geoloc.names import free_name, safe_name, unique_names


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
