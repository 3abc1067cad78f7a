"""Writes TIFFs of any layout byte by byte, as libraries write only the usual ones."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

SHORT, LONG, ASCII, BYTE, UNDEFINED = 3, 4, 2, 1, 7
_LAYOUT = {BYTE: "B", ASCII: "s", SHORT: "H", LONG: "I", UNDEFINED: "s"}

Value = int | bytes | Sequence[int]
Tags = Mapping[int, "Value | Directory"]


class Directory:
    """Tags, and what the strips of this directory hold; ``below``: directories of SubIFDs."""

    def __init__(
        self,
        tags: Mapping[int, Value],
        strip: bytes = b"",
        below: Sequence[Directory] = (),
        jpeg: bytes = b"",
    ) -> None:
        self.tags, self.strip, self.below, self.jpeg = dict(tags), strip, below, jpeg


def tiff(*pages: Directory, order: str = "<", magic: bytes | None = None) -> bytes:
    """A file of these pages; numbers of 65,536 and more are LONG, others SHORT."""
    out = bytearray((magic or (b"II*\0" if order == "<" else b"MM\0*")) + bytes(4))
    at = 4
    for page in pages:
        struct.pack_into(order + "I", out, at, _add(out, page, order))
        at = len(out) - 4  # each directory ends with the offset of the next one
    return bytes(out)


def _add(out: bytearray, page: Directory, order: str) -> int:
    """Append what a directory points to, then itself at the very end; its offset."""
    tags = dict(page.tags)
    if page.strip:
        tags |= {273: len(out), 279: len(page.strip)}
        out += page.strip
    if page.jpeg:
        tags |= {513: len(out), 514: len(page.jpeg)}
        out += page.jpeg
    if page.below:
        tags[330] = [_add(out, below, order) for below in page.below]
    entries = b""
    for tag, value in sorted(tags.items()):
        kind, count, content = _packed(value, order)
        if len(content) > 4:
            out += content
            content = struct.pack(order + "I", len(out) - len(content))
        entries += struct.pack(order + "HHI", tag, kind, count) + content.ljust(4, b"\0")
    here = len(out)
    out += struct.pack(order + "H", len(tags)) + entries + bytes(4)
    return here


def _packed(value: Value, order: str) -> tuple[int, int, bytes]:
    if isinstance(value, bytes):
        return ASCII, len(value), value
    values = [value] if isinstance(value, int) else list(value)
    kind = SHORT if max(values) < 65536 else LONG
    return kind, len(values), struct.pack(f"{order}{len(values)}{_LAYOUT[kind]}", *values)
