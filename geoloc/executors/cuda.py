"""Workers of this machine's GPUs, one each."""

# mypy: allow-untyped-calls
from __future__ import annotations

import logging
from contextlib import AbstractContextManager
from typing import Any

from ..errors import ClusterError
from ..extras import extra
from .machine import gpu_count
from .task import Executor
from .workers import connect, dashboard


def open_cuda(kind: str) -> AbstractContextManager[Executor]:
    """Start them, and end them with the context. Raises ClusterError, also without a GPU."""
    return connect(kind, _start)


def _start() -> Any:
    if not gpu_count():
        raise ClusterError("--cluster cuda: torch sees no CUDA device: use auto, inline or local")
    with extra("cuda", "--cluster cuda"):
        from dask_cuda import LocalCUDACluster
    return LocalCUDACluster(**cuda_arguments())


def cuda_arguments() -> dict[str, Any]:
    """Of dask_cuda.LocalCUDACluster: one worker and one thread a GPU."""
    return {
        "threads_per_worker": 1,
        "dashboard_address": dashboard(),
        "silence_logs": logging.CRITICAL,
    }
