"""Executors: a stream of work items through this process, local workers, GPUs or a cluster.

All of them take the same ``Work`` and give the same results; they differ only in where it
runs. Items are taken from their iterator as room comes free, so that a country's blocks are
never held at once, on no side.
"""

# mypy: allow-untyped-calls
from __future__ import annotations

import contextlib
import logging
import os
import threading
import uuid
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic, Protocol, TypeVar

from distributed import Client, WorkerPlugin, as_completed

from .errors import ClusterError, GeolocError, UsageError

Item = TypeVar("Item")
Data = TypeVar("Data")
Result = TypeVar("Result")
Item_contra = TypeVar("Item_contra", contravariant=True)
Result_co = TypeVar("Result_co", covariant=True)

_CONNECT_SECONDS = 20
_FEW_BLOCKS = 16  # starting workers, each with a model of its own, costs more than they save
_FEW_CORES = 4  # one network on all of these is about as fast as several beside each other
_READ_AHEAD = 2  # items read, or being read, while another is finished


class Work(Protocol[Item_contra, Data, Result_co]):
    """Something done to each item in two steps; must be picklable.

    ``read`` waits for disk or network and runs beside other items; ``finish`` computes, and
    one process runs one at a time, as it uses all threads given to that process.
    """

    def read(self, item: Item_contra, /) -> Data: ...

    def finish(self, item: Item_contra, data: Data, /) -> Result_co: ...


@dataclass(frozen=True)
class Outcome(Generic[Item, Result]):
    """What became of an item: a result, or the error that prevented it."""

    item: Item
    result: Result | None
    error: str = ""


class Executor(Protocol):
    """Runs work; ``description`` tells people where."""

    @property
    def description(self) -> str: ...

    def stream(
        self, work: Work[Item, Data, Result], items: Iterable[Item]
    ) -> Generator[Outcome[Item, Result], None, None]:
        """Outcomes as they come, in any order; a failed item does not stop the others."""
        ...


@dataclass(frozen=True)
class InlineExecutor:
    """This process: threads read ahead while the calling thread finishes items in order."""

    read_ahead: int = _READ_AHEAD
    description: str = "inline"

    def stream(
        self, work: Work[Item, Data, Result], items: Iterable[Item]
    ) -> Generator[Outcome[Item, Result], None, None]:
        """Outcomes in the order of the items; at most ``read_ahead`` items wait, read."""
        source = iter(items)
        waiting: deque[tuple[Item, Future[Data]]] = deque()
        pool = ThreadPoolExecutor(self.read_ahead, thread_name_prefix="read-ahead")
        try:
            while True:
                room = self.read_ahead - len(waiting)
                waiting.extend(
                    (item, pool.submit(work.read, item)) for item in islice(source, room)
                )
                if not waiting:
                    return
                yield _finish(work, *waiting.popleft())
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _finish(
    work: Work[Item, Data, Result], item: Item, read: Future[Data]
) -> Outcome[Item, Result]:
    try:
        return Outcome(item, work.finish(item, read.result()))
    except Exception as error:  # noqa: BLE001 one item's failure is told, the others go on
        return Outcome(item, None, one_line(error))


@dataclass(frozen=True)
class DaskExecutor:
    """The workers of a Dask cluster. Each is given the work once, then only items.

    Two items a thread are in flight, so that a worker that finishes one has the next at hand.
    """

    client: Client
    description: str

    def stream(
        self, work: Work[Item, Data, Result], items: Iterable[Item]
    ) -> Generator[Outcome[Item, Result], None, None]:
        """Outcomes as they come; items of lost workers are done again by the others."""
        key = uuid.uuid4().hex
        self.client.register_plugin(_Share(key, work), name=f"geoloc-{key}")
        source = iter(items)
        doing: dict[Any, Item] = {}
        done = as_completed()
        try:
            while True:
                for item in islice(source, self._in_flight() - len(doing)):
                    future = self.client.submit(_run, key, item, pure=False)
                    doing[future] = item
                    done.add(future)
                if not doing:
                    return
                future = next(done)
                yield _outcome(doing.pop(future), future)
        finally:
            self.client.cancel(list(doing))
            self.client.unregister_worker_plugin(f"geoloc-{key}")

    def _in_flight(self) -> int:
        threads: dict[str, int] = self.client.nthreads()
        return max(2, 2 * sum(threads.values()))


def _outcome(item: Item, future: Any) -> Outcome[Item, Any]:
    error = future.exception()
    if error is not None:
        return Outcome(item, None, one_line(error))
    return Outcome(item, future.result())


