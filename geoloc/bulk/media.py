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

    ``leave_out``: a folder that is passed over, where the answers go. Raises UsageError where
    there is no such folder.
    """
    root = Path(folder).resolve()
    if not root.is_dir():
        raise UsageError(f"{folder} is no folder: name the one that holds the photos and videos")
    skipped = None if leave_out is None else Path(leave_out).resolve()
    found, messages, thumbnails = Found(), dict[Path, list[Message]](), set[Path]()
    for path in _walk(root, skipped, found):
        if path.is_dir():
            _add_export(root, path, found, messages, thumbnails)
        else:
            _add_file(root, path, found, messages, thumbnails)
    found.media.sort(key=lambda medium: medium.name)
    return found


def _walk(root: Path, skipped: Path | None, found: Found) -> Iterator[Path]:
    """Each folder before its files, so that a chat is read before what it names."""

    def fail(error: OSError) -> None:
        found.failures[_name(root, Path(error.filename))] = f"cannot be read: {error.strerror}"

    for here, folders, files in os.walk(root, onerror=fail):
        folder = Path(here)
        folders[:] = sorted(
            name for name in folders
            if not name.startswith(".") and (folder / name).resolve() != skipped
        )  # fmt: skip
        yield folder
        yield from (folder / name for name in sorted(files) if not name.startswith("."))


def _add_export(
    root: Path,
    folder: Path,
    found: Found,
    messages: dict[Path, list[Message]],
    thumbnails: set[Path],
) -> None:
    if not is_export(folder):
        return
    try:
        export = read_export(folder)
    except UsageError as error:
        found.failures[_name(root, folder / "result.json")] = writable(str(error))
        return
    for attachment in export.attachments:
        messages.setdefault(attachment.path, []).append(attachment.message)
    thumbnails |= export.thumbnails - messages.keys()
    found.places += export.places
    for name, reason in export.failures.items():
        found.failures[f"{_name(root, folder)}/{name}".removeprefix("./")] = reason


def _add_file(
    root: Path,
    path: Path,
    found: Found,
    messages: dict[Path, list[Message]],
    thumbnails: set[Path],
) -> None:
    name = _name(root, path)
    try:
        target = path.resolve()
    except (OSError, RuntimeError):
        found.failures[name] = "is a link that leads in a circle: it is not followed"
        return
    if target in thumbnails:
        return
    if not target.is_relative_to(root):
        found.failures[name] = "is a link that leads out of the folder: it is not followed"
        return
    brought = tuple(messages.get(target, ()))
    try:
        kind = kind_of(path)
    except OSError as error:
        found.failures[name] = f"cannot be read: {error.strerror}"
        return
    if kind is None and not brought:
        found.ignored += 1
        return
    found.media.append(Medium(path, name, kind or "photo", brought))


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
