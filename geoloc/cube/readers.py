"""When a generation was last used: signs that readers leave, so that pruning spares it.

On this machine's disks the sign is the time of change of the generation's folder, which readers
set to now; where they may not, as in a cube that may only be read, there is none. Object stores
keep none: readers have no right to write there, as a rule, and what was current lately is spared
all the same.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from ..stores import local_path
from .store import GENERATION


def mark_read(url: str | Path, generation: str) -> None:
    """Leave word that a generation is being read now; does nothing where that is not possible."""
    root = local_path(str(url))
    if root is not None and GENERATION.fullmatch(generation):
        with contextlib.suppress(OSError, NotImplementedError):
            os.utime(root / generation, follow_symlinks=False)


def last_used(url: str | Path, generation: str) -> float | None:
    """When it was opened or written last, in seconds since 1970; None where nothing tells."""
    root = local_path(str(url))
    with contextlib.suppress(OSError):
        return None if root is None else (root / generation).lstat().st_mtime
    return None
