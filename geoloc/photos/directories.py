"""Image file directories of TIFF and of RAW formats based on it (TIFF 6.0)."""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress

BYTE_ORDERS: Mapping[bytes, str] = {
    b"II*\x00": "<", b"MM\x00*": ">",
    b"IIRO": "<", b"IIRS": "<", b"MMOR": ">",  # Olympus
    b"IIU\x00": "<",  # Panasonic
}  # fmt: skip
"""By the first four bytes: classic TIFF, and RAW formats that change only its magic number."""

_FORMATS = {1: "B", 3: "H", 4: "I", 6: "b", 7: "B", 8: "h", 9: "i", 13: "I"}
_ASCII = 2
_SUB_IFDS, _EXIF = 330, 34665
_MOST_DIRECTORIES, _MOST_ENTRIES, _MOST_VALUES = 64, 1000, 100_000

Directory = Mapping[int, tuple[int, ...] | bytes]
"""Integers or text (bytes) by tag, without damaged values and other types."""


def directories(data: bytes) -> Iterator[Directory]:
    """All directories: the main chain's, then those below them (SubIFDs, EXIF).

    Unreadable parts are skipped, so the first bytes of a file yield the directories in them.
    """
    order = BYTE_ORDERS.get(data[:4])
    if order is None or len(data) < 8:
        return
    waiting, seen = deque([struct.unpack_from(order + "I", data, 4)[0]]), set[int]()
    while waiting and len(seen) < _MOST_DIRECTORIES:
        at = waiting.popleft()
        if at in seen or not 8 <= at <= len(data) - 2:
            continue
        seen.add(at)
        directory, after = _directory(data, at, order)
        yield directory
        waiting.append(after)
        for tag in (_SUB_IFDS, _EXIF):
            waiting.extend(directory.get(tag, ()))


def number(directory: Directory, tag: int, otherwise: int = 0) -> int:
    """The first whole number of a tag."""
    return next(iter(directory.get(tag, ())), otherwise)


def _directory(data: bytes, at: int, order: str) -> tuple[Directory, int]:
    """The directory at an offset, and the offset of the next one (0: none)."""
    count = min(struct.unpack_from(order + "H", data, at)[0], _MOST_ENTRIES)
    values: dict[int, tuple[int, ...] | bytes] = {}
    for entry in range(at + 2, min(at + 2 + 12 * count, len(data) - 11), 12):
        tag, kind, length = struct.unpack_from(order + "HHI", data, entry)
        with suppress(KeyError, struct.error):
            values[tag] = _values(data, entry + 8, order, kind, min(length, _MOST_VALUES))
    end = at + 2 + 12 * count
    return values, struct.unpack_from(order + "I", data, end)[0] if end + 4 <= len(data) else 0


def _values(data: bytes, at: int, order: str, kind: int, length: int) -> tuple[int, ...] | bytes:
    """The values of an entry whose field of four bytes is at ``at``."""
    layout = f"{length}s" if kind == _ASCII else f"{length}{_FORMATS[kind]}"
    if struct.calcsize(order + layout) > 4:
        at = struct.unpack_from(order + "I", data, at)[0]
    values = struct.unpack_from(order + layout, data, at)
    return values[0].rstrip(b"\x00") if kind == _ASCII else values
