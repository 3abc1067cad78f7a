"""Ukrainian in Russian letters."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from geoloc.encoders.ukrainian import LETTERS, MOST, readings


def test_each_letter_is_read_as_those_that_stand_for_it() -> None:
    assert readings("Міст") == ["Міст", "мист", "мест", "мост"]
    assert readings("кар'єр") == ["кар'єр", "каръер"]
    assert "колии" in readings("колії") and "колеы" in readings("колії")
    assert readings("мост") == ["мост"]


@given(st.text("аеиоіїєґ' ", max_size=30))
def test_readings_are_few_and_have_russian_letters(words: str) -> None:
    first, *others = readings(words)
    assert first == words and len(others) <= MOST
    assert not any(LETTERS & set(other) for other in others)
