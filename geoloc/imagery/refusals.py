"""Servers that will not serve for a while: a daily quota is used up, or they ask to wait long.

Whoever builds from them stops then, rather than ask on: what is finished stays, and the same
command goes on when the time is over. Errors reach the client as lines of text, from whatever
machine, and so the line says it.
"""

from __future__ import annotations

_WAITS = "the server asks to wait"
_USED_UP = "its quota seems to be used up"


def refusal_line(fault: str, seconds: float, *, asked: bool = True) -> str:
    """What is said of a server that is not asked for ``seconds``, having said ``fault``.

    ``asked``: it told how long itself.
    """
    if asked:
        return f"{fault}: {_WAITS} {seconds:.0f} s"
    return f"{fault}, however often it was asked: {_USED_UP}, try again later"


def is_refusal(line: str) -> bool:
    """Whether an error is that of such a server."""
    return _WAITS in line or _USED_UP in line
