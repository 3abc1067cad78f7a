"""Random numbers that are counted: the first million are the same however many follow."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..arrays import F64
from ..errors import UsageError

_MOST = 1 << 64
_UNIT = 2.0**-53


def require_seed(seed: int) -> None:
    """Raises UsageError for a number that is no seed."""
    if not 0 <= seed < _MOST:
        raise UsageError(f"--seed {seed}: write a whole number from 0 to 2^64 - 1")


def uniform_numbers(seed: int, batch: int) -> Iterator[F64]:
    """Float64 ``(batch,)`` in [0, 1), without end.

    From the raw bits of Philox (Salmon et al., 2011), which NumPy keeps the same in every
    version, unlike its distributions.
    """
    source = np.random.Philox(key=seed)
    while True:
        yield (source.random_raw(batch) >> np.uint64(11)).astype(np.float64) * _UNIT
