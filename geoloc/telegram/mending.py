r"""``result.json`` as it is really written.

Telegram Desktop writes control characters as ``\x0B``, which is no JSON, and versions of it
wrote paths without quotes; exports are cut short where a disk is full, and damaged by whoever
edits them. What can be read for certain is read, message by message where the whole cannot be.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_ESCAPE = re.compile(r"""\\(?:(["\\/bfnrt]|u[0-9a-fA-F]{4})|x([0-9a-fA-F]{2}))?""")
_STRING = r'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_WHOLE = r"-?\d[\d.eE+-]*+|true|false|null|NaN|-?Infinity"
_BARE = re.compile(
    rf"""({_STRING})
    (?:(\s*+:\s*+)(?!["\{{\[]|(?:{_WHOLE})\s*+[,\}}\]])
       ([^\n"]+?)(?=\s*(?:,?\s*\n|[\}}\]]\s*(?:[,\}}\]\n]|$)|,\s*"|$)))?""",
    re.VERBOSE | re.DOTALL,
)
_ARRAY = re.compile(r'(?<!\\)"(messages|stories|profile_pictures)"\s*:\s*\[')
_RECORD = re.compile(r'\{\s*"(?:id"\s*:\s*-?\d+\s*,\s*"type|date)"\s*:')
_HEAD = re.compile(rf'"(name|type)"\s*:\s*({_STRING})')
_DECODER = json.JSONDecoder(strict=False)  # control characters in strings are common


@dataclass(frozen=True)
class Mended:
    """What a text holds; ``mended``: what was put right without loss, ``lost``: what could not
    be read, each in words or None."""

    value: Any
    mended: str | None = None
    lost: str | None = None


def decode(data: bytes) -> tuple[str, str | None]:
    """The text of a JSON file in any of its encodings, and what was not text in it."""
    encoding = json.detect_encoding(data)
    try:
        return data.decode(encoding), None
    except UnicodeDecodeError as error:
        told = f"bytes that are no {encoding.upper()}, from byte {error.start:,} on"
        return data.decode(encoding, "replace"), told


def read_json(data: bytes) -> Mended:
    """Read strictly, else mended, else whatever messages are whole.

    Raises ValueError where not one list of messages can be found.
    """
    text, odd = decode(data)
    try:
        return Mended(json.loads(text, strict=False), odd)
    except (ValueError, RecursionError) as error:
        reason = error
    escaped, escapes = mend_escapes(text)
    quoted, bare = quote_bare(escaped)
    told = "; ".join(filter(None, (odd, *_counted(escapes, bare))))
    try:
        value, end = _DECODER.raw_decode(quoted, _start(quoted))
    except (ValueError, RecursionError):
        return _salvaged(escaped, reason)
    if _ARRAY.search(quoted, end):
        return _salvaged(escaped, reason)  # one export after the other
    rest = len(quoted[end:].strip(" \t\r\n\x00"))
    after = f"{rest:,} characters after its end" if rest else None
    return Mended(value, "; ".join(filter(None, (told, after))) or str(reason))


def _start(text: str) -> int:
    return len(text) - len(text.lstrip("\ufeff \t\r\n"))


def _counted(escapes: int, bare: int) -> Iterator[str]:
    if escapes:
        yield f"{escapes:,} escapes that JSON does not have"
    if bare:
        yield f"{bare:,} values without quotes"


def mend_escapes(text: str) -> tuple[str, int]:
    r"""``\x0B`` as ``\u000B``, a backslash before anything else as itself; and how many."""
    count = 0

    def mend(found: re.Match[str]) -> str:
        nonlocal count
        if found[1]:
            return found[0]
        count += 1
        return f"\\u00{found[2]}" if found[2] else r"\\"

    return _ESCAPE.sub(mend, text), count


def quote_bare(text: str) -> tuple[str, int]:
    """Values that are neither JSON nor in quotes, in quotes; and how many."""
    count = 0

    def quote(found: re.Match[str]) -> str:
        nonlocal count
        if not found[3]:
            return found[0]
        count += 1
        return f"{found[1]}{found[2]}{json.dumps(found[3].strip(), ensure_ascii=False)}"

    return _BARE.sub(quote, text), count


def _salvaged(text: str, reason: Exception) -> Mended:
    """Each list of messages, record by record; in the form of a full export."""
    starts = list(_ARRAY.finditer(text))
    if not starts:
        raise ValueError(" ".join(str(reason).split())[:120])
    value: dict[str, Any] = {"chats": {"list": []}}
    read = lost = before = 0
    for place, start in enumerate(starts):
        end = starts[place + 1].start() if place + 1 < len(starts) else len(text)
        records, missed = _records(text, start.end(), end)
        read, lost = read + len(records), lost + missed
        if start[1] == "messages":
            value["chats"]["list"].append(
                _head(text[before : start.start()]) | {"messages": records}
            )
        else:
            value[start[1]] = records
        before = start.end()
    whole = f"{read:,} messages of it could be read"
    return Mended(value, None, f"{whole}, {lost:,} could not" if lost else whole)


def _head(text: str) -> dict[str, Any]:
    """Name and type of a chat, which stand before its messages."""
    return {key: _DECODER.decode(value) for key, value in _HEAD.findall(text[-2000:])}


def _records(text: str, at: int, end: int) -> tuple[list[Any], int]:
    """The records of a list that begins ``at``, and how many of them are damaged."""
    records: list[Any] = []
    lost = 0
    while (at := _past_commas(text, at, end)) < end and text[at] != "]":
        try:
            record, at = _DECODER.raw_decode(text, at)
            records.append(record)
            continue
        except (ValueError, RecursionError):
            following = _RECORD.search(text, at + 1, end)
        stop = following.start() if following else end
        try:
            records.append(_DECODER.raw_decode(quote_bare(text[at:stop])[0])[0])
        except (ValueError, RecursionError):
            lost += 1
        at = stop
    return records, lost


def _past_commas(text: str, at: int, end: int) -> int:
    while at < end and text[at] in ", \t\r\n":
        at += 1
    return at
