"""Executors: a stream of work items through this process, local workers, GPUs or a cluster.

All of them take the same ``Work`` and give the same results; they differ only in where it
runs. Items are taken from their iterator as room comes free, so that a country's blocks are
never held at once, on no side.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from ..errors import UsageError
from .inline import InlineExecutor
from .machine import choose, gpu_count, starts_cuda
from .work import Executor, Once, Outcome, Work, one_line

__all__ = [
    "Executor",
    "InlineExecutor",
    "Once",
    "Outcome",
    "Work",
    "check_kind",
    "choose",
    "one_line",
    "open_cluster",
]


def check_kind(kind: str) -> str:
    """The word again. Raises UsageError for one that means no cluster."""
    if kind not in ("auto", "inline", "local", "cuda") and "://" not in kind:
        raise UsageError(
            f"--cluster {kind}: say auto, inline, local, cuda or the address of a Dask "
            "scheduler such as tls://host:8786"
        )
    return kind


@contextlib.contextmanager
def open_cluster(kind: str = "auto", *, blocks: int | None = None) -> Iterator[Executor]:
    """An executor, closed again at the end.

    ``auto``: GPUs where torch sees any (one of them, in this process, without dask-cuda); else
    workers where there are enough cores and ``blocks`` to pay for starting them; else this
    process. ``inline``, ``local``, ``cuda``, or the address of a running Dask scheduler
    (``tls://host:8786``; Dask's own configuration ``distributed.comm.tls`` names the
    certificates). Raises ClusterError where it cannot be started or reached, NotInstalledError
    for ``cuda`` without dask-cuda, UsageError for any other word.
    """
    check_kind(kind)
    if kind == "auto":
        kind = choose(gpu_count(), os.cpu_count() or 1, blocks)
        if kind == "cuda" and not starts_cuda():
            kind = "inline"
    if kind == "inline":
        yield InlineExecutor()
        return
    from .workers import open_workers  # Dask, which those who work inline need not wait for

    with open_workers(kind) as executor:
        yield executor
