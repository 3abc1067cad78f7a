"""One message as evidence, from a record whose values may be of any type.

Other versions of the exporter, other programs and manual edits put ``null``, lists, objects or
numbers where text is expected. Each field is read by itself: an odd one loses only itself.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..names import writable

NOT_GIVEN = "(source not given)"
"""Who a message was forwarded from, where the export hides it: an account that is deleted or
private."""

_NAMES = ("name", "title", "text", "first_name", "username")  # of an object in place of a name
_DIGITS = re.compile(r"-?[0-9]{1,19}")
_MAX_ID = 1 << 63  # tables hold numbers of 64 bits


@dataclass(frozen=True)
class Message:
    """One message as evidence: everything in it is a claim of the export.

    ``date``: ISO 8601, with an offset if the export gives a timestamp; ``place``: lon, lat
    (degrees) of a position sent with it; ``export``: the file it was read from; ``kind``:
    "story" or "profile picture", or a service message's action; None for an ordinary message.
    ``forwarded_from`` is NOT_GIVEN if the original sender is hidden; ``forwarded_date``: of the
    original; ``edited``: of the last edit, which may have replaced the file as well.
    """

    chat: str
    id: int
    date: str | None = None
    sender: str | None = None
    text: str = ""
    place: tuple[float, float] | None = None
    forwarded_from: str | None = None
    export: str | None = None
    kind: str | None = None
    forwarded_from_id: str | None = None
    forwarded_date: str | None = None
    saved_from: str | None = None
    reply_to: int | None = None
    edited: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The JSON of the evidence; unknown values are left out."""
        values = {
            "chat": self.chat,
            "id": self.id,
            "kind": self.kind,
            "date": self.date,
            "edited": self.edited,
            "from": self.sender,
            "text": self.text,
            "place": self.place and {"lon": self.place[0], "lat": self.place[1]},
            "forwarded_from": self.forwarded_from,
            "forwarded_from_id": self.forwarded_from_id,
            "forwarded_date": self.forwarded_date,
            "saved_from": self.saved_from,
            "reply_to": self.reply_to,
            "export": self.export,
        }
        return {key: value for key, value in values.items() if value not in (None, "")}


@dataclass(frozen=True)
class Attachment:
    """A photo or video that a message brought."""

    path: Path
    message: Message


_USUAL: Mapping[str, type | tuple[type, ...]] = {
    "id": int, "date": str, "date_unixtime": str, "from": str, "actor": str, "text": (str, list),
    "location_information": dict, "forwarded_from": str, "forwarded_from_id": str,
    "saved_from": str, "reply_to_message_id": int, "media_type": str, "mime_type": str,
    "thumbnail": str, "type": str, "action": str,
}  # fmt: skip


_DATES = ("date", "edited", "forwarded_date")
_FIRST_YEAR = 1971  # earlier is a clock's zero in some zone


def odd_fields(record: Mapping[str, Any]) -> list[str]:
    """Fields whose values are not of the type the exporter writes, dates that are none, and id if
    missing."""
    odd = [
        key
        for key, usual in _USUAL.items()
        if (value := record.get(key)) is not None and not isinstance(value, usual)
    ]
    absent = ("id",) if record.get("id") is None else ()
    odd += [key for key in _DATES if isinstance(record.get(key), str) and not _date(record, key)]
    empty = (key for key in ("photo", "file") if key in record and record[key] is None)
    return [*odd, *absent, *empty]


def message_of(
    chat: str, record: Mapping[str, Any], export: str, kind: str | None = None
) -> Message:
    """The message of a record of ``result.json``; never raises."""
    return Message(
        chat=chat,
        id=number(record.get("id")) or 0,
        date=_date(record, "date"),
        sender=word(record.get("from")) or word(record.get("actor")),
        text=text_of(record.get("text")),
        place=place_of(record.get("location_information")),
        forwarded_from=_forwarded(record),
        export=export,
        kind=kind,
        forwarded_from_id=word(record.get("forwarded_from_id")),
        forwarded_date=_date(record, "forwarded_date"),
        saved_from=word(record.get("saved_from")),
        reply_to=number(record.get("reply_to_message_id")),
        edited=_date(record, "edited"),
    )


def word(value: Any) -> str | None:
    """Text of a value that is usually a word; None for an empty one."""
    if isinstance(value, str):
        return writable(value) or None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value) if abs(value) < _MAX_ID else None  # also false for NaN
    if isinstance(value, dict):
        value = next((value[key] for key in _NAMES if isinstance(value.get(key), str)), None)
    return text_of(value) or None


def number(value: Any) -> int | None:
    """An integer that tables can hold, also if written as text; else None."""
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        value = int(value)
    whole = isinstance(value, int) and not isinstance(value, bool)
    return value if whole and abs(value) < _MAX_ID else None


def text_of(value: Any) -> str:
    """A message's text: a string, or a list of strings and objects with ``text``."""
    parts = value if isinstance(value, list) else [value]
    words = [part.get("text") if isinstance(part, dict) else part for part in parts]
    return writable("".join(word for word in words if isinstance(word, str)).strip())


def place_of(value: Any) -> tuple[float, float] | None:
    """lon, lat of a position; None if invalid, and for 0, 0, which means unknown."""
    try:
        lon, lat = float(value["longitude"]), float(value["latitude"])
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    real = math.isfinite(lon) and math.isfinite(lat) and abs(lat) <= 90 and abs(lon) <= 180
    return (lon, lat) if real and (lon or lat) else None


def _date(record: Mapping[str, Any], key: str) -> str | None:
    """The timestamp in UTC, else the exporting computer's local time; None for what is no time."""
    try:
        second = int(record[f"{key}_unixtime"])
        moment = dt.datetime.fromtimestamp(second, dt.UTC) if second > 0 else None
    except (KeyError, TypeError, ValueError, OverflowError, OSError):
        moment = None
    return _local_date(word(record.get(key))) if moment is None else moment.isoformat()


def _local_date(text: str | None) -> str | None:
    """A date as it is written, if it is one (ISO 8601) and not a clock's zero."""
    try:
        return text if text and dt.datetime.fromisoformat(text).year >= _FIRST_YEAR else None
    except ValueError:
        return None


def _forwarded(record: Mapping[str, Any]) -> str | None:
    """The original sender; the exporter writes null for a deleted or hidden account."""
    if named := word(record.get("forwarded_from")):
        return named
    return NOT_GIVEN if any(key.startswith("forwarded_") for key in record) else None
