"""Web tiles on disk: written whole or not at all, least recently used ones dropped first."""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from pathlib import Path

_TRIM_TO = 0.9  # of the cap: trimming lists the whole folder, so it is not done every time


class TileCache:
    """Bytes by key; many processes may share one folder. ``cap`` in bytes, 0: no cache.

    An empty entry records that the server has no such tile.
    """

    def __init__(self, folder: Path, cap: int) -> None:
        self.folder = folder
        self.cap = cap
        self._written = 0
        self._lock = threading.Lock()

    def get(self, key: str) -> bytes | None:
        """The stored bytes, or None."""
        if not self.cap:
            return None
        path = self._path(key)
        try:
            data = path.read_bytes()
            os.utime(path)  # marks it as used
        except OSError:
            return None
        return data

    def put(self, key: str, data: bytes) -> None:
        """Store an entry; a full or read-only disk only makes later reads slower."""
        if not self.cap:
            return
        path = self._path(key)
        partial = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            partial.write_bytes(data)
            partial.replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                partial.unlink()
        self._count(len(data))

    def drop(self, key: str) -> None:
        """Remove a damaged entry."""
        with contextlib.suppress(OSError):
            self._path(key).unlink()

    def trim(self) -> None:
        """Remove the least recently used entries until the cap is met."""
        files = [entry for entry in self.folder.rglob("*") if entry.is_file()]
        facts = []
        for path in files:
            with contextlib.suppress(OSError):  # another process was faster
                status = path.stat()
                facts.append((status.st_mtime, status.st_size, path))
        total = sum(size for _, size, _ in facts)
        if total <= self.cap:
            return
        for _, size, path in sorted(facts):
            with contextlib.suppress(OSError):
                path.unlink()
            total -= size
            if total <= self.cap * _TRIM_TO:
                return

    def _count(self, size: int) -> None:
        with self._lock:
            self._written += size
            due = self._written > self.cap * (1 - _TRIM_TO)
            if due:
                self._written = 0
        if due:
            self.trim()

    def _path(self, key: str) -> Path:
        digest = hashlib.sha256(key.encode()).hexdigest()
        return self.folder / digest[:2] / digest
