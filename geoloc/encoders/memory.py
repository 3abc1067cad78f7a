"""Batch sizes, halved permanently if the memory of a device is too small.

The memory left for a network's features is not known beforehand: other processes share the card,
and kernels need workspace of their own. So a size is tried, and one that did not fit is never tried
again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch

from ..errors import ModelError
from ..pulse import tell

_FAILED_TO_ALLOCATE = (  # torch's; onnxruntime's, and that of its own limit
    "DefaultCPUAllocator", "Failed to allocate memory", "is smaller than requested bytes",
)  # fmt: skip


def is_out_of_memory(error: Exception) -> bool:
    """Whether a network ran out of memory, on any device."""
    return isinstance(error, torch.OutOfMemoryError) or any(
        words in str(error) for words in _FAILED_TO_ALLOCATE
    )


def fits(work: Callable[[], None]) -> bool:
    """Do the work; False, with the device's memory freed, if that ran out. Raises other errors."""
    try:
        work()
    except Exception as error:
        if not is_out_of_memory(error):
            raise
    else:
        return True
    # only here has the error released the tensors in its traceback
    torch.cuda.empty_cache()
    return False


@dataclass
class BatchSize:
    """How many ``items`` go through a network at once, within the memory known to suffice."""

    items: int

    def run(self, n: int, work: Callable[[slice], None], what: str) -> None:
        """Call ``work`` on slices that together cover ``range(n)``, in order.

        Raises ModelError, which names ``what`` is too large, if not even one item fits.
        """
        start = 0
        while start < n:
            part = slice(start, min(start + self.items, n))
            if fits(partial(work, part)):
                start = part.stop
                tell(start / n)
            else:
                self.items = halved(part.stop - start, what)


def halved(items: int, what: str) -> int:
    """Half as many. Raises ModelError if that is none."""
    if items < 2:
        raise ModelError(
            f"{what} does not fit in the memory of the device: stop other processes on it, or "
            "compute on another device"
        )
    return items // 2
