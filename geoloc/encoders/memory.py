"""How much goes through a network at once: halved for good where a device's memory is too small.

Nobody knows beforehand what a card holds beside a network's features: others share it, and
kernels take work space of their own. So it is tried, and what did not fit is never tried again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch

from ..errors import ModelError
from ..pulse import tell

_FAILED_TO_ALLOCATE = (  # torch's; onnxruntime's, and where its bound is reached
    "DefaultCPUAllocator", "Failed to allocate memory", "is smaller than requested bytes",
)  # fmt: skip


def is_out_of_memory(error: Exception) -> bool:
    """Whether a network failed for want of memory, on whatever device."""
    return isinstance(error, torch.OutOfMemoryError) or any(
        words in str(error) for words in _FAILED_TO_ALLOCATE
    )


def fits(work: Callable[[], None]) -> bool:
    """Do the work; False, with the device's memory freed, where it ran out. Raises the rest."""
    try:
        work()
    except Exception as error:
        if not is_out_of_memory(error):
            raise
    else:
        return True
    # only here has the error let go of the tensors that it was raised among
    torch.cuda.empty_cache()
    return False


@dataclass
class BatchSize:
    """How many ``items`` go through a network at once, as far as memory is known to hold them."""

    items: int

    def run(self, n: int, work: Callable[[slice], None], what: str) -> None:
        """Call ``work`` on slices that together are ``range(n)``, in order.

        Raises ModelError, which says ``what`` is too large, where not even one item fits.
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
    """Half as many. Raises ModelError where that is none."""
    if items < 2:
        raise ModelError(
            f"{what} does not fit into the memory of the device: free it of other processes, or "
            "compute on another device"
        )
    return items // 2
