"""What this machine has, and what suits it."""

from __future__ import annotations

import logging

from ..errors import NotInstalledError
from ..extras import extra

_LOG = logging.getLogger(__name__)

CORES_A_WORKER = 4
"""One network on so many cores is about as fast as several beside each other."""

_FEW_BLOCKS = 16  # starting workers, each with a model of its own, costs more than they save


def choose(gpus: int, cores: int, blocks: int | None) -> str:
    """What ``auto`` means on this machine for so many blocks (None: unknown, many)."""
    if gpus:
        return "cuda"
    few = blocks is not None and blocks < _FEW_BLOCKS
    return "inline" if few or cores <= CORES_A_WORKER else "local"


def gpu_count() -> int:
    """How many CUDA devices torch sees."""
    import torch

    return torch.cuda.device_count()


def starts_cuda() -> bool:
    """Whether one worker a GPU can be started; what it lacks is said."""
    try:
        with extra("cuda", "one GPU is used: one worker a GPU"):
            import dask_cuda  # noqa: F401
    except NotInstalledError as missing:
        _LOG.info("%s", missing)
        return False
    return True
