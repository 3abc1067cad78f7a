"""How far a stage is that has several parts."""

from __future__ import annotations

from geoloc.progress import part_of, silent


def test_parts_are_told_as_shares_of_the_whole() -> None:
    told: list[tuple[float, int]] = []
    for number in range(3):
        advance = part_of(lambda done, total: told.append((done, total)), number, 3)
        for done in (1, 2):
            advance(done, 2)
    assert told == [(done, 6) for done in range(1, 7)]
    silent("searching")(1, 2)
