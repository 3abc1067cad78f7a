"""The heap of a process that runs networks on its CPU.

glibc maps each buffer of more than 32 MB anew, and unmaps it when it is freed: the kernel then
clears every page of every layer's output, tile for tile, which takes as long as the network itself.
"""

from __future__ import annotations

import ctypes
import os
import platform
from functools import cache

_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1  # <malloc.h>
_MAPPED_ABOVE = 256 << 20  # bytes; outputs of layers are smaller
_KEPT = 512 << 20  # bytes that are free at the end of the heap
_OWN = ("MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")


@cache
def keep_freed_memory() -> bool:
    """Let freed buffers be used again by this process; whether that could be had.

    Not where the environment says how glibc allocates, nor with another allocator or libc.
    """
    if platform.libc_ver()[0] != "glibc" or any(name in os.environ for name in _OWN):
        return False
    mallopt = ctypes.CDLL(None).mallopt
    # either alone would end the other's adapting to what is allocated
    return bool(mallopt(_MMAP_THRESHOLD, _MAPPED_ABOVE) and mallopt(_TRIM_THRESHOLD, _KEPT))
