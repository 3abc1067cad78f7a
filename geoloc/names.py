"""Names of files and folders: made from what people call their photos, and told as text."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from itertools import repeat
from pathlib import PurePath

_LONGEST = 100
_MOST_BYTES = 200  # of the 255 that file systems take: 55 are left for what is added to a name

_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what makes a spreadsheet take text for a formula

_SURROGATE = re.compile("[\ud800-\udfff]")
_ESCAPE = re.compile(r"\\u(005c|d[89a-f][0-9a-f]{2})")


def safe_name(name: str, suffix: str = "") -> str:
    """A name that any file system takes: no separators, no leading dots, no control characters.

    Cut where it is too long, by characters and by bytes, before ``suffix`` is added.
    """
    kept = re.sub(r"[^\w .,()+@=-]", "_", name).strip(" .")[:_LONGEST]
    return (kept.encode()[:_MOST_BYTES].decode(errors="ignore") or "photo") + suffix


def free_name(name: str, taken: Callable[[str], bool], numbered: str = "{}-{}") -> str:
    """The name, with -2, -3, … where it is ``taken`` already."""
    candidate, count = name, 1
    while taken(candidate):
        count += 1
        candidate = numbered.format(name, count)
    return candidate


def alike(name: str) -> str:
    """The same for names that some file system takes for one: capitals, composed letters."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", name).casefold())


def unique_names(names: Iterable[str], suffixes: Iterable[str] | None = None) -> Iterator[str]:
    """Safe names, numbered where one is taken already; see `alike`.

    ``suffixes``: what is added to each.
    """
    taken: set[str] = set()
    for name in map(safe_name, names, repeat("") if suffixes is None else suffixes):
        free = free_name(name, lambda name: alike(name) in taken)
        taken.add(alike(free))
        yield free


def writable(text: str) -> str:
    """Text that any file, database and page takes: half characters as ``\\udcff``.

    JSON may hold such halves (lone surrogates), and names of files whose bytes are not UTF-8.
    """
    return _SURROGATE.sub(lambda half: f"\\u{ord(half[0]):04x}", text)


def cell_text(text: str) -> str:
    """Text for a cell of a CSV file: an apostrophe in front keeps it from being a formula.

    Source: OWASP, CSV injection.
    """
    told = writable(text)
    return f"'{told}" if told.startswith(_FORMULA) else told


def path_text(path: str | PurePath) -> str:
    """A path as writable text: two paths never have the same, and `text_path` undoes it."""
    return writable(_ESCAPE.sub(r"\\u005cu\1", str(path)))


def text_path(text: str) -> str:
    """The path that `path_text` wrote."""
    return _ESCAPE.sub(lambda escape: chr(int(escape[1], 16)), text)
