"""Work on Dask workers: processes of this machine, its GPUs, or a cluster elsewhere."""

# mypy: allow-untyped-calls
from __future__ import annotations

import contextlib
import logging
import os
import threading
import uuid
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from distributed import Client, LocalCluster, WorkerPlugin, as_completed

from ..errors import ClusterError
from .machine import CORES_A_WORKER, gpu_count
from .work import Data, Item, Outcome, Result, Work, one_line

_CONNECT_SECONDS = 20


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
def open_workers(kind: str) -> Iterator[DaskExecutor]:
    """``local``, ``cuda`` or a scheduler's address. Raises ClusterError where there is none."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(_quiet())
        yield _connect(kind, stack)


def local_arguments(cores: int) -> dict[str, Any]:
    """Of distributed.LocalCluster: workers of up to four cores that together use each core once.

    A worker has two Dask threads, one to read and one to compute; the computing libraries in
    it are told its share of the cores.
    """
    workers = max(1, cores // CORES_A_WORKER) if cores > CORES_A_WORKER else min(2, cores)
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
        client.wait_for_workers(1, timeout=_CONNECT_SECONDS)
    except (OSError, TimeoutError, ValueError, RuntimeError, ImportError) as error:
        raise ClusterError(
            f"Dask cluster {kind} cannot be reached or started: {one_line(error)}"
        ) from error
    workers = len(client.nthreads())
    return DaskExecutor(client, f"{kind}, {workers} workers, {client.dashboard_link}")


def _start(kind: str) -> Any:
    if kind == "local":
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
