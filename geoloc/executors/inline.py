"""Work in this process."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import islice
from threading import Event

from .task import Data, Executor, Item, Outcome, Result, Task, one_line, reading

_READ_AHEAD = 2  # items read, or being read, while another is finished


@dataclass(frozen=True)
class InlineExecutor:
    """This process: threads read ahead while the calling thread finishes items in order."""

    read_ahead: int = _READ_AHEAD
    description: str = "inline"
    workers: int = 1

    def stream(
        self, work: Task[Item, Data, Result], items: Iterable[Item]
    ) -> Generator[Outcome[Item, Result], None, None]:
        """Outcomes in the order of the items; at most ``read_ahead`` items wait, read."""
        source = iter(items)
        waiting: deque[tuple[Item, Future[Data]]] = deque()
        pool = ThreadPoolExecutor(self.read_ahead, thread_name_prefix="read-ahead")
        over = Event()
        try:
            while True:
                room = self.read_ahead - len(waiting)
                waiting.extend(
                    (item, pool.submit(reading, over, work.read, item))
                    for item in islice(source, room)
                )
                if not waiting:
                    return
                yield _finish(work, *waiting.popleft())
        finally:
            over.set()
            pool.shutdown(wait=True, cancel_futures=True)


def open_inline(kind: str) -> AbstractContextManager[Executor]:
    """This process, called ``kind``; nothing is to be opened."""
    return nullcontext(InlineExecutor(description=kind))


def _finish(
    work: Task[Item, Data, Result], item: Item, read: Future[Data]
) -> Outcome[Item, Result]:
    try:
        return Outcome(item, work.finish(item, read.result()))
    except Exception as error:  # noqa: BLE001 one item's failure is told, the others go on
        return Outcome(item, None, one_line(error))
