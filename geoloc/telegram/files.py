"""What an export names, found below its folder and nowhere else."""

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
_SHOWN = 200  # characters of a name that a line quotes


class Files:
    """The files of an export; ``folder`` is resolved."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._listed: dict[Path, dict[str, list[str]]] = {}

    def find(self, named: str, size: int | None = None) -> Path:
        """The file that is named, links followed; ``size``: its bytes, as the export says.

        A name may differ in Unicode's normal form and in capitals, as after a copy to another
        file system, where one file alone is meant; a copy called ``x (1).jpg`` is taken where it
        alone has the size. Raises UsageError where there is none, or it lies elsewhere.
        """
        if not named.strip() or is_absent(named):
            raise UsageError(why_absent(named))
        relative = _relative(named)
        if relative is None:
            raise _outside(named)
        try:
            path = (self._folder / self._as_written(relative, size)).resolve()
            there = path.is_relative_to(self._folder) and path.is_file()
        except (OSError, RuntimeError, ValueError):  # too long, in a circle, half characters
            raise _missing(named) from None
        if not path.is_relative_to(self._folder):
            raise _outside(named)
        if not there:
            raise _missing(named)
        return path

    def maybe(self, named: object) -> Path | None:
        """The file that is named, or None where that is no name or names none."""
        try:
            return self.find(named) if isinstance(named, str) else None
        except UsageError:
            return None

    def _as_written(self, relative: PurePosixPath, size: int | None) -> Path:
        """The path as the file system has it; as it is named where there is no such file."""
        if os.path.lexists(self._folder / relative) or ".." in relative.parts:
            return Path(relative)
        here = Path()
        for part in relative.parts:
            found = part if os.path.lexists(self._folder / here / part) else self._alike(here, part)
            if found is None and size is not None and part == relative.parts[-1]:
                found = self._copy(here, part, size)
            if found is None:
                return Path(relative)
            here /= found
        return here

    def _alike(self, here: Path, part: str) -> str | None:
        """The one name of a folder that differs in form or capitals only."""
        names = self._names(here).get(_key(part), [])
        same = [name for name in names if _composed(name) == _composed(part)]
        return next((few[0] for few in (same, names) if len(few) == 1), None)

    def _copy(self, here: Path, part: str, size: int) -> str | None:
        stem, dot, suffix = part.rpartition(".")
        numbered = re.compile(rf"{re.escape(_key(stem))} ?\(\d+\){re.escape(_key(dot + suffix))}")
        listed = self._names(here).items()
        copies = [name for key, names in listed if numbered.fullmatch(key) for name in names]
        same = [name for name in copies if (self._folder / here / name).stat().st_size == size]
        return same[0] if len(same) == 1 else None

    def _names(self, here: Path) -> dict[str, list[str]]:
        if here not in self._listed:
            found: defaultdict[str, list[str]] = defaultdict(list)
            for name in os.listdir(self._folder / here):  # noqa: PTH208  names alone are wanted
                found[_key(name)].append(name)
            self._listed[here] = found
        return self._listed[here]


def is_absent(named: str) -> bool:
    """Whether a value is the exporter's sentence on a file that it left out."""
    return (named[:1], named[-1:]) == ("(", ")") or bool(_ABSENT.search(named))


def why_absent(named: str) -> str:
    """What to do about a file that the exporter left out, by its sentence."""
    told = named.casefold()
    return next((reason for words, reason in _REASONS.items() if words in told), _NOT_INCLUDED)


def _relative(named: str) -> PurePosixPath | None:
    if "\x00" in named:
        return None
    relative = PurePosixPath(named.replace("\\", "/"))
    outside = relative.is_absolute() or not relative.parts or ":" in relative.parts[0]
    return None if outside else relative


def _outside(named: str) -> UsageError:
    return UsageError(
        f"{named[:_SHOWN]!r} leads out of the export's folder or is no path: it is not opened"
    )


def _missing(named: str) -> UsageError:
    return UsageError(f"{named[:_SHOWN]!r} is not there: copy the whole export folder")


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _key(name: str) -> str:
    return _composed(_composed(name).casefold())
