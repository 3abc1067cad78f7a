"""How callers hear how far a long computation of several stages is."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[float, int], None]
"""Called with how many are done, and of how many."""

Stages = Callable[[str], Progress]
"""Gives, for the name of a stage of the work, what is told how far it has come."""


def silent(_stage: str) -> Progress:
    """`Stages` that reports nothing."""
    return lambda _done, _total: None


def part_of(progress: Progress, number: int, parts: int) -> Progress:
    """For the part of a number (from 0) of equal parts of a stage: told as a share of all."""
    return lambda done, total: progress(number * total + done, parts * total)
