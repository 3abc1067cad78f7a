"""``result.json``: a chat, or all of an account, as Telegram Desktop exports it.

Format, as its exporter writes it: a single chat has ``messages``, a full export ``chats.list``
(and ``left_chats.list``) of such chats, ``stories`` and ``profile_pictures``. A message may have
``photo``, or ``file`` with ``media_type`` and ``mime_type``, a story ``media``; these are paths
below the export's folder, or a sentence in parentheses where the file was not exported.
"""

from __future__ import annotations

import mimetypes
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..names import free_name, path_text, writable
from .files import Files, is_absent
from .message import Attachment, Message, message_of, number, odd_fields, word
from .repair import Repaired, read_json

RESULT = "result.json"
MAX_BYTES = 1_000_000_000
"""Bytes that a file of an export may have."""

_VISUAL = ("video_file", "video_message", "animation")
_OTHER = ("sticker", "voice_message", "audio_file")
_NO_EXPORT = "is not a chat exported by Telegram Desktop: export it as JSON"
_PORTRAITS = ("edit_group_photo", "suggest_profile_photo")  # service messages that bring a photo
_MIMES = mimetypes.MimeTypes()  # its own list, not the system's


@dataclass(frozen=True)
class Export:
    """What an export holds: files with their messages, positions sent, thumbnails and ``others``
    (stickers and sound) to skip, and one reason for each file that is named but missing, keyed
    by the message that names it.

    ``documents``: files sent as generic documents; their content may show them to be photos or
    videos. ``notes``: oddities that lost no data.
    """

    attachments: tuple[Attachment, ...]
    places: tuple[Message, ...]
    thumbnails: frozenset[Path]
    failures: Mapping[str, str]
    others: frozenset[Path] = frozenset()
    documents: tuple[Attachment, ...] = ()
    notes: tuple[str, ...] = ()


def is_export(folder: Path) -> bool:
    """Whether a folder holds ``result.json``, and so may be an export."""
    return os.path.isfile(folder / RESULT)  # noqa: PTH113 pathlib raises where it may not look


def read_export(folder: str | Path) -> Export:
    """Read an export's ``result.json``; the media themselves are not opened.

    A damaged part loses only itself. Raises UsageError where it is not an export or nothing in
    it can be read.
    """
    folder = Path(folder).resolve()
    path = folder / RESULT
    repaired = _load(path)
    collected = Collected(Files(folder), path_text(path))
    for entry in _records(repaired.value, partial(collected.fail, RESULT)):
        collected.add(entry)
    if repaired.lost:
        collected.fail(
            RESULT,
            f"is damaged: {repaired.lost}; files of the others are answered without their "
            "messages. Copy it again from the original export",
        )
    notes = [f"{RESULT} is not valid JSON ({repaired.repairs}): repaired, all of it was read"]
    return collected.export(notes if repaired.repairs else [])


@dataclass(frozen=True)
class Entry:
    """A record that may name a file: its chat, its kind unless it is a message, and ``media``,
    the key of its file."""

    chat: str
    record: Mapping[str, Any]
    kind: str | None = None
    media: str = ""

    @property
    def title(self) -> str:
        """Its name in a message about it."""
        count = number(self.record.get("id")) or 0
        return f"{self.kind} {count}" if self.media else f"message {count} of {self.chat}"


@dataclass
class Collected:
    """An export while it is read; ``source``: the file being read."""

    files: Files
    source: str
    attachments: list[Attachment] = field(default_factory=list)
    documents: list[Attachment] = field(default_factory=list)
    places: list[Message] = field(default_factory=list)
    thumbnails: set[Path] = field(default_factory=set)
    others: set[Path] = field(default_factory=set)
    failures: dict[str, str] = field(default_factory=dict)
    odd: Counter[str] = field(default_factory=Counter)

    def fail(self, name: str, reason: str) -> None:
        """Record a failure; names repeat where chats share a name, and so are numbered."""
        free = free_name(writable(name), self.failures.__contains__, "{} ({})")
        self.failures[free] = writable(reason)

    def add(self, entry: Entry) -> None:
        """Add one record; never raises, whatever types its values have."""
        message = message_of(entry.chat, entry.record, self.source, entry.kind)
        self.odd.update(odd_fields(entry.record))
        if entry.media and entry.record.get(entry.media) is None:
            self.odd[f"{entry.kind} without {entry.media}"] += 1
        if message.place:
            self.places.append(message)
        if thumbnail := self.files.maybe(entry.record.get("thumbnail")):
            self.thumbnails.add(thumbnail)
        for key in dict.fromkeys(("photo", "file", entry.media or "file")):
            self._attach(entry, message, key)

    def _attach(self, entry: Entry, message: Message, key: str) -> None:
        named, kind = entry.record.get(key), word(entry.record.get("media_type"))
        if named is None:
            return
        if key == "file" and kind in _OTHER:
            if other := self.files.maybe(named):
                self.others.add(other)
            return
        visual = key != "file" or kind in _VISUAL or _seems_visual(entry.record)
        try:
            path = self.files.find(_path(named), _size(entry.record))
        except UsageError as error:
            if visual and (entry.media or entry.kind in (None, *_PORTRAITS)):
                self.fail(f"{RESULT}: {entry.title}", str(error))
            return
        (self.attachments if visual else self.documents).append(Attachment(path, message))

    def export(self, notes: Sequence[str] = ()) -> Export:
        """Everything collected, frozen."""
        fields = ", ".join(f"{key} {count:,}" for key, count in sorted(self.odd.items()))
        note = f"{RESULT} has unusual or missing values ({fields}): the rest was read"
        return Export(
            tuple(self.attachments), tuple(self.places), frozenset(self.thumbnails),
            self.failures, frozenset(self.others), tuple(self.documents),
            (*notes, *([note] if self.odd else [])),
        )  # fmt: skip


