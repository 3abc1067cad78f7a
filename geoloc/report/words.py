"""An answer put into plain words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .formatting import percent

if TYPE_CHECKING:
    from ..candidates import Candidate
    from .result import QueryResult


def unsearched(result: QueryResult) -> str:
    """How many of the cells asked for were not searched, and why; empty where all were."""
    if not result.unsearched:
        return ""
    share = percent(100 * result.unsearched / max(result.cells_asked, 1))
    reasons = [f"{count:,} {reason}" for reason, count in result.lacking.items()]
    why = next(iter(result.lacking)) if len(reasons) == 1 else "; ".join(reasons)
    return f"{result.unsearched:,} of {result.cells_asked:,} cells ({share}) not searched: {why}"


def measured(result: QueryResult, candidate: Candidate) -> str:
    """What a candidate's place measures, as a table has it: 83 %, or 1.234."""
    probability = result.probability(candidate)
    return f"{candidate.distance:.3f}" if probability is None else percent(100 * probability)


def truth_text(result: QueryResult) -> str:
    """How well the true place came out, where it is known."""
    if result.truth is None:
        return ""
    at, share = result.true_place or (None, None)
    if at is None:
        return "The true place lies outside of the area."
    told = "could not be searched" if share is None else f"is among the best {percent(share)}"
    return f"The true place {told}."
