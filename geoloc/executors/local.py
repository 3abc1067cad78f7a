"""Workers that are processes of this machine."""

# mypy: allow-untyped-calls
from __future__ import annotations

import logging
import os
from contextlib import AbstractContextManager
from typing import Any

from distributed import LocalCluster

from .machine import CORES_A_WORKER
from .task import Executor
from .workers import connect, dashboard


def open_local(kind: str) -> AbstractContextManager[Executor]:
    """Start them, and end them with the context. Raises ClusterError."""
    return connect(kind, lambda: LocalCluster(**local_arguments(os.cpu_count() or 1)))


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
        "dashboard_address": dashboard(),
        "silence_logs": logging.CRITICAL,
        # Dask would pause workers that hold large models; blocks in flight bound the rest.
        "memory_limit": 0,
        "env": {f"{name}_NUM_THREADS": threads for name in ("OMP", "MKL", "OPENBLAS", "NUMBA")},
    }
