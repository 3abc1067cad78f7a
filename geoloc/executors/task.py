"""What executors have in common: work, its outcomes, one line for an error."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from ..errors import GeolocError

Item = TypeVar("Item")
Data = TypeVar("Data")
Result = TypeVar("Result")
Item_contra = TypeVar("Item_contra", contravariant=True)
Result_co = TypeVar("Result_co", covariant=True)
Thing = TypeVar("Thing")

_OPENING = threading.RLock()
_HERE = threading.local()  # of a thread that reads ahead: whether that is over


def still_wanted() -> bool:
    """Whether what this thread reads ahead is still wanted: not once the work was ended.

    A ``read`` that takes long asks now and then, so that Ctrl-C does not wait for its end.
    """
    over: threading.Event | None = getattr(_HERE, "over", None)
    return over is None or not over.is_set()


def reading(over: threading.Event, read: Callable[[Item], Data], item: Item) -> Data:
    """``read(item)`` in a thread of its own, wanted until ``over``."""
    _HERE.over = over
    try:
        return read(item)
    finally:
        del _HERE.over


class Task(Protocol[Item_contra, Data, Result_co]):
    """Something done to each item in two steps; must be picklable.

    ``read`` waits for disk or network and runs beside other items; ``finish`` computes, and
    one process runs one at a time, as it uses all threads given to that process.
    """

    def read(self, item: Item_contra, /) -> Data: ...

    def finish(self, item: Item_contra, data: Data, /) -> Result_co: ...


class Lazy(Generic[Thing]):
    """What ``opening`` gives, opened at its first use in each process.

    Work that needs a cube or a network holds it like this: sent to workers is how to open it.
    """

    def __init__(self, opening: Callable[[], Thing]) -> None:
        self._opening = opening
        self._opened: list[Thing] = []

    def __call__(self) -> Thing:
        if not self._opened:
            with _OPENING:  # threads that read ahead ask for it at the same time
                if not self._opened:
                    self._opened.append(self._opening())
        return self._opened[0]

    def __reduce__(self) -> tuple[type[Lazy[Thing]], tuple[Callable[[], Thing]]]:
        return type(self), (self._opening,)


@dataclass(frozen=True)
class Outcome(Generic[Item, Result]):
    """What became of an item: a result, or the error that prevented it."""

    item: Item
    result: Result | None
    error: str = ""


class Executor(Protocol):
    """Runs work; ``description`` says where, for people, ``workers`` how many share it."""

    @property
    def description(self) -> str: ...

    @property
    def workers(self) -> int: ...

    def stream(
        self, work: Task[Item, Data, Result], items: Iterable[Item]
    ) -> Generator[Outcome[Item, Result], None, None]:
        """Outcomes as they come, in any order; a failed item does not stop the others."""
        ...


def one_line(error: BaseException) -> str:
    """The first line of an error, with its kind unless it is one of geoloc's own."""
    text = (str(error).strip().splitlines() or [""])[0]
    if isinstance(error, GeolocError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
