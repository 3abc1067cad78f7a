"""Numbers of an answer put into plain words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..scenes import display_name

if TYPE_CHECKING:
    from ..candidates import Candidate, Term
    from .result import QueryResult


def percent(value: float) -> str:
    """A percentage with as many digits as it deserves: 0.02 %, 0.4 %, 17 %."""
    if value < 0.0001:
        return "<0.0001\u202f%"
    digits = 0 if value >= 10 else 1 if value >= 0.1 else 1 - math.floor(math.log10(value))
    return f"{value:.{digits}f}\u202f%".replace(".0\u202f", "\u202f")


def degrees(lon: float, lat: float) -> str:
    """Latitude and longitude as web maps take them: latitude first."""
    return f"{lat:.6f}, {lon:.6f}"


def metres(length: float) -> str:
    """A length on the ground: 85 m, 1.3 km, 240 km."""
    if length < 1000:
        return f"{length:.0f}\u202fm"
    return f"{length / 1000:,.{1 if length < 100_000 else 0}f}\u202fkm"


def unsearched(result: QueryResult) -> str:
    """How many of the cells asked for were not searched, and why; empty where all were."""
    if not result.unsearched:
        return ""
    share = percent(100 * result.unsearched / max(result.cells_asked, 1))
    reasons = [f"{count:,} {reason}" for reason, count in result.lacking.items()]
    why = next(iter(result.lacking)) if len(reasons) == 1 else "; ".join(reasons)
    return f"{result.unsearched:,} of {result.cells_asked:,} cells ({share}) not searched: {why}"


def candidate_text(candidate: Candidate) -> str:
    """One paragraph about a candidate, for places where no markup is possible."""
    lines = [
        f"Rank {candidate.rank}: distance {candidate.distance:.3f}, "
        f"among the best {percent(candidate.percentile)} of the area."
    ]
    if candidate.shared:
        scenes = ", ".join(display_name(t.scene) for t in candidate.shared)
        lines.append(f"Both photo and place show: {scenes}.")
    lines += [
        f"{display_name(t.scene)}: photo {t.photo:+.1f}, place {t.place:+.1f}, "
        f"{100 * t.share:.0f} % of the squared distance."
        for t in candidate.explanation
    ]
    return "\n".join(lines)


def differences(candidate: Candidate, top: int = 3) -> list[Term]:
    """Scenes that keep photo and place apart, the largest part of the distance first.

    Under a model's own metric a part may be negative; such a term takes nothing apart.
    """
    return sorted((t for t in candidate.explanation if t.share > 0), key=lambda t: -t.share)[:top]


def scene_list(scenes: Sequence[tuple[str, float]]) -> str:
    """Scenes with their shares in one line: highway 41 %, wheat field 22 %."""
    return ", ".join(f"{display_name(name)} {percent(100 * share)}" for name, share in scenes)
