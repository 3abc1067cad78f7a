"""Work on Dask workers: what local, GPU and remote ones have in common.

What goes wrong: an item that fails is tried again, on other workers where there are any, and
then reported as failed. Items of a worker that is lost are given to the others by Dask itself. A
scheduler that is lost, or a cluster without workers, ends the work with a ClusterError.
"""

# mypy: allow-untyped-calls
from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
import uuid
from asyncio import CancelledError
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

from distributed import (
    Client,
    KilledWorker,
    WorkerPlugin,
    as_completed,
    get_worker,
    secede,
)
from distributed.comm.core import CommClosedError

from ..errors import ClusterError, UsageError
from .task import Data, Item, Outcome, Result, Task, one_line

_LOG = logging.getLogger(__name__)
_TALKERS = ("distributed", "distributed.client", "tornado.application")  # with levels of their own

_CONNECT_SECONDS = 20
_NO_WORKERS_SECONDS = 60.0
_ASK_SECONDS = 1.0  # between questions to the scheduler who is there
_TRIES = 3  # of an item, if possible on different workers


@dataclass(frozen=True)
class DaskExecutor:
    """The workers of a Dask cluster. Each is given the work once, then only items.

    Two items a thread are in flight, so that a worker that finishes one has the next at hand.
    """

    client: Client
    description: str

    @property
    def workers(self) -> int:
        """How many there are now."""
        return len(self.client.nthreads())

    def stream(
        self, work: Task[Item, Data, Result], items: Iterable[Item]
    ) -> Generator[Outcome[Item, Result], None, None]:
        """Outcomes as they come. Raises ClusterError where the cluster is lost."""
        key = uuid.uuid4().hex
        share = partial(self._share, _Share(key, work))
        with _lost_scheduler(self.client):
            share()
        try:
            with _lost_scheduler(self.client):
                yield from _Flow(self.client, key, share).outcomes(iter(items))
        finally:
            with contextlib.suppress(Exception):  # a lost cluster needs no tidying
                self.client.unregister_worker_plugin(f"geoloc-{key}")

    def _share(self, share: _Share) -> None:
        """Tell all workers; one that is lost while it is told must not end the work."""
        for last in [False] * (_TRIES - 1) + [True]:
            try:
                self.client.register_plugin(share, name=f"geoloc-{share.key}")
                return
            except OSError:
                if last or self.client.status != "running":
                    raise


@dataclass
class _Try:
    """An item under way: which try it is, and on whom it failed before."""

    item: Any
    failed_on: tuple[str, ...] = ()


