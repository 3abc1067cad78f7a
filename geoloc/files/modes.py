"""Who may read answers: by default nobody but the user who asked.

Photos of an investigation are private, and so are the places that were found for them; on a
machine of many users, files that anybody may read are published. So folders of answers, and all
that is written into them, are made with these modes: there is no moment at which others may look.
``GEOLOC_ANSWERS_MODE`` says otherwise::

    private   folders 0700, files 0600 (default)
    group     folders 0750, files 0640: the group may read, as a web server that shows results
    umask     as the process's umask says, like other programs

A folder that is there already keeps its mode: it is the user's. Cubes and copies of imagery follow
the umask: they hold nothing that was not in the imagery, and are there to be shared by a team.
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
"""The variable of the environment that says who may read answers."""


@dataclass(frozen=True)
class Mode:
    """Bits of folders and files; None where the umask decides."""

    folder: int | None
    file: int | None


_MODES = {
    "private": Mode(0o700, 0o600),
    "group": Mode(0o750, 0o640),
    "umask": Mode(None, None),
}


def answers_mode() -> Mode:
    """What the environment asks for. Raises UsageError where it is no word of the three."""
    word = os.environ.get(VARIABLE) or "private"
    if word not in _MODES:
        raise UsageError(f"{VARIABLE}={word}: write private, group or umask")
    return _MODES[word]


def make_folder(path: Path) -> None:
    """Make a folder for answers, and the folders above it that are missing; those there stay."""
    if path.is_dir():
        return
    make_folder(path.parent)
    _make(path, answers_mode().folder)


def make_closed_folder(path: Path) -> None:
    """Make a folder in which answers are being written: nobody else may look, whatever is asked.

    Its parents are made as `make_folder` does. One that a killed run left is closed too.
    """
    make_folder(path.parent)
    folder = None if answers_mode().folder is None else 0o700
    _make(path, folder)
    if folder is not None and not path.is_symlink():
        _set(path, folder)


def open_answer(path: Path, mode: str = "w", **options: Any) -> IO[Any]:
    """`open` for a file of answers to be written: it has its mode before it has any content."""
    bits = answers_mode().file

    def opener(name: str, flags: int) -> int:
        handle = os.open(name, flags, 0o666 if bits is None else bits)
        if bits is not None:
            with suppress(OSError):  # a file system without modes
                os.fchmod(handle, bits)  # one that was there, or a umask that takes more away
        return handle

    return open(path, mode, opener=opener, **options)


def create_file(path: Path) -> None:
    """Make an empty file for answers, unless it is there; what is there is not even opened."""
    with suppress(FileExistsError):
        open_answer(path, "xb").close()


def set_file_mode(path: Path) -> None:
    """Give its mode to a file that a library wrote into a closed folder, before it leaves it."""
    bits = answers_mode().file
    if bits is not None:
        _set(path, bits)


def _make(path: Path, bits: int | None) -> None:
    try:
        path.mkdir(mode=0o777 if bits is None else bits)
    except FileExistsError:
        if not path.is_dir():
            raise
        return  # another process was faster, or it was there: its mode is not ours
    if bits is not None:
        _set(path, bits)


def _set(path: Path, bits: int) -> None:
    """``chmod``, where the umask took away more; a folder keeps what it has of its group's bit."""
    with suppress(OSError):  # a file system without modes, or a folder of somebody else
        found = stat.S_IMODE(path.stat().st_mode)
        if found & 0o777 != bits:
            path.chmod(found & 0o7000 | bits)
