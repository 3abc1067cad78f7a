"""Servers that will not serve for a while: a daily quota is used up, or they ask to wait long.

Whoever builds from them stops then, rather than ask on: what is finished stays, and the same
command goes on when the time is over. Errors reach the client as lines of text, from whatever
machine, and so the line says it.
"""

from __future__ import annotations

_WAITS = "the server asks to wait"


def refusal_line(fault: str, seconds: float) -> str:
    """What is said of a server that refuses requests for ``seconds``, having said ``fault``."""
    return f"{fault}: {_WAITS} {seconds:.0f} s"


def is_refusal(line: str) -> bool:
    """Whether an error is that of such a server."""
    return _WAITS in line
