"""What a folder holds: photos and videos, chats with their messages, and what is in the way."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

from ..errors import UsageError
from ..names import path_text, writable
from ..photos import photo_kind
from ..telegram import (
    DECORATION,
    RESULT,
    Attachment,
    Export,
    Message,
    is_export,
    is_page,
    read_export,
    read_pages,
)
from ..video import SUFFIXES as VIDEO_SUFFIXES
from ..video import is_video_content
from .layout import CLUSTERS, ITEMS, PROGRESS
from .mishaps import contained

_MAPS = ("heatmap.tif", "regions.tif")  # one of them lies in the folder of every answer
PHOTO_SUFFIXES = frozenset((".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".tiff",
                            ".heic", ".heif", ".hif", ".avif", ".gif", ".bmp"))  # fmt: skip

Kind = Literal["photo", "video"]

_REFUSED_SUFFIXES = frozenset((
    ".jxl", ".jp2", ".j2k", ".jpx", ".jpf", ".jxr", ".wdp", ".psd", ".psb", ".tga", ".exr",
    ".dng", ".cr2", ".cr3", ".crw", ".nef", ".nrw", ".arw", ".srf", ".sr2", ".raf", ".orf",
    ".rw2", ".rwl", ".pef", ".srw", ".x3f", ".3fr", ".fff", ".iiq", ".mrw", ".mef", ".mos",
    ".erf", ".kdc", ".dcr", ".gpr", ".raw",
))  # fmt: skip
"""Photos too: of these a camera's preview can be read, or they are refused by name."""

_CAMCORDER_SUFFIXES = frozenset((".m2ts", ".m2t", ".tod", ".vob", ".asf", ".3g2", ".mxf", ".dv",
                                 ".f4v", ".rm", ".rmvb", ".m2v", ".mpe", ".qt"))  # fmt: skip
