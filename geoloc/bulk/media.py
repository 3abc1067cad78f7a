"""What a folder holds: photos and videos, chats with their messages, and what is in the way."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ..errors import UsageError
from ..names import path_text, writable
from ..telegram import Message, is_export, read_export
from ..video import SUFFIXES as VIDEO_SUFFIXES
from .store import CLUSTERS, ITEMS, NAME

PHOTO_SUFFIXES = frozenset((".jpg", ".jpeg", ".jpe", ".png", ".webp", ".tif", ".tiff", ".heic",
                            ".heif", ".avif", ".gif", ".bmp"))  # fmt: skip

Kind = Literal["photo", "video"]

_PHOTO_STARTS = (b"\xff\xd8\xff", b"\x89PNG\r\n", b"GIF8", b"II*\x00", b"MM\x00*")
_PHOTO_BRANDS = (b"heic", b"heix", b"mif1", b"msf1", b"avif", b"avis")
_HEIF_SUFFIXES = (".heic", ".heif", ".avif")
_MATROSKA = b"\x1a\x45\xdf\xa3"


@dataclass(frozen=True)
class Medium:
    """A photo or video file; ``name``: its path below the folder, with slashes."""

    path: Path
    name: str
    kind: Kind
    messages: tuple[Message, ...] = ()


@dataclass
class Found:
    """Media in order of their names, one line for each thing that is not as it should be, how
    many files are no media, and the positions that were sent in chats."""

    media: list[Medium] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    ignored: int = 0
    places: list[Message] = field(default_factory=list)


def find_media(folder: str | Path, leave_out: str | Path | None = None) -> Found:
    """Look through a folder and all below it; links are not followed out of it.

    ``leave_out``: a folder that is passed over, where the answers go; so are the answers of
    other runs. Raises UsageError where there is no such folder.
    """
    root = Path(folder).resolve()
    if not root.is_dir():
        raise UsageError(f"{folder} is no folder: name the one that holds the photos and videos")
    search = _Search(root, None if leave_out is None else Path(leave_out).resolve())
    search.run()
    search.found.media.sort(key=lambda medium: medium.name)
    return search.found


@dataclass
class _Search:
    """One look through a folder; ``messages`` by the file that they brought, ``passed``: files
    that chats know as no media, ``visited``: files that were looked at."""

    root: Path
    skipped: Path | None
    found: Found = field(default_factory=Found)
    messages: dict[Path, list[Message]] = field(default_factory=dict)
    passed: set[Path] = field(default_factory=set)
    visited: set[Path] = field(default_factory=set)

    def run(self) -> None:
        """The folder, then what its chats brought that lies in hidden folders."""
        for path in self._walk():
            if os.path.isdir(path):  # noqa: PTH112 pathlib raises where it may not look
                self._add_export(path)
            else:
                self._add_file(path)
        for path in sorted(self.messages.keys() - self.visited):
            if not any(self._holds_answers(folder) for folder in path.parents):
                self._add_file(path)

    def _walk(self) -> Iterator[Path]:
        """Each folder before its files, so that a chat is read before what it names."""
        for here, folders, files in os.walk(self.root, onerror=self._fail):
            folder = Path(here)
            folders[:] = [name for name in sorted(folders) if self._enter(folder / name)]
            yield folder
            yield from (folder / name for name in sorted(files))

    def _fail(self, error: OSError) -> None:
        self._tell(Path(error.filename), f"cannot be read: {error.strerror}")

    def _tell(self, path: Path, reason: str) -> None:
        self.found.failures[_name(self.root, path)] = writable(reason)

    def _enter(self, folder: Path) -> bool:
        """Whether to look into a folder; a link to one is told."""
        if folder.name.startswith(".") or self._holds_answers(folder):
            return False
        if folder.is_symlink():
            self._tell(folder, "is a link to a folder: it is not followed; copy its files here")
            return False
        return True

    def _holds_answers(self, folder: Path) -> bool:
        """Whether a folder is where this run writes, or of another run; not all of the root is."""
        if folder == self.root or not folder.is_relative_to(self.root):
            return False
        of_folders = folder.name in (ITEMS, CLUSTERS) and _are_there(folder.parent, NAME)
        of_a_query = _are_there(folder, "query.json", "heatmap.tif")
        return of_folders or of_a_query or folder.resolve() == self.skipped

    def _add_export(self, folder: Path) -> None:
        if not is_export(folder):
            return
        try:
            export = read_export(folder)
        except UsageError as error:
            self._tell(folder / "result.json", str(error))
            return
        for attachment in export.attachments:
            self.messages.setdefault(attachment.path, []).append(attachment.message)
        self.passed |= (export.thumbnails | export.others) - self.messages.keys()
        self.found.places += export.places
        place = "" if folder == self.root else f"{_name(self.root, folder)}/"
        for name, reason in export.failures.items():
            self.found.failures[place + name] = writable(reason)

    def _add_file(self, path: Path) -> None:
        try:
            target = path.resolve()
        except (OSError, RuntimeError):
            self._tell(path, "is a link that leads in a circle: it is not followed")
            return
        brought = tuple(self.messages.get(target, ()))
        if target in self.passed and not brought:
            return
        if path.name.startswith(".") and not brought:
            self.found.ignored += 1
            return
        self.visited.add(target)
        if not target.is_relative_to(self.root):
            self._tell(path, "is a link that leads out of the folder: it is not followed")
            return
        try:
            kind = kind_of(path)
        except OSError as error:
            self._tell(path, f"cannot be read: {error.strerror}")
            return
        if kind is None and not brought:
            self.found.ignored += 1
            return
        name = _name(self.root, path)
        self.found.media.append(Medium(path, name, kind or "photo", brought))


def kind_of(path: Path) -> Kind | None:
    """By the first bytes, as names may be wrong, else by the name; None for what is neither.

    Raises OSError where the file cannot be read.
    """
    suffix = path.suffix.lower()
    # a pipe would wait for ever
    found = _kind_by_content(path, suffix) if path.is_file() else None
    if found or suffix not in PHOTO_SUFFIXES | VIDEO_SUFFIXES:
        return found
    return "photo" if suffix in PHOTO_SUFFIXES else "video"


def _kind_by_content(path: Path, suffix: str) -> Kind | None:
    with path.open("rb") as file:
        start = file.read(16)
    if start.startswith(_PHOTO_STARTS) or (start[:4], start[8:12]) == (b"RIFF", b"WEBP"):
        return "photo"
    if start[4:8] == b"ftyp":
        # brands of HEIC are many
        known = start[8:12] in _PHOTO_BRANDS or suffix in _HEIF_SUFFIXES
        return "photo" if known else "video"
    return "video" if start.startswith(_MATROSKA) else None


def _name(root: Path, path: Path) -> str:
    """Below the folder, as text that can be written anywhere."""
    return path_text(path.relative_to(root).as_posix())


def _are_there(folder: Path, *names: str) -> bool:
    """Whether a folder holds these files; False where nobody may look."""
    return all(os.path.isfile(folder / name) for name in names)  # noqa: PTH113 pathlib raises there
