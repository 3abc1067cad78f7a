"""How well the best place of an answer matches what was asked."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ..scenes import display_name
from .formatting import percent


@dataclass(frozen=True)
class Match:
    """How well the best place matches what was asked, beside its rank: some cell is always first.

    weak: hardly; the answer of a search for what is not there looks so. Of a scene: probability
    (0..1) of the class at the best place, and the class that is likelier there, if one is, with
    its own. Of a photo: closer, by how much (0..1) the best place is closer to it than the middle
    place; random, the share of random vectors whose best place is as close (None where not
    measured); pairs, the share of photos of known places that lie at least as far from their own
    place as this one from the best of all (None where the model has no such figures).
    """

    weak: bool
    probability: float | None = None
    likelier: tuple[str, float] | None = None
    closer: float | None = None
    random: float | None = None
    pairs: float | None = None

    def to_json(self) -> dict[str, Any]:
        """For machines; what does not apply is null."""
        likelier = self.likelier and dict(zip(("scene", "probability"), self.likelier, strict=True))
        return {**asdict(self), "likelier": likelier}


def match_words(match: Match | None, title: str) -> str | None:
    """One sentence where even the best place hardly matches; None where all is well."""
    if match is None or not match.weak:
        return None
    return _scene_words(title, match) if match.probability is not None else _photo_words(match)


def match_record(match: Match | None, title: str) -> dict[str, Any] | None:
    """How well the best place matches, for machines, with the sentence for people or null."""
    return None if match is None else {**match.to_json(), "words": match_words(match, title)}


def _scene_words(title: str, match: Match) -> str:
    sure = percent(100 * (match.probability or 0.0))
    words = f"There may be no {title} here: at the best place its probability is only {sure}"
    if match.likelier is None:
        return f"{words}."
    name, share = match.likelier
    return f"{words}, that of {display_name(name)} is {percent(100 * share)}."


def _photo_words(match: Match) -> str:
    start = "This photo may not be from here:"
    if match.pairs is not None:
        share = percent(100 * (1 - match.pairs))
        return f"{start} {share} of photos match their own place better than it matches any here."
    share = percent(100 * max(match.closer or 0.0, 0.0))
    words = f"{start} even the best place is only {share} closer to it than an ordinary one"
    if match.random is None:
        return f"{words}."
    return f"{words}, and {percent(100 * match.random)} of random vectors do as well."
