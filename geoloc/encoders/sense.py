"""Whether words say anything to the sentence encoder, which gives a vector for "asdfgh" as well.

Two signs that need no list of words. A linear function of the vector, fitted to words of the
encoder's own vocabulary against letters in random order. And steadiness: the vector of words that
mean something changes little when they stand in another sentence.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from ..arrays import F32, F64

Encode = Callable[[Sequence[str]], F32]

SENTENCES = ("a photo of {}", "{}, aerial view", "{}.")
"""Sentences that words are tried in."""

WEIGHTS = Path(__file__).with_name("sense.safetensors")
"""``weights`` (512,), ``shift`` (1,): made by ``tests/benchmarks/bench_words.py``."""

STEADY = 4.0
"""What steadiness weighs beside the linear function."""

_ALPHABETS = ("LATIN", "CYRILLIC", "ARABIC", "THAI")
_SYLLABLES = ("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "IDEOGRAPHIC")
_KNOWN = (*_ALPHABETS, *_SYLLABLES)
"""Scripts of the encoder's 16 languages, as Unicode names its letters."""

_SHORTEST = 3  # letters of a word of an alphabet
_RUSSIAN = frozenset("абвгдеёжзийклмнопрстуфхцчшщъыьэюя")


def unreadable(words: str) -> str | None:
    """Why words cannot mean anything to the encoder: too few letters, or of another script."""
    letters = _letters(words)
    known = [c for c in letters if _script(c).startswith(_KNOWN)]
    syllables = [c for c in known if _script(c).startswith(_SYLLABLES)]
    if letters and 2 * len(known) < len(letters):
        return f"{_script(letters[0]).capitalize()} letters are of no language that it knows"
    if not syllables and len(known) < _SHORTEST:
        return "there are too few letters in it"
    return None


def foreign_letters(words: str) -> str:
    """Cyrillic letters that Russian, the one language of them that the encoder knows, has not."""
    letters = dict.fromkeys(c for c in _letters(words.lower()) if _script(c) == "CYRILLIC")
    return "".join(c for c in letters if c not in _RUSSIAN)


def sense(words: Sequence[str], encode: Encode) -> F64:
    """How much words look like words to the encoder ``(text,)``: about 0 and more do."""
    own = encode(words)
    state = _weights()
    linear = own @ state["weights"] + state["shift"]
    return np.asarray(linear + STEADY * steadiness(words, own, encode), np.float64)


def steadiness(words: Sequence[str], own: F32, encode: Encode) -> F32:
    """Mean cosine ``(text,)`` of the vectors ``own`` of words to those of sentences with them."""
    said = [encode([sentence.format(text) for text in words]) for sentence in SENTENCES]
    return np.asarray(np.mean([(own * one).sum(axis=1) for one in said], axis=0), np.float32)


def _letters(words: str) -> list[str]:
    return [c for c in unicodedata.normalize("NFKC", words) if c.isalpha() and c.isprintable()]


def _script(letter: str) -> str:
    return unicodedata.name(letter, "unnamed").split()[0]


@cache
def _weights() -> dict[str, F32]:
    state = load_file(WEIGHTS)
    return {name: np.asarray(values, np.float32) for name, values in state.items()}
