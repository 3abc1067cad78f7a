"""One writer a folder: who begins an answer where another process writes one waits for it."""

from __future__ import annotations

import fcntl
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..files.modes import make_folder

_LOG = logging.getLogger(__name__)
_MINE = threading.local()
"""Of each thread: the folders that it holds."""


@contextmanager
def hold_folder(folder: Path) -> Iterator[None]:
    """Make a folder and be the only one who writes an answer there; others wait.

    The system lets go of it when the process ends, however that happens. Who holds it may call
    this again. Raises OSError where it cannot be made. On a file system without locks there is
    one process, as a rule.
    """
    mine: set[Path] = _MINE.__dict__.setdefault("folders", set())
    place = Path(os.path.abspath(folder))  # noqa: PTH100  links are not followed
    if place in mine:
        yield
        return
    handle = _locked(folder)
    mine.add(place)
    try:
        yield
    finally:
        mine.discard(place)
        os.close(handle)


def _locked(folder: Path) -> int:
    """The folder, opened and locked: that which has this name now, not one that was removed."""
    while True:
        make_folder(folder)
        handle = os.open(folder, os.O_RDONLY)
        try:
            _wait(handle, folder)
            if _is_still(handle, folder):
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def _wait(handle: int, folder: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        _LOG.info("another process writes an answer to %s: waiting for it", folder)
        fcntl.flock(handle, fcntl.LOCK_EX)
    except OSError:
        pass


def _is_still(handle: int, folder: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), folder.stat())
    except FileNotFoundError:
        return False