class _Flow:
    """One stream of items through the workers that ``share`` gives the work ``key``."""

    def __init__(self, client: Client, key: str, share: Callable[[], None]) -> None:
        self.client, self.key, self.share = client, key, share
        self.doing: dict[Any, _Try] = {}
        self.done = as_completed()
        self._threads: dict[str, int] = {}
        self._asked = -_ASK_SECONDS
        self._idle_since: float | None = None

    @property
    def threads(self) -> dict[str, int]:
        """Threads of each worker, as they were a moment ago."""
        if time.monotonic() - self._asked > _ASK_SECONDS:
            self._threads, self._asked = self.client.nthreads(), time.monotonic()
        return self._threads

    def outcomes(self, items: Iterator[Any]) -> Generator[Outcome[Any, Any], None, None]:
        """Items as there is room for them, outcomes as they come."""
        try:
            while True:
                for item in islice(items, self._room()):
                    self._submit(_Try(item))
                if not self.doing:
                    return
                future = self._next()
                outcome = self._settle(self.doing.pop(future), future)
                if outcome is not None:
                    yield outcome
        finally:
            with contextlib.suppress(Exception):  # a lost scheduler has forgotten them anyhow
                self.client.cancel(list(self.doing))

    def _room(self) -> int:
        # less than nothing, once workers are lost
        return max(max(2, 2 * sum(self.threads.values())) - len(self.doing), 0)

    def _submit(self, attempt: _Try) -> None:
        others = [w for w in self.threads if w not in attempt.failed_on]
        somewhere = {"workers": others, "allow_other_workers": True} if attempt.failed_on else {}
        future = self.client.submit(_run, self.key, attempt.item, pure=False, **somewhere)
        self.doing[future] = attempt
        self.done.add(future)

    def _next(self) -> Any:
        """The next future that is done, while there is anybody to do it."""
        wait = 0.001
        while not self.done.has_ready():
            time.sleep(wait)
            wait = min(2 * wait, 0.02)
            self._watch()
        return next(self.done)

    def _watch(self) -> None:
        """Raise ClusterError where the scheduler is gone, or all workers have been for a while."""
        if self.client.status not in ("running", "connecting"):
            raise _gone(self.client)
        if self.threads:
            self._idle_since = None
            return
        self._idle_since = self._idle_since or time.monotonic()
        if time.monotonic() - self._idle_since > _NO_WORKERS_SECONDS:
            raise ClusterError(
                f"Dask cluster {_address(self.client)} has had no worker for "
                f"{_NO_WORKERS_SECONDS:.0f} s: start workers and run the same command again"
            )

    def _fetch(self, future: Any) -> Any:
        """The result; a worker that is lost with it on board takes it along, so never for ever."""
        while True:
            try:
                return future.result(timeout=_ASK_SECONDS)
            except TimeoutError:
                self._watch()
            except Exception as error:  # noqa: BLE001 whatever Dask has to say of the item
                return _of_dask(error)

    def _settle(self, attempt: _Try, future: Any) -> Outcome[Any, Any] | None:
        """What became of an item; None where it is tried again."""
        if future.cancelled():
            raise _gone(self.client)
        result = self._fetch(future)
        future.release()  # or Dask would do it again if the worker that holds the result is lost
        if not isinstance(result, _Failure):
            return Outcome(attempt.item, result)
        failed_on = (*attempt.failed_on, result.worker)
        if len(failed_on) >= _TRIES or result.final:
            return Outcome(attempt.item, None, result.error)
        if isinstance(result, _Untold):
            self.share()
        self._submit(_Try(attempt.item, failed_on))
        return None


def _of_dask(error: BaseException) -> _Failure:
    """A failure outside of the work itself: workers died, or the item could not be sent."""
    if isinstance(error, KilledWorker):
        lost = "the workers that took it were lost, one after the other: is there enough memory?"
        return _Failure("", lost, final=False)
    return _Failure("", one_line(error), final=True)


def _gone(client: Client) -> ClusterError:
    return ClusterError(
        f"the Dask scheduler {_address(client)} is gone: start it and run the same command again; "
        "what was written is kept"
    )


def _address(client: Client) -> str:
    return str(getattr(client.scheduler, "address", "")) or "that was given"


@contextlib.contextmanager
def _lost_scheduler(client: Client) -> Iterator[None]:
    try:
        yield
    except (OSError, TimeoutError, CancelledError) as error:  # distributed's errors of comms too
        raise _gone(client) from error


@dataclass(frozen=True)
class _Failure:
    """An item that a worker failed on; ``final``: another worker would do no better."""

    worker: str
    error: str
    final: bool


class _Untold(_Failure):
    """Of a worker that joined a scheduler which does not know the work: it was restarted."""


_SHARED: dict[str, Any] = {}  # in each worker: the work, by key
_FINISHING = threading.Lock()


class _Share(WorkerPlugin):
    """Gives every worker, those that join later too, the work once."""

    def __init__(self, key: str, work: Any) -> None:
        self.key, self.work = key, work

    def setup(self, worker: Any) -> None:  # noqa: ARG002 Dask's signature
        _SHARED[self.key] = self.work

    def teardown(self, worker: Any) -> None:  # noqa: ARG002 Dask's signature
        _SHARED.pop(self.key, None)


