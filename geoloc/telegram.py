"""Chats as Telegram Desktop exports them (JSON): which message brought which file.

Format, as its exporter writes it: a single chat has ``messages``, a full export ``chats.list``
(and ``left_chats.list``) of such chats. A message may have ``photo``, or ``file`` with
``media_type`` and ``mime_type``; both are paths below the export's folder, or a sentence in
parentheses where the file was not exported. ``text`` is a string, or a list of strings and
objects with ``text``.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from .errors import UsageError
from .names import free_name, path_text, writable

RESULT = "result.json"
_MAX_BYTES = 1_000_000_000
_MAX_ID = 1 << 63  # tables hold numbers of 64 bits
_VISUAL = {"video_file", "video_message", "animation"}
_MISSING = "the export does not include this file: export again with a larger size limit"


@dataclass(frozen=True)
class Message:
    """One message as evidence: all of it is what the export claims.

    ``date``: ISO 8601, with offset where the export gives the moment itself; ``place``: lon,
    lat (degrees) of a position that was sent with it; ``export``: the file that it is told in.
    """

    chat: str
    id: int
    date: str | None = None
    sender: str | None = None
    text: str = ""
    place: tuple[float, float] | None = None
    forwarded_from: str | None = None
    export: str | None = None

    def to_json(self) -> dict[str, Any]:
        """For the evidence; what is not known is left out."""
        told = {
            "chat": self.chat,
            "id": self.id,
            "date": self.date,
            "from": self.sender,
            "text": self.text,
            "place": self.place and {"lon": self.place[0], "lat": self.place[1]},
            "forwarded_from": self.forwarded_from,
            "export": self.export,
        }
        return {key: value for key, value in told.items() if value not in (None, "")}


@dataclass(frozen=True)
class Attachment:
    """A photo or video that a message brought."""

    path: Path
    message: Message


@dataclass(frozen=True)
class Export:
    """What an export holds: files with their messages, positions sent, thumbnails to pass over,
    ``others`` to pass over too (stickers and sound), and one line for each file that is named
    and cannot be had, by what names it."""

    attachments: tuple[Attachment, ...]
    places: tuple[Message, ...]
    thumbnails: frozenset[Path]
    failures: Mapping[str, str]
    others: frozenset[Path] = frozenset()


def is_export(folder: Path) -> bool:
    """Whether a folder holds what may be an export."""
    return os.path.isfile(folder / RESULT)  # noqa: PTH113 pathlib raises where it may not look


def read_export(folder: str | Path) -> Export:
    """Read an export's ``result.json``; the media themselves are not opened.

    Raises UsageError where it is none or is damaged.
    """
    folder = Path(folder).resolve()
    attachments: list[Attachment] = []
    places: list[Message] = []
    thumbnails: set[Path] = set()
    others: set[Path] = set()
    failures: dict[str, str] = {}
    for chat, record in _records(folder / RESULT):
        message = _message(chat, record, path_text(folder / RESULT))
        if message.place:
            places.append(message)
        if thumbnail := _inside(folder, record.get("thumbnail")):
            thumbnails.add(thumbnail)
        named = _visual(record)
        if named is None:
            if record.get("media_type") and (other := _inside(folder, record.get("file"))):
                others.add(other)
            continue
        try:
            attachments.append(Attachment(_file(folder, named), message))
        except UsageError as error:
            # chats of one name may have messages of one number
            name = f"{RESULT}: message {message.id} of {chat}"
            failures[free_name(name, failures.__contains__, "{} ({})")] = str(error)
    return Export(
        tuple(attachments), tuple(places), frozenset(thumbnails), failures, frozenset(others)
    )


def _records(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every message with its chat's name."""
    for chat in _chats(_load(path), path):
        messages = chat.get("messages")
        name = writable(str(chat.get("name") or chat.get("type") or "chat"))
        for record in messages if isinstance(messages, list) else ():
            if isinstance(record, dict) and record.get("type", "message") == "message":
                yield name, record


