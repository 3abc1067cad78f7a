"""Executors: a stream of work items through this process, local workers, GPUs or a cluster.

All of them take the same ``Task`` and give the same results; they differ only in where it
runs. Items are taken from their iterator as room comes free, so that a country's blocks are
never held at once, on no side.
"""

from __future__ import annotations

from .inline import InlineExecutor
from .machine import choose
from .registry import check_kind, kinds, open_cluster
from .task import Executor, Lazy, Outcome, Task, one_line, still_wanted

__all__ = [
    "Executor",
    "InlineExecutor",
    "Lazy",
    "Outcome",
    "Task",
    "check_kind",
    "choose",
    "kinds",
    "one_line",
    "open_cluster",
    "still_wanted",
]
