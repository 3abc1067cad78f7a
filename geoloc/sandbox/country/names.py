"""Names of the places of a country."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

_FIRST = (
    "Al", "Bar", "Bel", "Bor", "Cher", "Dal", "Dob", "Dor", "Fal", "Gal", "Gor", "Hal", "Hor",
    "Ir", "Kal", "Kam", "Kor", "Lip", "Lom", "Mar", "Mel", "Mir", "Nor", "Ol", "Or", "Os",
    "Pol", "Ras", "Rod", "Sal", "Sel", "Sor", "Tal", "Tor", "Ur", "Val", "Ver", "Vis", "Vol",
    "Zal", "Zor", "Zub",
)  # fmt: skip
_MIDDLE = (
    "a", "e", "i", "o", "an", "en", "in", "ov", "or", "el", "al", "es", "ar", "em", "it", "ur",
)  # fmt: skip
_LAST = {
    "large": ["grad", "burg", "polis", "mark", "gard", "stad"],
    "small": ["ino", "ovka", "itsa", "ets", "ovo", "any", "ava", "ik", "ne", "sk", "no", "ryn"],
}
_MOST = 10_000  # draws: the syllables give some 8,000 small and 4,000 large names


def draw_names(rng: np.random.Generator, large: bool) -> Iterator[str]:
    """Different names, in the manner of towns (``large``) or of villages; ends when used up."""
    used: set[str] = set()
    lasts = _LAST["large" if large else "small"]
    for number in range(_MOST):
        parts = [_FIRST[rng.integers(len(_FIRST))], _MIDDLE[rng.integers(len(_MIDDLE))]]
        if number > _MOST // 2:
            parts.append("n" + _MIDDLE[rng.integers(len(_MIDDLE))])
        name = "".join(parts) + lasts[rng.integers(len(lasts))]
        if name not in used:
            used.add(name)
            yield name
