"""What processes that were killed left on this machine's disk, swept by the next that writes.

A file is written under another name and renamed, so a kill leaves such a file, which nobody
reads; in a country's cube that is killed every night they would pile up. Object stores have
none. The whole cube is walked only where a lock was left behind, as only then somebody was
killed; its top, where the lock itself is written, every time.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from ..stores import local_path

_PART = ".partial"
_OLD = 60.0  # s, at the top: others who have no lock yet write there


def sweep(url: str | Path, *, killed: bool) -> None:
    """Remove remains; the caller holds the cube's lock. ``killed``: its last owner was.

    What an orphaned worker of that owner is writing may go as well: nobody waits for it.
    """
    root = local_path(str(url))
    if root is None:
        return
    for path in _parts(root) if killed else root.glob(f"*{_PART}"):
        if path.parent != root or _age(path) > _OLD:
            with contextlib.suppress(OSError):
                path.unlink()


def _parts(root: Path) -> Iterator[Path]:
    for folder, _, names in os.walk(root):
        yield from (Path(folder) / name for name in names if name.endswith(_PART))


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except OSError:  # it is gone
        return 0.0