def one_line(error: BaseException) -> str:
    """The first line of an error, with its kind unless it is one of geoloc's own."""
    text = (str(error).strip().splitlines() or [""])[0]
    if isinstance(error, GeolocError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


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
    """Runs in a worker: while one of its threads finishes an item, another reads the next."""
    work = _SHARED[key]
    data = work.read(item)
    with _FINISHING:
        return work.finish(item, data)


@contextlib.contextmanager
def open_cluster(kind: str = "auto", *, blocks: int | None = None) -> Iterator[Executor]:
    """An executor, closed again at the end.

    ``auto``: GPUs where torch sees any; else workers where there are enough cores and
    ``blocks`` to pay for starting them; else this process. ``inline``, ``local``, ``cuda``, or
    the address of a running Dask scheduler (``tcp://host:8786``). Raises ClusterError where it
    cannot be started or reached, UsageError for any other word.
    """
    if kind == "auto":
        kind = choose(gpu_count(), os.cpu_count() or 1, blocks)
    if kind == "inline":
        yield InlineExecutor()
        return
    if kind not in ("local", "cuda") and "://" not in kind:
        raise UsageError(
            f"--cluster {kind}: say auto, inline, local, cuda or the address of a Dask "
            "scheduler such as tcp://host:8786"
        )
    with contextlib.ExitStack() as stack:
        stack.enter_context(_quiet())
        yield _connect(kind, stack)


def choose(gpus: int, cores: int, blocks: int | None) -> str:
    """What ``auto`` means on this machine for so many blocks (None: unknown, many)."""
    if gpus:
        return "cuda"
    few = blocks is not None and blocks < _FEW_BLOCKS
    return "inline" if few or cores <= _FEW_CORES else "local"


def gpu_count() -> int:
    """How many CUDA devices torch sees."""
    import torch

    return torch.cuda.device_count()


def local_arguments(cores: int) -> dict[str, Any]:
    """Of distributed.LocalCluster: workers of up to four cores that together use each core once.

    A worker has two Dask threads, one to read and one to compute; the computing libraries in
    it are told its share of the cores.
    """
    workers = max(1, cores // _FEW_CORES) if cores > _FEW_CORES else min(2, cores)
    threads = str(max(1, cores // workers))
    return {
        "n_workers": workers,
        "threads_per_worker": 2,
        "processes": True,
        "dashboard_address": ":0",
        "silence_logs": logging.CRITICAL,
        # Dask would pause workers that hold large models; blocks in flight bound the rest.
        "memory_limit": 0,
        "env": {f"{name}_NUM_THREADS": threads for name in ("OMP", "MKL", "OPENBLAS", "NUMBA")},
    }


def cuda_arguments() -> dict[str, Any]:
    """Of dask_cuda.LocalCUDACluster: one worker and one thread a GPU."""
    return {"threads_per_worker": 1, "dashboard_address": ":0", "silence_logs": logging.CRITICAL}


def _connect(kind: str, stack: contextlib.ExitStack) -> DaskExecutor:
    """A client of a cluster that is started here, or of one that runs elsewhere."""
    try:
        cluster = kind if "://" in kind else stack.enter_context(_start(kind))
        client = stack.enter_context(Client(cluster, timeout=_CONNECT_SECONDS))
    except (OSError, TimeoutError, ValueError, RuntimeError, ImportError) as error:
        raise ClusterError(
            f"Dask cluster {kind} cannot be reached or started: {one_line(error)}"
        ) from error
    workers = client.nthreads()
    if not workers:
        client.wait_for_workers(1, timeout=_CONNECT_SECONDS)
    return DaskExecutor(client, f"{kind}, {len(workers)} workers, {client.dashboard_link}")


def _start(kind: str) -> Any:
    if kind == "local":
        from distributed import LocalCluster

        return LocalCluster(**local_arguments(os.cpu_count() or 1))
    if not gpu_count():
        raise ClusterError("--cluster cuda: torch sees no CUDA device: use auto, inline or local")
    try:
        from dask_cuda import LocalCUDACluster
    except ImportError:
        raise ClusterError("--cluster cuda needs dask-cuda: pip install 'geoloc[cuda]'") from None
    return LocalCUDACluster(**cuda_arguments())


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Dask's own remarks on connections that close are not for the user."""
    loggers = [logging.getLogger(name) for name in ("distributed", "tornado.application")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
