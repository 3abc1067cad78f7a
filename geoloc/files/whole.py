"""Files that are whole or not there, and what is in them."""

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
    """A path to write beside ``path``; what is written there takes its place in one step.

    It has the same ending, by which libraries tell formats. ``alone``: nobody else writes this
    file, so that what a killed run left is written over by the next one. Nothing stays where the
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
    """Put ``content`` there in one step, in the place of what is there. Raises OSError."""
    with whole_file(path, alone=alone) as part:
        part.write_bytes(content.encode() if isinstance(content, str) else content)


def is_remains(name: str) -> bool:
    """Whether a file's name is that of one which a killed run was writing."""
    return _REMAINS.fullmatch(name) is not None


def file_sha256(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes. Raises OSError where it cannot be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
