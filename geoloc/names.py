"""Names of files and folders: made safe from names of photos, and written as text."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from itertools import repeat
from pathlib import PurePath

_LONGEST = 100
_MOST_BYTES = 200  # of the 255 that file systems allow: 55 are left for suffixes

_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # makes a spreadsheet read text as a formula

_SURROGATE = re.compile("[\ud800-\udfff]")
_ESCAPE = re.compile(r"\\u(005c|d[89a-f][0-9a-f]{2})")


def safe_name(name: str, suffix: str = "") -> str:
    """A name valid on any file system: no separators, no leading dots, no control characters.

    Cut to a limit of characters and of bytes before ``suffix`` is added.
    """
    kept = re.sub(r"[^\w .,()+@=-]", "_", name).strip(" .")[:_LONGEST]
    return (kept.encode()[:_MOST_BYTES].decode(errors="ignore") or "photo") + suffix


def free_name(name: str, is_used: Callable[[str], bool], numbered: str = "{}-{}") -> str:
    """The name, or with -2, -3, … the first that is not used."""
    candidate, count = name, 1
    while is_used(candidate):
        count += 1
        candidate = numbered.format(name, count)
    return candidate


def alike(name: str) -> str:
    """The same key for names that some file systems do not distinguish: case, composed letters."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", name).casefold())


def unique_names(names: Iterable[str], suffixes: Iterable[str] | None = None) -> Iterator[str]:
    """Safe names, numbered to be unique; see `alike`.

    ``suffixes``: one for each name.
    """
    used: set[str] = set()
    for name in map(safe_name, names, repeat("") if suffixes is None else suffixes):
        free = free_name(name, lambda name: alike(name) in used)
        used.add(alike(free))
        yield free


def repeated_name(names: Iterable[str]) -> str | None:
    """The first name that stands twice, whatever its capitals; empty names do not count."""
    seen: set[str] = set()
    for name in (name.strip().lower() for name in names):
        if name and name in seen:
            return name
        seen.add(name)
    return None


def writable(text: str) -> str:
    """Text valid in any file, database and page: lone surrogates as ``\\udcff``.

    JSON may contain them, and so do file names whose bytes are not UTF-8.
    """
    return _SURROGATE.sub(lambda half: f"\\u{ord(half[0]):04x}", text)


def cell_text(text: str) -> str:
    """Text for a cell of a CSV file: a leading apostrophe keeps it from being a formula.

    Source: OWASP, CSV injection.
    """
    safe = writable(text)
    return f"'{safe}" if safe.startswith(_FORMULA) else safe


def path_text(path: str | PurePath) -> str:
    """A path as writable text, unique for each path; `text_path` is its inverse."""
    return writable(_ESCAPE.sub(r"\\u005cu\1", str(path)))


def text_path(text: str) -> str:
    """The path that `path_text` wrote."""
    return _ESCAPE.sub(lambda escape: chr(int(escape[1], 16)), text)
