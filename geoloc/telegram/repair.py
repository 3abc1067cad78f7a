r"""``result.json`` as it is really written.

Telegram Desktop writes control characters as ``\x0B``, which is not JSON, and some versions
write paths without quotes; exports are cut short when a disk fills up and damaged by editing.
Whatever can be read with certainty is read, message by message if the whole cannot be.
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
class Repaired:
    """The content of a text; ``repairs``: what was repaired without loss, ``lost``: what could
    not be read, each in words or None."""

    value: Any
    repairs: str | None = None
    lost: str | None = None


def decode(data: bytes) -> tuple[str, str | None]:
    """The text of a JSON file in any of its encodings, and which bytes were not text."""
    encoding = json.detect_encoding(data)
    try:
        return data.decode(encoding), None
    except UnicodeDecodeError as error:
        problem = f"bytes that are not {encoding.upper()}, from byte {error.start:,} on"
        return data.decode(encoding, "replace"), problem


def read_json(data: bytes) -> Repaired:
    """Parse strictly, else repaired, else only the messages that are whole.

    Raises ValueError if there is no list of messages.
    """
    text, odd = decode(data)
    try:
        return Repaired(json.loads(text, strict=False), odd)
    except (ValueError, RecursionError) as error:
        reason = error
    escaped, escapes = repair_escapes(text)
    quoted, bare = quote_bare(escaped)
    repairs = "; ".join(filter(None, (odd, *_counted(escapes, bare))))
    try:
        value, end = _DECODER.raw_decode(quoted, _start(quoted))
    except (ValueError, RecursionError):
        return _salvaged(escaped, reason)
    if _ARRAY.search(quoted, end):
        return _salvaged(escaped, reason)  # several exports in one file
    rest = len(quoted[end:].strip(" \t\r\n\x00"))
    after = f"{rest:,} characters after its end" if rest else None
    return Repaired(value, "; ".join(filter(None, (repairs, after))) or str(reason))


def _start(text: str) -> int:
    return len(text) - len(text.lstrip("\ufeff \t\r\n"))


def _counted(escapes: int, bare: int) -> Iterator[str]:
    if escapes:
        yield f"{escapes:,} escapes that JSON does not have"
    if bare:
        yield f"{bare:,} values without quotes"


def repair_escapes(text: str) -> tuple[str, int]:
    r"""``\x0B`` as ``\u000B``, a backslash before anything else as itself; and how many."""
    count = 0

    def repair(match: re.Match[str]) -> str:
        nonlocal count
        if match[1]:
            return match[0]
        count += 1
        return f"\\u00{match[2]}" if match[2] else r"\\"

    return _ESCAPE.sub(repair, text), count


def quote_bare(text: str) -> tuple[str, int]:
    """The text with quotes around values that lack them and are not JSON; and how many."""
    count = 0

    def quote(match: re.Match[str]) -> str:
        nonlocal count
        if not match[3]:
            return match[0]
        count += 1
        return f"{match[1]}{match[2]}{json.dumps(match[3].strip(), ensure_ascii=False)}"

    return _BARE.sub(quote, text), count


def _salvaged(text: str, reason: Exception) -> Repaired:
    """Each list of messages, read record by record; in the form of a full export."""
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
    return Repaired(value, None, f"{whole}, {lost:,} could not" if lost else whole)


def _head(text: str) -> dict[str, Any]:
    """Name and type of a chat, which precede its messages."""
    return {key: _DECODER.decode(value) for key, value in _HEAD.findall(text[-2000:])}


def _records(text: str, at: int, end: int) -> tuple[list[Any], int]:
    """The records of the list that begins at ``at``, and how many are damaged."""
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
