"""How far a long computation has come, reported from deep inside of it.

A block may take minutes, and what computes it does not know who waits for it. So it reports
to a listener in the same thread, if there is one: in a worker of a cluster a block is the
smallest step that is reported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_LISTENER: ContextVar[Callable[[float], None] | None] = ContextVar("listener", default=None)


@contextmanager
def listening(listener: Callable[[float], None]) -> Iterator[None]:
    """Have ``listener`` called with each share (0..1) that is reported inside."""
    token = _LISTENER.set(listener)
    try:
        yield
    finally:
        _LISTENER.reset(token)


def tell(share: float) -> None:
    """Report which share (0..1) of the computation at hand is done."""
    listener = _LISTENER.get()
    if listener is not None:
        listener(share)
