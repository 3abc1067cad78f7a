"""A finished answer takes its place in one step: a reader finds the old or the new one.

The new folder, made in the answer's own, goes beside it under a hidden name, gets what else lies
there (links, no copies), and the two change places. A kill before that leaves the old answer, one
after it the new; what is left beside is settled by the next answer there, or by `settle_all`.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Set
from contextlib import contextmanager
from pathlib import Path

from ..files.swap import swap
from .outputs import RECORD

PART = ".geoloc-part"
"""Folder of an answer that is being written, in the answer's own."""

_BESIDE = ".geoloc-new"


def place(part: Path, out: Path) -> bool:
    """Let the folder ``part``, inside of ``out``, take the place of ``out``.

    What is in ``out`` and not of its recorded answer stays there. False, and nothing has changed,
    where that cannot be done in one step: file systems of a network, mount points, a folder
    around ``out`` that cannot be written. Raises OSError. The caller holds the folder.
    """
    out = Path(os.path.realpath(out))
    aside = _beside(out)
    _settle(aside, out)
    _refuse_folders(out, {path.name for path in part.iterdir()})
    try:
        (out / part.name).rename(aside)
    except OSError:
        return False
    done = False
    with _held(aside):  # who waits for the folder waits for the new one, too
        try:
            linked = list(_link_others(out, aside, but={part.name}))
            shutil.copymode(out, aside)
            done = swap(aside, out)
            if not done:
                for path in linked:
                    path.unlink()
                aside.rename(out / part.name)
        finally:
            if done or aside.exists():
                _settle(aside, out)
    return done


def settle_all(folder: Path) -> None:
    """Settle what killed processes left beside the answers in a folder, but for those held.

    In an answer's folder as well, if the answer is there; without one it is of an answer to come.
    """
    for aside in sorted(folder.glob(f".*{_BESIDE}")):
        out = folder / aside.name[1 : -len(_BESIDE)]
        with contextlib.suppress(OSError), _held(out):
            _settle(aside, out)
    for part in sorted(folder.glob(f"*/{PART}")):
        with contextlib.suppress(OSError), _held(part.parent):
            if (part.parent / RECORD).is_file():
                shutil.rmtree(part)


def _beside(out: Path) -> Path:
    return out.with_name(f".{out.name}{_BESIDE}")


def _settle(aside: Path, out: Path) -> None:
    """Remove an answer that was replaced, or did not come to it; folders in it are not ours."""
    if not aside.is_dir():
        return
    for entry in aside.iterdir():
        if entry.is_dir() and not entry.is_symlink() and not (out / entry.name).exists():
            entry.rename(out / entry.name)
    shutil.rmtree(aside)


def _refuse_folders(out: Path, names: Set[str]) -> None:
    """Raises IsADirectoryError where a user's folder has the name of a file of the answer."""
    for name in sorted(names):
        if (out / name).is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(out / name))


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Hold a folder exclusively; raises BlockingIOError where another process holds it."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise
        except OSError:  # a file system without locks
            pass
        yield
    finally:
        os.close(handle)


def _link_others(out: Path, aside: Path, but: Set[str]) -> Iterator[Path]:
    """Give the new folder the files that lie beside the old answer: previews, a user's notes."""
    leave = but | {path.name for path in aside.iterdir()} | _recorded(out)
    for entry in out.iterdir():
        if entry.name in leave or (entry.is_dir() and not entry.is_symlink()):
            continue
        path = aside / entry.name
        try:
            os.link(entry, path, follow_symlinks=False)
        except OSError:  # no links there
            shutil.copy2(entry, path, follow_symlinks=False)
        yield path


def _recorded(out: Path) -> set[str]:
    """The files of the answer that is there."""
    try:
        record = json.loads((out / RECORD).read_text(encoding="utf-8"))
        return {RECORD, *record.get("outputs", ())}
    except (OSError, ValueError, AttributeError, TypeError):
        return set()
