"""The files that an export names, looked up below its folder and nowhere else."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import defaultdict
from pathlib import Path, PurePosixPath

from ..errors import UsageError

_REASONS = {
    "unavailable": "Telegram could not deliver this file when it was exported: export it later",
    "exceeds maximum size": "the export does not include this file, which is too large for its "
    "settings: export again with a larger size limit",
}
_NOT_INCLUDED = "the export does not include this file: export again with photos and videos"
_ABSENT = re.compile(r"\((?:file|photo|video)\b.*\)$", re.IGNORECASE | re.DOTALL)
_SHOWN = 200  # characters of a name that a message quotes


class Files:
    """The files of an export; ``folder`` is resolved."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._listed: dict[Path, dict[str, list[str]]] = {}

    def find(self, named: str, size: int | None = None) -> Path:
        """The named file, with links resolved; ``size``: its bytes, as the export gives them.

        The name may differ in Unicode normal form or case, as after a copy to another file
        system, if it matches exactly one file; a copy called ``x (1).jpg`` matches if it is the
        only one of that size. Raises UsageError for a file that is missing or outside the folder.
        """
        if not named.strip() or is_absent(named):
            raise UsageError(why_absent(named))
        relative = _relative(named)
        if relative is None:
            raise _outside(named)
        try:
            path = (self._folder / self._as_written(relative, size)).resolve()
            is_file = path.is_relative_to(self._folder) and path.is_file()
        except (OSError, RuntimeError, ValueError):  # too long, a loop of links, lone surrogates
            raise _missing(named) from None
        if not path.is_relative_to(self._folder):
            raise _outside(named)
        if not is_file:
            raise _missing(named)
        return path

    def maybe(self, named: object) -> Path | None:
        """The named file, or None where the name is not text or matches no file."""
        try:
            return self.find(named) if isinstance(named, str) else None
        except UsageError:
            return None

    def _as_written(self, relative: PurePosixPath, size: int | None) -> Path:
        """The path as the file system spells it; unchanged if there is no such file."""
        if os.path.lexists(self._folder / relative) or ".." in relative.parts:
            return Path(relative)
        path = Path()
        for part in relative.parts:
            name = part if os.path.lexists(self._folder / path / part) else self._alike(path, part)
            if name is None and size is not None and part == relative.parts[-1]:
                name = self._copy(path, part, size)
            if name is None:
                return Path(relative)
            path /= name
        return path

    def _alike(self, folder: Path, part: str) -> str | None:
        """The only name in a folder that differs in nothing but normal form or case."""
        names = self._names(folder).get(_key(part), [])
        same = [name for name in names if _composed(name) == _composed(part)]
        return next((few[0] for few in (same, names) if len(few) == 1), None)

    def _copy(self, folder: Path, part: str, size: int) -> str | None:
        stem, dot, suffix = part.rpartition(".")
        numbered = re.compile(rf"{re.escape(_key(stem))} ?\(\d+\){re.escape(_key(dot + suffix))}")
        listed = self._names(folder).items()
        copies = [name for key, names in listed if numbered.fullmatch(key) for name in names]
        same = [name for name in copies if (self._folder / folder / name).stat().st_size == size]
        return same[0] if len(same) == 1 else None

    def _names(self, folder: Path) -> dict[str, list[str]]:
        if folder not in self._listed:
            by_key: defaultdict[str, list[str]] = defaultdict(list)
            for name in os.listdir(self._folder / folder):  # noqa: PTH208  only names are needed
                by_key[_key(name)].append(name)
            self._listed[folder] = by_key
        return self._listed[folder]


def is_absent(named: str) -> bool:
    """Whether a value is the exporter's note that it left a file out."""
    return (named[:1], named[-1:]) == ("(", ")") or bool(_ABSENT.search(named))


def why_absent(named: str) -> str:
    """What to do about a file that the exporter left out, by its note."""
    sentence = named.casefold()
    return next((reason for words, reason in _REASONS.items() if words in sentence), _NOT_INCLUDED)


def _relative(named: str) -> PurePosixPath | None:
    if "\x00" in named:
        return None
    relative = PurePosixPath(named.replace("\\", "/"))
    outside = relative.is_absolute() or not relative.parts or ":" in relative.parts[0]
    return None if outside else relative


def _outside(named: str) -> UsageError:
    return UsageError(
        f"{named[:_SHOWN]!r} is outside the export's folder or not a path: it is not opened"
    )


def _missing(named: str) -> UsageError:
    return UsageError(f"{named[:_SHOWN]!r} is missing: copy the whole export folder")


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _key(name: str) -> str:
    return _composed(_composed(name).casefold())
