"""How far a stage is that has several parts."""

from __future__ import annotations

import pytest

from geoloc.progress import part_of, rate_words, silent


def test_parts_are_told_as_shares_of_the_whole() -> None:
    told: list[tuple[float, int]] = []
    for number in range(3):
        advance = part_of(lambda done, total: told.append((done, total)), number, 3)
        for done in (1, 2):
            advance(done, 2)
    assert told == [(done, 6) for done in range(1, 7)]
    silent("searching")(1, 2)


@pytest.mark.parametrize(
    ("rate", "noun", "words"),
    [
        (12_345.6, "cells", "12,346 cells/s"), (99.94, "cells", "99.9 cells/s"),
        (1.0, "", "1.0/s"), (0.41, "points", "1,476 points/h"), (0.0, "points", "0 points/h"),
    ],
)  # fmt: skip
def test_a_rate_is_of_seconds_or_of_hours(rate: float, noun: str, words: str) -> None:
    assert rate_words(rate, noun) == words
