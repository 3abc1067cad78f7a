"""Executors by the word that asks for them: a new one is a file and a line here."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

from ..errors import UsageError
from .machine import choose, gpu_count, starts_cuda
from .task import Executor

ADDRESS = "://"
"""The key of all words that hold it: addresses of Dask schedulers."""

EXECUTORS = {
    "inline": ".inline:open_inline",
    "local": ".local:open_local",
    "cuda": ".cuda:open_cuda",
    ADDRESS: ".remote:open_remote",
}
"""Module (in this package where it begins with a dot) and function, which takes the word and gives
a context manager of an `Executor`.

They are imported when they are asked for: those who work inline need not wait for Dask.
"""


def kinds() -> list[str]:
    """The words there are, but for addresses."""
    return ["auto", *(kind for kind in EXECUTORS if kind != ADDRESS)]


def check_kind(kind: str) -> str:
    """The word again. Raises UsageError for one that means no cluster."""
    if kind not in kinds() and ADDRESS not in kind:
        raise UsageError(
            f"--cluster {kind}: say {', '.join(kinds())} or the address of a Dask "
            "scheduler such as tls://host:8786"
        )
    return kind


@contextmanager
def open_cluster(kind: str = "auto", *, blocks: int | None = None) -> Iterator[Executor]:
    """An executor, closed again at the end.

    ``auto``: GPUs where torch sees any (one of them, in this process, without dask-cuda); else
    workers where there are enough cores and ``blocks`` to pay for starting them; else this
    process. Another word of `EXECUTORS`, or the address of a running Dask scheduler
    (``tls://host:8786``; Dask's own configuration ``distributed.comm.tls`` names the
    certificates). Raises ClusterError where it cannot be started or reached, NotInstalledError
    for ``cuda`` without dask-cuda, UsageError for any other word.
    """
    check_kind(kind)
    if kind == "auto":
        kind = choose(gpu_count(), os.cpu_count() or 1, blocks)
        if kind == "cuda" and not starts_cuda():
            kind = "inline"
    module, _, name = EXECUTORS.get(kind, EXECUTORS[ADDRESS]).partition(":")
    with getattr(import_module(module, __package__), name)(kind) as executor:
        yield executor