def _run(key: str, item: Any) -> Any:
    """Runs in a worker, which reads its next items while one is finished, however few threads
    it has: who has read gives up its place among them."""
    if key not in _SHARED:
        return _Untold(get_worker().address, "the worker has not received the task", final=False)
    try:
        work = _SHARED[key]
        data = work.read(item)
        secede()
        with _FINISHING:
            return work.finish(item, data)
    except Exception as error:  # noqa: BLE001 told to the client, whatever it is
        return _Failure(get_worker().address, one_line(error), isinstance(error, UsageError))


@contextlib.contextmanager
def connect(kind: str, start: Callable[[], Any]) -> Iterator[DaskExecutor]:
    """The executor of a Dask cluster, ``kind`` in messages.

    ``start`` gives the address of one that runs, or one that is closed again at the end. Raises
    ClusterError where it cannot be started or reached, or runs other versions.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(_quiet())
        client = _reach(kind, start, stack)
        _require_versions(client, kind)
        workers = len(client.nthreads())
        where = f"{kind}, {workers} worker{'s' * (workers != 1)}, {client.dashboard_link}"
        _LOG.info("Dask cluster %s", where)
        yield DaskExecutor(client, where)


def _reach(kind: str, start: Callable[[], Any], stack: contextlib.ExitStack) -> Client:
    try:
        cluster = start()
        cluster = cluster if isinstance(cluster, str) else stack.enter_context(cluster)
        client: Client = stack.enter_context(Client(cluster, timeout=_CONNECT_SECONDS))
        client.wait_for_workers(1, timeout=_CONNECT_SECONDS)
    except (OSError, TimeoutError, ValueError, RuntimeError, ImportError) as error:
        raise ClusterError(
            f"Dask cluster {kind} cannot be reached or started: {one_line(error)}"
        ) from error
    return client


def dashboard() -> str:
    """Where the dashboard of a cluster that is started here listens: it has no login, and shows
    what is computed; so on loopback, unless ``GEOLOC_DASHBOARD`` names another address."""
    return os.environ.get("GEOLOC_DASHBOARD") or "127.0.0.1:0"


def _require_versions(client: Client, kind: str) -> None:
    """Raise ClusterError where scheduler or workers run other versions of what must agree."""
    versions: Any = client.get_versions(packages=["geoloc", "zarr"])
    own = _versions(versions["client"])
    others = {"the scheduler": versions["scheduler"]} | {
        f"worker {address}": about for address, about in versions["workers"].items()
    }
    for who, about in others.items():
        theirs = _versions(about)
        # a scheduler only passes blocks on: it needs Dask alone
        names = own if who.startswith("worker") else ("dask", "distributed")
        for name in names:
            if theirs.get(name) != own[name]:
                raise ClusterError(
                    f"Dask cluster {kind}: {who} has {name} {theirs.get(name) or 'missing'}, "
                    f"here is {own[name]}: install the same versions on all machines"
                )


def _versions(about: dict[str, Any] | None) -> dict[str, str | None]:
    """Of what must agree; of Python the first two numbers."""
    packages = (about or {}).get("packages") or {}
    installed = {name: packages.get(name) for name in ("dask", "distributed", "geoloc", "zarr")}
    python = (packages.get("python") or "").split(".")[:2]
    return {"python": ".".join(python), **installed}


def _is_of_use(record: logging.LogRecord) -> bool:
    """Not so what asyncio tells of Dask's futures that were given up with their connection."""
    return not (record.exc_info and isinstance(record.exc_info[1], CommClosedError))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Dask's own remarks on connections that close are not for the user."""
    loggers = [logging.getLogger(name) for name in _TALKERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    futures = logging.getLogger("asyncio")
    futures.addFilter(_is_of_use)
    try:
        yield
    finally:
        futures.removeFilter(_is_of_use)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
