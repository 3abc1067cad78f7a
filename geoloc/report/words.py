"""Numbers of an answer put into plain words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..scenes import display_name

if TYPE_CHECKING:
    from ..candidates import Candidate, Term


def percent(value: float) -> str:
    """A percentage with as many digits as it deserves: 0.02 %, 0.4 %, 17 %."""
    if value < 0.0001:
        return "<0.0001\u202f%"
    digits = 0 if value >= 10 else 1 if value >= 0.1 else 1 - math.floor(math.log10(value))
    return f"{value:.{digits}f}\u202f%".replace(".0\u202f", "\u202f")


def degrees(lon: float, lat: float) -> str:
    """Latitude and longitude as web maps take them: latitude first."""
    return f"{lat:.6f}, {lon:.6f}"


def candidate_text(candidate: Candidate) -> str:
    """One paragraph about a candidate, for places where no markup is possible."""
    lines = [
        f"Rank {candidate.rank}: distance {candidate.distance:.3f}, "
        f"among the best {percent(candidate.percentile)} of the area."
    ]
    lines += [
        f"{display_name(t.scene)}: photo {t.photo:+.1f}, place {t.place:+.1f}, "
        f"{100 * t.share:.0f} % of the squared distance."
        for t in candidate.explanation
    ]
    return "\n".join(lines)


def agreements(terms: Sequence[Term], top: int = 3) -> list[Term]:
    """Scenes that both photo and place show, the strongest first."""
    both = [t for t in terms if min(t.photo, t.place) > 0 and not _apart(t)]
    return sorted(both, key=lambda t: -min(t.photo, t.place))[:top]


def differences(terms: Sequence[Term], top: int = 3) -> list[Term]:
    """Scenes that keep photo and place apart, the largest share of the distance first."""
    return sorted((t for t in terms if _apart(t)), key=lambda t: -t.share)[:top]


def _apart(term: Term) -> bool:
    """One of the two shows the scene less than half as strongly as the other."""
    weak, strong = sorted((term.photo, term.place))
    return bool(strong <= 0 or weak < strong / 2)
