"""Files written whole or not at all, and their digests."""

from __future__ import annotations

import hashlib
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_REMAINS = re.compile(r"\..+\.part(\.\w+)?")


@contextmanager
def whole_file(path: Path, *, alone: bool = False) -> Iterator[Path]:
    """A temporary path beside ``path``, which it replaces in one step once it is written.

    It has the same suffix, by which libraries recognize formats. ``alone``: no other process
    writes this file, so the next run overwrites the remains of a killed one. Nothing remains if
    writing fails.
    """
    own = "" if alone else f".{os.getpid()}-{threading.get_ident()}"
    part = path.with_name(f".{path.stem}{own}.part{path.suffix}")
    try:
        yield part
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def write_whole(path: Path, content: bytes | str, *, alone: bool = False) -> None:
    """Write ``content`` to ``path`` in one step, replacing an existing file. Raises OSError."""
    with whole_file(path, alone=alone) as part:
        part.write_bytes(content.encode() if isinstance(content, str) else content)


def is_remains(name: str) -> bool:
    """Whether a file name is that of a temporary file left by a killed run."""
    return _REMAINS.fullmatch(name) is not None


def file_sha256(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes. Raises OSError if it cannot be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
