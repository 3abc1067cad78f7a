"""How much memory processes take, as the kernel counts it."""

from __future__ import annotations

from pathlib import Path


def peak_rss(pid: int) -> int:
    """The largest resident size that a running process has had, MiB; 0 where it has ended.

    Unlike ``ru_maxrss``, which a child begins with what its parent had.
    """
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except OSError:
        return 0
    _, found, rest = status.partition("VmHWM:")
    return int(rest.split()[0]) // 1024 if found else 0
