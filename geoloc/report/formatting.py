"""Numbers, places, scenes and answers as people read them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from ..scenes import display_name

if TYPE_CHECKING:
    from ..candidates import Candidate
    from ..candidates.areas import SearchArea
    from ..candidates.regions import PlaceRecall, RankedRegions
    from ..models import Term


class OfPlace(Protocol):
    """What is read of the true place of an answer; `QueryResult` has it."""

    @property
    def truth(self) -> tuple[float, float] | None: ...

    @property
    def true_place(self) -> tuple[tuple[float, float], float | None] | None: ...


class Answered(OfPlace, Protocol):
    """What is read of an answer; `QueryResult` has it."""

    @property
    def lacking(self) -> Mapping[str, int]: ...

    @property
    def unsearched(self) -> int: ...

    @property
    def cells_asked(self) -> int: ...

    @property
    def searched_places(self) -> str: ...

    @property
    def measure(self) -> str: ...

    def probability(self, candidate: Candidate) -> float | None: ...


def percent(value: float) -> str:
    """A percentage with as many digits as it deserves: 0.02 %, 0.4 %, 17 %."""
    if value < 0.0001:
        return "<0.0001\u202f%"
    digits = 0 if value >= 10 else 1 if value >= 0.1 else 1 - math.floor(math.log10(value))
    return f"{value:.{digits}f}\u202f%".replace(".0\u202f", "\u202f")


def degrees(lon: float, lat: float, digits: int = 6) -> str:
    """Latitude and longitude as web maps take them: latitude first."""
    return f"{lat:.{digits}f}, {lon:.{digits}f}"


def metres(length: float) -> str:
    """A length on the ground: 85 m, 1.3 km, 240 km."""
    if length < 1000:
        return f"{length:.0f}\u202fm"
    return f"{length / 1000:,.{1 if length < 100_000 else 0}f}\u202fkm"


def round_length(length: float) -> str:
    """A length that somebody chose: 250 m, 25 km, 2.5 km."""
    return f"{length:g}\u202fm" if length < 1000 else f"{length / 1000:g}\u202fkm"


def area_size(km2: float) -> str:
    """A size on the ground: 2,100 m², 0.042 km², 0.42 km², 17 km²."""
    if km2 < 0.01:
        return f"{km2 * 1e6:,.0f}\u202fm²"
    digits = 3 if km2 < 0.1 else 2 if km2 < 1 else 1 if km2 < 10 else 0
    return f"{km2:,.{digits}f}\u202fkm²"


def areas_text(areas: Sequence[SearchArea]) -> str:
    """How much there is to search: 20 candidates in 3 areas to search, 0.42 km² in all."""
    points = sum(len(area.candidates) for area in areas)
    size = area_size(sum(area.km2 for area in areas))
    least = "" if all(area.whole for area in areas) else "at least "
    return (
        f"{points} candidate{'s' * (points != 1)} in {len(areas)} "
        f"area{'s' * (len(areas) != 1)} to search, {least}{size}{' in all' * (len(areas) > 1)}"
    )


def regions_text(regions: RankedRegions, recall: PlaceRecall | None = None) -> str:
    """How many regions are good, and which large places lie in them, in a line."""
    known, good = len(regions.order), len(regions.best_good)
    share = f" ({percent(100 * good / known)})" if known else ""
    count = f"{good:,} of {known:,} regions of {round_length(regions.layout.size)} are good{share}"
    if recall is None or not recall.places:
        return count
    return (
        f"{count}; {len(recall.found)} of {recall.places} places with more than "
        f"{recall.above:,.0f} people lie in them"
    )


def candidate_text(candidate: Candidate, result: Answered) -> str:
    """One paragraph about a candidate of an answer, for places where no markup is possible."""
    lines = [
        f"Rank {candidate.rank}: {closeness(candidate, result)}, "
        f"among the best {percent(candidate.percentile)} of the area."
    ]
    if candidate.shared:
        scenes = ", ".join(display_name(t.scene) for t in candidate.shared)
        lines.append(f"Both photo and place show: {scenes}.")
    lines += [f"{_part(term)} of the squared distance." for term in candidate.explanation]
    return "\n".join(lines)


def _part(term: Term) -> str:
    seen = "" if term.unnamed else f"photo {term.photo:+.1f}, place {term.place:+.1f}, "
    return f"{display_name(term.scene)}: {seen}{100 * term.share:.0f} %"


def closeness(candidate: Candidate, result: Answered) -> str:
    """How near a place comes to what was asked: probability 83 %, distance 1.234, score -2.345."""
    return f"{result.measure} {measured(result, candidate)}"


def differences(candidate: Candidate, top: int = 3) -> list[Term]:
    """Scenes that keep photo and place apart, the largest part of the distance first.

    Under a model's own metric a part may be negative; such a term takes nothing apart.
    """
    return sorted((t for t in candidate.explanation if t.share > 0), key=lambda t: -t.share)[:top]


def scene_list(scenes: Sequence[tuple[str, float]]) -> str:
    """Scenes with their shares in one line: highway 41 %, wheat field 22 %."""
    return ", ".join(f"{display_name(name)} {percent(100 * share)}" for name, share in scenes)


def unsearched(result: Answered) -> str:
    """How many of the cells in question were not searched, and why; empty where all were."""
    if not result.unsearched:
        return ""
    share = percent(100 * result.unsearched / max(result.cells_asked, 1))
    reasons = [f"{count:,} {reason}" for reason, count in result.lacking.items()]
    why = next(iter(result.lacking)) if len(reasons) == 1 else "; ".join(reasons)
    what = result.searched_places
    return f"{result.unsearched:,} of {result.cells_asked:,} {what} ({share}) not searched: {why}"


def measured(result: Answered, candidate: Candidate) -> str:
    """What a candidate's place measures, as a table has it: 83 %, or 1.234."""
    probability = result.probability(candidate)
    return f"{candidate.distance:.3f}" if probability is None else percent(100 * probability)


def truth_text(result: OfPlace) -> str:
    """How well the true place came out, where it is known."""
    if result.truth is None:
        return ""
    at, share = result.true_place or (None, None)
    if at is None:
        return "The true place lies outside the area."
    standing = "could not be searched" if share is None else f"is among the best {percent(share)}"
    return f"The true place {standing}."