def _load(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise UsageError(f"{path} is larger than {_MAX_BYTES:,} bytes: export fewer chats")
        value = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:120]
        raise UsageError(f"{path} is damaged: {reason}; export the chat again") from None
    if not isinstance(value, dict):
        raise UsageError(f"{path} is no chat of Telegram Desktop: export it as JSON")
    return value


def _chats(value: dict[str, Any], path: Path) -> list[dict[str, Any]]:
    if isinstance(value.get("messages"), list):
        return [value]
    parts = [value.get(key) for key in ("chats", "left_chats")]
    lists = [p["list"] for p in parts if isinstance(p, dict) and isinstance(p.get("list"), list)]
    if not lists:
        raise UsageError(f"{path} is no chat of Telegram Desktop: export it as JSON")
    return [chat for chats in lists for chat in chats if isinstance(chat, dict)]


def _message(chat: str, record: Mapping[str, Any], export: str) -> Message:
    number = record.get("id")
    return Message(
        chat=chat,
        id=number if isinstance(number, int) and abs(number) < _MAX_ID else 0,
        date=_date(record),
        sender=_word(record.get("from")),
        text=_text(record.get("text")),
        place=_place(record.get("location_information")),
        forwarded_from=_word(record.get("forwarded_from")),
        export=export,
    )


def _date(record: Mapping[str, Any]) -> str | None:
    """The moment in UTC, or the local time of whoever exported where the moment is not given."""
    try:
        moment = dt.datetime.fromtimestamp(int(record["date_unixtime"]), dt.UTC)
    except (KeyError, TypeError, ValueError, OverflowError, OSError):
        return _word(record.get("date"))
    return moment.isoformat()


def _text(value: Any) -> str:
    parts = value if isinstance(value, list) else [value]
    words = [part.get("text") if isinstance(part, dict) else part for part in parts]
    return writable("".join(word for word in words if isinstance(word, str)).strip())


def _place(value: Any) -> tuple[float, float] | None:
    try:
        lon, lat = float(value["longitude"]), float(value["latitude"])
    except (KeyError, TypeError, ValueError):
        return None
    real = math.isfinite(lon) and math.isfinite(lat) and abs(lat) <= 90 and abs(lon) <= 180
    return (lon, lat) if real else None


def _visual(record: Mapping[str, Any]) -> str | None:
    """What the message names as its photo or video, whether or not it is a path."""
    photo, file = record.get("photo"), record.get("file")
    if isinstance(photo, str):
        return photo
    if not isinstance(file, str):
        return None
    kind, mime = record.get("media_type"), str(record.get("mime_type") or "")
    sent_as_file = kind is None and mime.startswith(("image/", "video/"))
    return file if kind in _VISUAL or sent_as_file else None


def _file(folder: Path, named: str) -> Path:
    if not named or named.startswith("("):
        raise UsageError(_MISSING)
    path = _inside(folder, named)
    if path is None:
        raise UsageError(
            f"{named[:200]!r} leads out of the export's folder or is no path: it is not opened"
        )
    try:
        there = path.is_file()
    except OSError:  # a name that is too long
        there = False
    if not there:
        raise UsageError(f"{named[:200]!r} is not there: copy the whole export folder")
    return path


def _inside(folder: Path, named: Any) -> Path | None:
    """The file that is named, links followed, or None where it is no path below the folder."""
    if not isinstance(named, str) or not named or named.startswith("(") or "\x00" in named:
        return None
    relative = PurePosixPath(named.replace("\\", "/"))
    if relative.is_absolute() or not relative.parts or ":" in relative.parts[0]:
        return None
    try:
        path = (folder / relative).resolve()
    except (OSError, RuntimeError, ValueError):  # too long, links in a circle, half characters
        return None
    return path if path.is_relative_to(folder) else None


def _word(value: Any) -> str | None:
    return writable(value) if isinstance(value, str) and value else None
