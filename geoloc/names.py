"""Names of files and folders made from what people call their photos."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

_LONGEST = 100


def safe_name(name: str) -> str:
    """A name that any file system takes: no separators, no leading dots, no control characters."""
    kept = re.sub(r"[^\w .,()+@=-]", "_", name).strip(" .")
    return kept[:_LONGEST] or "photo"


def free_name(name: str, taken: Callable[[str], bool], numbered: str = "{}-{}") -> str:
    """The name, with -2, -3, … where it is ``taken`` already."""
    candidate, count = name, 1
    while taken(candidate):
        count += 1
        candidate = numbered.format(name, count)
    return candidate


def unique_names(names: Iterable[str]) -> Iterator[str]:
    """Safe names, numbered where one is taken already, whatever its capitals."""
    taken: set[str] = set()
    for name in map(safe_name, names):
        free = free_name(name, lambda name: name.casefold() in taken)
        taken.add(free.casefold())
        yield free
