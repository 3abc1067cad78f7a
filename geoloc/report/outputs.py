"""The files of an answer by their SHA-256: whether all of them are those that were written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..files.whole import file_sha256

RECORD = "query.json"
"""Written last: where it is, the answer is whole, and all files are of the same answer."""


def output_digests(folder: Path) -> dict[str, str]:
    """SHA-256 (hex) of every file of an answer by its name, but of the record itself."""
    names = sorted(path.name for path in folder.iterdir() if path.is_file())
    return {name: file_sha256(folder / name) for name in names if name != RECORD}


def faults_of_outputs(folder: Path, record: Mapping[str, Any]) -> Iterator[str]:
    """What of a recorded answer's files is not as it was written, one line each.

    ``folder``: where they are. Other files there, as a GIS leaves them, are no fault; neither is
    a record of an older geoloc, which names no files.
    """
    for name, digest in (record.get("outputs") or {}).items():
        if why := _fault(folder / name, digest):
            yield f"{name} {why}"


def stands_alone(folder: Path, record: Mapping[str, Any]) -> bool:
    """Whether a record was taken away from its answer: none of the files it names is beside it."""
    names = record.get("outputs") or {}
    return bool(names) and not any((folder / name).exists() for name in names)


def _fault(path: Path, digest: str) -> str:
    try:
        if not path.is_file():  # a pipe would be waited for
            return "is no file" if path.exists() else "is missing"
        changed = file_sha256(path) != digest
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return "is not the file that was written with this record" if changed else ""
