"""Where answers go: one answer never takes the place of another.

A folder is an answer's own where its ``query.json`` records the same question, or where it was
begun and not finished. Whatever else lies there is left alone, and the answer gets a name with a
number. Names that some file systems take for one (capitals, composed letters) are one here too.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence, Set
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..files.modes import make_closed_folder
from ..files.whole import is_remains
from ..names import alike, free_name, path_text
from ..report.holding import hold_folder
from ..report.outputs import RECORD
from ..report.placing import PART, settle_all
from ..report.write import output_errors
from ..stores import local_path
from .record import Record, read_record

log = logging.getLogger(__name__)


def question_key(record: Record) -> str:
    """What a record, or one that is to be written, asks: the same key is the same question.

    The photos, crops, turns and frames, in any order, or the scene; the cube, or those of several
    models, in any order, with what each calls the scene; the generation, if one was named. How
    many candidates, weights, polygon and the cube's current generation do not matter: such an
    answer takes the place of its predecessor.
    """
    given = record["parameters"]
    photos = sorted(json.dumps(picture_key(photo)) for photo in record["photos"])
    parts = [
        photos,
        _scene_key(record),
        _cubes_key(record),
        given.get("epoch"),
    ]
    return json.dumps(parts)


def _scene_key(record: Record) -> Any:
    """What is searched for without a photo, if anything is: of several models what each of them
    calls it. Other words may mean the same to the first model, and something else to another."""
    scene = record["parameters"].get("scene")
    if scene is None or "tandem" not in record:
        return scene
    own = [[cube_key(one["cube"]["cube"]), one["scene"]] for one in record["tandem"]["models"]]
    return sorted(map(json.dumps, own))


def _cubes_key(record: Record) -> str:
    """The cube that was asked; those of several models."""
    parts = record["tandem"]["models"] if "tandem" in record else [record]
    return cubes_key([one["cube"]["cube"] for one in parts])


def picture_key(photo: Record) -> list[Any]:
    """What of a file was looked at: its digest, and frame, crop and turn where there are any."""
    frame, crop = photo.get("frame") or {}, photo.get("crop")
    edges = None if crop is None else [float(edge) for edge in crop]
    return [photo["sha256"], frame.get("sha256"), edges, float(photo.get("rotate") or 0)]


def cube_key(url: str) -> str:
    """A cube's address, the same however a path to it is written."""
    path = local_path(url)
    return url.rstrip("/") if path is None else path_text(path.resolve())


def cubes_key(urls: Sequence[str]) -> str:
    """The addresses of the cubes of one or several models, in any order; see `cube_key`."""
    keys = sorted(map(cube_key, urls))
    return keys[0] if len(keys) == 1 else json.dumps(keys)


def recorded(folder: Path) -> Record | None:
    """What a folder's ``query.json`` holds; None where there is none, or none that is whole."""
    try:
        return read_record(folder / RECORD)
    except UsageError:
        return None


def holds_picture(folder: Path, key: list[Any], cube: str, unfinished: Set[str]) -> bool:
    """Whether nothing but an answer to a picture (`picture_key`), alone or with others, is there.

    ``unfinished``: files that are there before the answer is. ``cube``: a `cubes_key`.
    """
    try:
        names = {path.name for path in folder.iterdir()}
    except FileNotFoundError:
        return not folder.is_symlink()
    except OSError:
        return False
    if RECORD not in names:
        return PART in names or all(name in unfinished or is_remains(name) for name in names)
    record = recorded(folder)
    if record is None or _cubes_key(record) != cube:
        return False
    return key in [picture_key(photo) for photo in record["photos"]]


class Folders:
    """The folders of one call's answers below ``out``; raises OutputError where it is unusable."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self._used = set[str]()
        self._there = dict[str, list[Path]]()
        with output_errors(out):
            settle_all(out)
            present = sorted(out.iterdir()) if out.is_dir() else []
        for path in present:
            self._there.setdefault(alike(path.name), []).append(path)

    @contextmanager
    def claim(self, name: str, key: str) -> Iterator[Path]:
        """A folder for the answer to the question of ``key``, for as long as it is written.

        Called ``name``, or ``name-2`` and so on where that is not free: the same at each call.
        """
        claimed: list[tuple[Path, ExitStack]] = []

        def is_taken(candidate: str) -> bool:
            one = None if alike(candidate) in self._used else self._hold(candidate, key)
            claimed.extend([one] if one else [])
            return one is None

        own = free_name(name, is_taken)
        folder, held = claimed[0]
        self._used.add(alike(own))
        if own != name and alike(name) in self._there:
            log.info(
                "%s belongs to another answer, or to none: this one goes to %s",
                self.out / name, folder,
            )  # fmt: skip
        with held:
            yield folder

    def _hold(self, name: str, key: str) -> tuple[Path, ExitStack] | None:
        """The folder of this name, held against other processes; None where it is not free.

        Who writes there is waited for: it may be an answer to the same question.
        """
        for folder in self._there.get(alike(name), [self.out / name]):
            if not _is_free(folder, key):
                continue
            with output_errors(folder), ExitStack() as held:
                held.enter_context(hold_folder(folder))
                held.callback(_leave_nothing, folder)
                if _is_free(folder, key):
                    make_closed_folder(folder / PART)  # from now on it is of an answer
                    return folder, held.pop_all()
        return None


def _is_free(folder: Path, key: str) -> bool:
    try:
        names = {path.name for path in folder.iterdir()}
    except FileNotFoundError:
        return not folder.is_symlink()
    except OSError:  # a file, or nobody may look
        return False
    if RECORD not in names:
        return not names or PART in names
    record = recorded(folder)
    return record is not None and question_key(record) == key


def _leave_nothing(folder: Path) -> None:
    """Remove what was made for an answer that was not written then."""
    with suppress(OSError):
        (folder / PART).rmdir()
    with suppress(OSError):
        folder.rmdir()
