"""Reads of neighbouring windows, one after the other, that share what they need.

A point's window is small, and most of what reading it takes is opening a file and decoding the
blocks that it touches; its neighbours touch the same. While reads are shared, files stay open, so
that GDAL keeps their decoded blocks, and web tiles stay decoded. What is read is the same to the
last bit: only how often the same bytes are decoded differs. It holds for the calling thread.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

_MOST = 64
"""Files, or decoded tiles, that are kept at a time; those used least recently go first."""


class _Kept(threading.local):
    things: Kept | None = None


class Kept:
    """What a thread keeps while it reads windows."""

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._things: OrderedDict[Hashable, tuple[Any, ExitStack]] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[ExitStack], Any]) -> Any:
        """What was made under this key, made now if it is not there: on a stack that ends it."""
        if key in self._things:
            self._things.move_to_end(key)
            return self._things[key][0]
        with ExitStack() as stack:
            made = make(stack)
            self._things[key] = made, stack.pop_all()
        if len(self._things) > self._most:
            _, (_, oldest) = self._things.popitem(last=False)
            oldest.close()
        return made

    def find(self, key: Hashable) -> Any | None:
        """What is kept under this key; None for nothing."""
        if key not in self._things:
            return None
        self._things.move_to_end(key)
        return self._things[key][0]

    def keep(self, key: Hashable, thing: Any) -> None:
        """Keep a thing that needs no end."""
        self.get(key, lambda _: thing)

    def close(self) -> None:
        """End all that is kept."""
        while self._things:
            _, (_, stack) = self._things.popitem()
            stack.close()


_HERE = _Kept()


def kept() -> Kept | None:
    """What this thread keeps; None where reads are not shared now."""
    return _HERE.things


@contextmanager
def sharing_reads() -> Iterator[None]:
    """Share what is read by this thread inside; within another such block nothing changes."""
    if _HERE.things is not None:
        yield
        return
    _HERE.things = Kept()
    try:
        yield
    finally:
        _HERE.things.close()
        _HERE.things = None