_AMBIGUOUS_SUFFIXES = frozenset((".ts", ".mts", ".mod"))  # programs' source text too
_ARCHIVES = (".zip", ".rar", ".7z", ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz")
_HEAD = 4096  # bytes that tell a kind
_LARGEST_ICON = 32_768  # bytes; those of exports have 6,000 at most
_RENAMED = f"seems to be a chat under another name: call it {RESULT}, beside its files"
_OF_CHATS = "stickers, sound and thumbnails of chats"
_ICONS = "icons and styles of HTML exports"


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
    many files are no media, and the positions that were sent in chats.

    ``left_out``: how many files of what kind are not looked at; ``notes``: lines on what is
    remarkable and cost nothing.
    """

    media: list[Medium] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    ignored: int = 0
    places: list[Message] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)

    def remarks(self) -> tuple[str, ...]:
        """For people: the notes, and what is left out."""
        return (*self.notes, left_out_line(self.left_out))


def left_out_line(left_out: Mapping[str, int]) -> str:
    """How many files are left out and of what kind, the most first."""
    if not left_out:
        return "no other files: nothing is left out"
    kinds = sorted(left_out.items(), key=lambda kind: (-kind[1], kind[0]))
    count = sum(left_out.values())
    counts = ", ".join(f"{kind} {number:,}" for kind, number in kinds)
    return f"{count:,} other file{'s' if count > 1 else ''} left out ({counts})"


def find_media(folder: str | Path, leave_out: str | Path | None = None) -> Found:
    """Look through a folder and all below it; links are not followed out of it.

    ``leave_out``: a folder that is left out, where the answers go; so are the answers of
    other runs. Raises UsageError where there is no such folder.
    """
    root = Path(folder).resolve()
    if not root.is_dir():
        fault = "is not a folder" if root.exists() else "does not exist"
        raise UsageError(f"{folder} {fault}: give the one that holds the photos and videos")
    search = _Search(root, None if leave_out is None else Path(leave_out).resolve())
    search.run()
    search.found.media.sort(key=lambda medium: medium.name)
    return search.found


Brought = dict[Path, list[Message]]


@dataclass
class _Search:
    """One look through a folder; ``messages`` by the file that they brought, ``documents`` by a
    file that is a medium only if its content is, ``passed``: files that chats know as no media,
    ``visited``: files that were looked at, ``chats``: folders whose ``result.json`` was read,
    ``paged``: folders with pages of HTML, ``decoration``: what lies beside those for their look."""

    root: Path
    skipped: Path | None
    found: Found = field(default_factory=Found)
    messages: Brought = field(default_factory=dict)
    documents: Brought = field(default_factory=dict)
    passed: set[Path] = field(default_factory=set)
    visited: set[Path] = field(default_factory=set)
    chats: set[Path] = field(default_factory=set)
    paged: set[Path] = field(default_factory=set)
    decoration: set[Path] = field(default_factory=set)

    def run(self) -> None:
        """The folder, then what its chats brought that lies in hidden folders."""
        for folder, names in self._walk():
            chat = folder / RESULT
            with contained(_name(self.root, chat), partial(self._tell, chat)):
                self._add_chats(folder, names)
            for name in names:
                self._look_at(folder / name)
        for path in sorted((self.messages.keys() | self.documents.keys()) - self.visited):
            if not any(self._holds_answers(folder) for folder in path.parents):
                self._look_at(path)

    def _look_at(self, path: Path) -> None:
        with contained(_name(self.root, path), partial(self._tell, path)):
            self._add_file(path)

    def _walk(self) -> Iterator[tuple[Path, list[str]]]:
        """Each folder and its files, so that a chat is read before what it names."""
        for here, folders, files in os.walk(self.root, onerror=self._fail):
            folder = Path(here)
            folders[:] = [name for name in sorted(folders) if self._enter(folder / name)]
            yield folder, sorted(files)

    def _fail(self, error: OSError) -> None:
        self._tell(Path(error.filename), f"cannot be read: {error.strerror}")

    def _tell(self, path: Path, reason: str) -> None:
        self.found.failures[_name(self.root, path)] = writable(reason)

    def _enter(self, folder: Path) -> bool:
        """Whether to look into a folder; a link to one is reported."""
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
        of_folders = folder.name in (ITEMS, CLUSTERS) and _are_there(folder.parent, PROGRESS)
        of_a_query = any(_are_there(folder, "query.json", name) for name in _MAPS)
        return of_folders or of_a_query or folder.resolve() == self.skipped

    def _add_chats(self, folder: Path, names: list[str]) -> None:
        """The chats of a folder; where they are exported as JSON too, that is what is read."""
        if is_export(folder):
            try:
                self._add_export(folder, read_export(folder))
                self.chats.add(folder)
            except UsageError as error:
                self._tell(folder / RESULT, str(error))
        if any(map(is_page, names)):
            self.paged.add(folder)
            self.decoration |= {folder / name for name in DECORATION}
            if self.chats.isdisjoint((folder, *folder.parents)):
                self._add_export(folder, read_pages(folder))

    def _add_export(self, folder: Path, export: Export) -> None:
        _bring(self.messages, export.attachments)
        _bring(self.documents, export.documents)
        self.passed |= (export.thumbnails | export.others) - self.messages.keys()
        self.found.places += export.places
        place = "" if folder == self.root else f"{_name(self.root, folder)}/"
        for name, reason in export.failures.items():
            self.found.failures[place + name] = writable(reason)
        self.found.notes += [writable(f"{place}{note}") for note in export.notes]

    def _add_file(self, path: Path) -> None:
        try:
            target = path.resolve()
        except (OSError, RuntimeError):
            self._tell(path, "is a link that leads in a circle: it is not followed")
            return
        brought = tuple(self.messages.get(target, ()))
        sent = tuple(self.documents.get(target, ()))
        if not (brought or sent) and (reason := self._passed_over(path, target)):
            self.found.left_out[reason] += 1
            return
        if path.name.startswith(".") and not (brought or sent):
            self._leave_out("hidden")
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
            self._leave_out_by_name(path)
            return
        name = _name(self.root, path)
        self.found.media.append(Medium(path, name, kind or "photo", brought + sent))

    def _passed_over(self, path: Path, target: Path) -> str | None:
        """Why a picture that no message brought is none, as chats know it."""
        if not self.decoration.isdisjoint(path.parents) and _is_small(target):
            return _ICONS
        thumbnail = path.stem.casefold().endswith("_thumb")
        of_pages = thumbnail and not self.paged.isdisjoint(path.parents)
        return _OF_CHATS if of_pages or target in self.passed else None

    def _leave_out_by_name(self, path: Path) -> None:
        name = path.name.casefold()
        if name.endswith(_ARCHIVES):
            self._tell(path, "is an archive, which is not looked into: unpack it here")
        if path.name != RESULT and name.endswith(".json") and _seems_an_export(path):
            self._tell(path, _RENAMED)
        if path.name == RESULT or (is_page(path.name) and path.parent in self.paged):
            self.found.ignored += 1  # its messages were read, or why not is told
        else:
            self._leave_out(path.suffix.lower() or "no suffix")

    def _leave_out(self, kind: str) -> None:
        self.found.ignored += 1
        self.found.left_out[writable(kind)] += 1


def _bring(brought: Brought, attachments: tuple[Attachment, ...]) -> None:
    for attachment in attachments:
        brought.setdefault(attachment.path, []).append(attachment.message)


def kind_of(path: Path) -> Kind | None:
    """By the first bytes, as names may be wrong, else by the name; None for what is neither.

    Photos of kinds that cannot be read are photos. Raises OSError where the file cannot be read.
    """
    # a pipe would wait for ever
    head = _head(path) if path.is_file() else b""
    if is_video_content(head):
        return "video"
    if photo_kind(head):
        return "photo"
    suffix = path.suffix.lower()
    if suffix in _AMBIGUOUS_SUFFIXES:
        return None if _is_text(head) else "video"
    if suffix in VIDEO_SUFFIXES | _CAMCORDER_SUFFIXES:
        return "video"
    return "photo" if suffix in PHOTO_SUFFIXES | _REFUSED_SUFFIXES else None


def _is_small(path: Path) -> bool:
    """Whether a file may be an icon: folders called images may hold photos too."""
    try:
        return path.stat().st_size <= _LARGEST_ICON
    except OSError:
        return False  # that is told where it is read


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_HEAD)


def _seems_an_export(path: Path) -> bool:
    """Whether a JSON file begins like a chat that Telegram Desktop exports."""
    head = _head(path)
    return any(key in head for key in (b'"messages":', b'"chats":')) and b'"type":' in head


def _is_text(head: bytes) -> bool:
    """Whether bytes are the beginning of a text, which may be cut within a character."""
    try:
        head.decode()
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:
            return False
    return b"\x00" not in head


def _name(root: Path, path: Path) -> str:
    """Below the folder, as text that can be written anywhere."""
    return path_text(path.relative_to(root).as_posix())


def _are_there(folder: Path, *names: str) -> bool:
    """Whether a folder holds these files; False where it may not be read."""
    return all(os.path.isfile(folder / name) for name in names)  # noqa: PTH113 pathlib raises there
