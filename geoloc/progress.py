"""How callers hear how far a long computation is, and which of its stages that is."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[float, int], None]
"""Called with how many are done, the share of the one under way included, and of how many."""

Stages = Callable[[str], Progress]
"""Gives, for the name of a stage of the work, what is called with how far that stage is."""


def silent(_stage: str) -> Progress:
    """`Stages` that reports nothing."""
    return unheard


def unheard(_done: float, _total: int) -> None:
    """`Progress` that nobody follows."""


def part_of(progress: Progress, number: int, parts: int) -> Progress:
    """For the part of a number (from 0) of equal parts of a stage: reported as a share of all."""
    return lambda done, total: progress(number * total + done, parts * total)


def rate_words(per_second: float, noun: str = "") -> str:
    """How many a second, or an hour where that is less than one."""
    unit = f" {noun}" if noun else ""
    if per_second >= 1:
        return f"{per_second:,.{0 if per_second >= 100 else 1}f}{unit}/s"
    return f"{3600 * per_second:,.0f}{unit}/h"
