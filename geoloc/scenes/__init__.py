"""Scene classes by name: the list of Places365, its groups, and tolerant look-up of a name.

A key is written as Places365 orders its words, with ``-`` before the qualifier:
``soccer_field``, ``stadium-soccer``, ``apartment_building-outdoor``. Pure text and arithmetic.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from functools import cache, lru_cache
from importlib import resources

import numpy as np
from numpy.typing import ArrayLike

from ..arrays import F32
from ..errors import UnknownClassError, UsageError


class Group(StrEnum):
    """Kinds of places; a scene may belong to several (a park is natural and manmade)."""

    INDOOR = "indoor"
    NATURAL = "natural outdoor"
    MANMADE = "manmade outdoor"


_LETTERS = {"i": Group.INDOOR, "n": Group.NATURAL, "m": Group.MANMADE}
_LETTER = re.compile(r"^/?([a-z])/(?=\1)", re.IGNORECASE)  # Places365 sorts its names by it
_QUOTED = 100  # characters of a name that an error repeats
_PLACES = {"indoor", "outdoor", "interior", "exterior"}
_A_SLIP = 0.9  # similarity of spelling: "parkng lot" has 0.95, "mountain" and "fountain" 0.875


def _load() -> dict[str, frozenset[Group]]:
    lines = resources.files(__package__).joinpath("places365.txt").read_text("utf-8").split("\n")
    return {
        key: frozenset(_LETTERS[letter] for letter in letters)
        for key, letters in (line.split() for line in lines if line)
    }


GROUPS: Mapping[str, frozenset[Group]] = _load()
"""The groups of every Places365 class: indoor by the data set, the others by judgement."""

PLACES365: tuple[str, ...] = tuple(GROUPS)
"""The 365 scene classes, in the order of the logits of every network trained on Places365."""


def canonical(scene: str) -> str:
    """The key of a class in any spelling: ``/g/gymnasium/indoor`` -> ``gymnasium-indoor``.

    Lists of Places365 differ in their separators. A class outside Places365 keeps its name, except
    for separators in the data set's style.
    """
    known = _keys().get(_words(scene))
    return known or _LETTER.sub("", scene.strip()).replace("/", "-")


def groups_of(scene: str) -> frozenset[Group]:
    """The groups of a class in any spelling; none for a class outside Places365."""
    return GROUPS.get(canonical(scene), frozenset())


def without_group(classes: Sequence[str]) -> list[str]:
    """The classes in no group, to which no group weight applies."""
    return [scene for scene in classes if not groups_of(scene)]


def display_name(scene: str) -> str:
    """A class name for display: ``stadium-soccer`` -> ``stadium (soccer)``."""
    name, _, qualifier = canonical(scene).replace("_", " ").partition("-")
    return f"{name} ({qualifier})" if qualifier else name


def find_class(name: str, classes: Sequence[str]) -> str:
    """The class that a user's words mean: ``Soccer Stadium`` -> ``stadium-soccer``.

    Case, plural, word order and separators do not matter; a word may be left out if only one class
    has the others; of an indoor and an outdoor variant the outdoor one is chosen, as it is visible
    from above. Raises UnknownClassError naming the nearest classes.
    """
    words = _words(name)
    wanted = frozenset(words)
    exact = [c for c in classes if _words(c) == words] or [
        c for c in classes if wanted and frozenset(_words(c)) == wanted
    ]
    if exact:
        return exact[0]
    bare = [c for c in classes if wanted and frozenset(_words(c)) - _PLACES == wanted]
    for matches in (_outdoor(bare), bare, [c for c in classes if wanted and wanted < {*_words(c)}]):
        if len(matches) == 1:
            return matches[0]
    raise UnknownClassError(
        f"scene class {name[:_QUOTED]!r} is not one of this model's {len(classes)}: "
        f"did you mean {', '.join(suggest(name, classes)) or 'none of them'}?"
    )


def suggest(name: str, classes: Sequence[str], n: int = 5) -> list[str]:
    """The ``n`` classes nearest to a name, best first: by spelling and by words in common."""
    scores = {c: _similarity(_words(name), _words(c)) for c in classes}
    return sorted(scores, key=lambda c: -scores[c])[:n]


def is_misspelt(name: str, classes: Sequence[str]) -> bool:
    """Whether a name that is none of the classes is one letter or two off one of them."""
    return any(_spelling(_words(name), _words(c)) >= _A_SLIP for c in classes)


def group_weights(classes: Sequence[str], weights: Mapping[str | Group, float]) -> F32:
    """A weight per class ``(feature,)``: the maximum over the class's groups.

    ``weights`` gives groups by name ("indoor", "natural outdoor", "manmade outdoor", or just
    "natural", "manmade"); a group left out, and a class outside Places365, weighs 1.
    Raises UsageError for an unknown group, a negative weight, or if no class is left.
    """
    by_group = dict.fromkeys(Group, 1.0) | {_group(key): float(w) for key, w in weights.items()}
    if not all(0 <= w < float("inf") for w in by_group.values()):
        raise UsageError(f"group weights {dict(weights)}: weights must be 0 or more")
    result = np.array(
        [max((by_group[g] for g in groups_of(c)), default=1.0) for c in classes], np.float32
    )
    if not result.any():
        raise UsageError(f"group weights {dict(weights)} leave no class: give one more than 0")
    return result


def describe(
    vector: ArrayLike, classes: Sequence[str], top: int = 5
) -> tuple[tuple[str, float], ...]:
    """The ``top`` scenes of a feature vector with their softmax share: for display only."""
    logits = np.asarray(vector, np.float64)
    share = np.exp(logits - logits.max())
    share /= share.sum()
    return tuple((classes[i], float(share[i])) for i in np.argsort(-share, kind="stable")[:top])


def is_group(name: str) -> bool:
    """Whether a name denotes a group: ``indoor``, ``natural outdoor`` or ``natural``, …"""
    return _group_or_none(name) is not None


def _group(name: str) -> Group:
    if group := _group_or_none(name):
        return group
    raise UsageError(f"scene group {str(name)!r} is unknown: use {', '.join(Group)}")


def _group_or_none(name: str) -> Group | None:
    text = " ".join(re.split(r"[\W_]+", str(name).lower().replace("man-made", "manmade"))).strip()
    names = {name: group for group in Group for name in (group.value, group.value.split()[0])}
    return names.get(text)


@cache
def _keys() -> Mapping[tuple[str, ...], str]:
    return {_words(key): key for key in GROUPS}


def _outdoor(classes: Iterable[str]) -> list[str]:
    return [c for c in classes if {"outdoor", "exterior"} & {*_words(c)}]


@lru_cache(maxsize=4096)
def _words(name: str) -> tuple[str, ...]:
    """The words of a name in their order, lower case and singular, without Places' ``/a/``."""
    text = _LETTER.sub("", name.strip().lower())
    return tuple(_singular(w) for w in re.split(r"[\W_]+", text) if w)


def _singular(word: str) -> str:
    plural = len(word) > 3 and word.endswith("s") and not word.endswith("ss")
    return word[:-1] if plural else word


def _similarity(a: tuple[str, ...], b: tuple[str, ...]) -> float:
    by_order = _spelling(tuple(sorted(a)), tuple(sorted(b)))
    common = len({*a} & {*b}) / max(len({*a} | {*b}), 1)
    return max(_spelling(a, b), by_order) + common


def _spelling(a: tuple[str, ...], b: tuple[str, ...]) -> float:
    return difflib.SequenceMatcher(None, " ".join(a), " ".join(b)).ratio()
