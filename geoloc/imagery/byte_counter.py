"""How many bytes are read from files on disk, if that can be known.

GDAL does not count. Linux counts per thread, which is right as long as the calling thread reads:
not from a server, and not if GDAL has threads of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rasterio.env import get_gdal_config

from .raster import is_remote


class ByteCounter:
    """Bytes read for one window; ``total`` is None once any part of it is unknown."""

    def __init__(self) -> None:
        self.total: int | None = 0

    @contextmanager
    def count(self, paths: Sequence[str]) -> Iterator[None]:
        """Count what the calling thread reads inside, which must be these files only."""
        start = _bytes_read(after=True)
        try:
            yield
        finally:
            self._add(None if _unseen(paths) else start, _bytes_read())

    def _add(self, start: int | None, end: int | None) -> None:
        if self.total is None or start is None or end is None:
            self.total = None
        else:
            self.total += end - start


def _unseen(paths: Sequence[str]) -> bool:
    """Whether another thread reads, or not from disk."""
    threads = str(get_gdal_config("GDAL_NUM_THREADS") or 1)
    return threads != "1" or any(map(is_remote, paths))


def _bytes_read(*, after: bool = False) -> int | None:
    """Bytes that this thread has read from files, including this call if ``after``."""
    try:
        text = Path("/proc/thread-self/io").read_text(encoding="ascii")
    except OSError:
        return None
    return int(text.split()[1]) + (len(text) if after else 0)  # rchar