def _path(named: Any) -> str:
    if isinstance(named, str):
        return named
    shown = writable(str(named))[:80]
    raise UsageError(f"the export has {shown} where the path of a file is expected")


def _size(record: Mapping[str, Any]) -> int | None:
    return number(record.get("photo_file_size")) or number(record.get("file_size"))


def _seems_visual(record: Mapping[str, Any]) -> bool:
    """Whether a document's MIME type or file name says photo or video."""
    mime = word(record.get("mime_type")) or ""
    names = [word(record.get(key)) or "" for key in ("file", "file_name")]
    names = [name.rpartition("/")[2] for name in names if not is_absent(name)]
    kinds = [mime, *(_MIMES.guess_type(name)[0] or "" for name in names)]
    return any(kind.startswith(("image/", "video/")) for kind in kinds)


def _load(path: Path) -> Repaired:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UsageError(f"{path} is larger than {MAX_BYTES:,} bytes: export fewer chats")
        repaired = read_json(path.read_bytes())
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        reason = " ".join(str(error).split())[:120]
        raise UsageError(
            f"{path} is damaged and none of its messages can be read: {reason}; copy it again "
            "from the original export"
        ) from None
    if not isinstance(repaired.value, dict) or not any(_lists(repaired.value)):
        raise UsageError(f"{path} {_NO_EXPORT}")
    return repaired


def _lists(value: Mapping[str, Any]) -> Iterator[bool]:
    """For each key that an export may have, whether it is present."""
    yield isinstance(value.get("messages"), list)
    for key in ("chats", "left_chats", "stories", "profile_pictures"):
        yield _list(value.get(key)) is not None


def _list(value: Any) -> list[Any] | None:
    """A list, or the ``list`` of an object."""
    inner = value.get("list") if isinstance(value, dict) else value
    return inner if isinstance(inner, list) else None


def _records(value: Mapping[str, Any], fail: Callable[[str], None]) -> Iterator[Entry]:
    """Every message with its chat's name, then stories and profile pictures; anything else is
    passed to ``fail``."""
    chats = [value] if isinstance(value.get("messages"), list) else []
    for key in ("chats", "left_chats"):
        chats += _objects(value, key, "chats", fail)
    for chat in chats:
        name = _one_line(word(chat.get("name")) or word(chat.get("type")) or "chat")
        for record in _objects(chat, "messages", f"messages of {name}", fail):
            yield Entry(name, record, _action(record))
    owner = _owner(value.get("personal_information"))
    for key, kind, media in (("stories", "story", "media"),
                             ("profile_pictures", "profile picture", "photo")):  # fmt: skip
        for place, record in enumerate(_objects(value, key, key, fail), start=1):
            yield Entry(kind, {"id": place, "from": owner} | record, kind, media)


def _objects(
    value: Mapping[str, Any], key: str, name: str, fail: Callable[[str], None]
) -> list[dict[str, Any]]:
    """The objects of a list; entries of other types are reported once."""
    entries = _list(value.get(key))
    if entries is None:
        if key in value or key == "messages":
            fail(f"holds no list where the {name} should be: they were not read")
        return []
    objects = [entry for entry in entries if isinstance(entry, dict)]
    if odd := len(entries) - len(objects):
        fail(f"has {odd:,} invalid entries among the {name}: they were skipped")
    return objects


def _action(record: Mapping[str, Any]) -> str | None:
    """The action of a service message; None for any other message."""
    return word(record.get("action")) or "service" if record.get("type") == "service" else None


def _owner(value: Any) -> str | None:
    names = value if isinstance(value, dict) else {}
    parts = [word(names.get(key)) for key in ("first_name", "last_name")]
    return " ".join(filter(None, parts)) or None


def _one_line(name: str) -> str:
    return " ".join(name.replace("\x00", " ").split()) or "chat"
