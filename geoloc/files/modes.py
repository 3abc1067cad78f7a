"""Who may read answers: by default only the user who made the query.

Photos of an investigation are private, and so are the places found for them; on a shared machine,
files that anybody may read are published. So folders of answers, and all files in them, are made
with these modes: others cannot read them at any moment. ``GEOLOC_ANSWERS_MODE`` changes that::

    private   folders 0700, files 0600 (default)
    group     folders 0750, files 0640: readable by the group, such as a web server
    umask     by the process's umask, as in other programs

An existing folder keeps its mode: it is the user's. Cubes and copies of imagery follow the umask:
they contain nothing that was not in the imagery, and are meant to be shared by a team.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ..errors import UsageError

VARIABLE = "GEOLOC_ANSWERS_MODE"
"""The environment variable that determines who may read answers."""


@dataclass(frozen=True)
class Mode:
    """Mode bits of folders and files; None: by the umask."""

    folder: int | None
    file: int | None


_MODES = {
    "private": Mode(0o700, 0o600),
    "group": Mode(0o750, 0o640),
    "umask": Mode(None, None),
}


def answers_mode() -> Mode:
    """The mode by the environment. Raises UsageError for an unknown word."""
    word = os.environ.get(VARIABLE) or "private"
    if word not in _MODES:
        raise UsageError(f"{VARIABLE}={word}: write private, group or umask")
    return _MODES[word]


def make_folder(path: Path) -> None:
    """Make a folder for answers and its missing parents; existing ones are left unchanged."""
    if path.is_dir():
        return
    make_folder(path.parent)
    _make(path, answers_mode().folder)


def make_closed_folder(path: Path) -> None:
    """Make a folder in which answers are being written, readable by no other user in any mode.

    Its parents are made as by `make_folder`. One that a killed run left is closed, too.
    """
    make_folder(path.parent)
    folder = None if answers_mode().folder is None else 0o700
    _make(path, folder)
    if folder is not None and not path.is_symlink():
        _set(path, folder)


def open_answer(path: Path, mode: str = "w", **options: Any) -> IO[Any]:
    """`open` to write a file of answers, which has its mode before it has any content."""
    bits = answers_mode().file

    def opener(name: str, flags: int) -> int:
        handle = os.open(name, flags, 0o666 if bits is None else bits)
        if bits is not None:
            with suppress(OSError):  # a file system without modes
                os.fchmod(handle, bits)  # an existing file, or a stricter umask
        return handle

    return open(path, mode, opener=opener, **options)


def create_file(path: Path) -> None:
    """Make an empty file for answers; an existing one is not even opened."""
    with suppress(FileExistsError):
        open_answer(path, "xb").close()


def set_file_mode(path: Path) -> None:
    """Set the mode of a file that a library wrote into a closed folder, before it is moved."""
    bits = answers_mode().file
    if bits is not None:
        _set(path, bits)


def _make(path: Path, bits: int | None) -> None:
    try:
        path.mkdir(mode=0o777 if bits is None else bits)
    except FileExistsError:
        if not path.is_dir():
            raise
        return  # it existed, or another process was faster: its mode is not ours
    if bits is not None:
        _set(path, bits)


def _set(path: Path, bits: int) -> None:
    """``chmod`` after a stricter umask; a folder keeps its setgid bit."""
    with suppress(OSError):  # a file system without modes, or another user's folder
        current = stat.S_IMODE(path.stat().st_mode)
        if current & 0o777 != bits:
            path.chmod(current & 0o7000 | bits)
