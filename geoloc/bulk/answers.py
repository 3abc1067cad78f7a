"""Where the answers lie that a folder holds, be it one answer, a query's or a bulk run's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from ..errors import UsageError
from ..report.outputs import RECORD
from .layout import CLUSTERS, ITEMS, PROGRESS


def answer_folders(named: Iterable[str | Path]) -> list[Path]:
    """The answer folders in the named folders of answers, bulk runs and queries; each once.

    Raises UsageError for one without any answer.
    """
    by_path: dict[Path, Path] = {}
    for name in named:
        path = Path(name)
        folders = list(_folders_of(path.parent if path.name == RECORD else path))
        if not folders:
            raise UsageError(f"{path} has no answer: name a folder with {RECORD}, or one above it")
        for folder in folders:
            by_path.setdefault(folder.resolve(), folder)
    return list(by_path.values())


def run_of(answer: Path) -> Path | None:
    """The folder of the bulk run that an answer's folder belongs to; None where it has none."""
    parts = answer.absolute().parent
    run = parts.parent
    return run if parts.name in (ITEMS, CLUSTERS) and (run / PROGRESS).is_file() else None


def _folders_of(path: Path) -> Iterator[Path]:
    if (path / RECORD).is_file():
        yield path
        return
    for part in (path / ITEMS, path / CLUSTERS, path):
        try:
            inside = sorted(part.iterdir()) if part.is_dir() else []
        except OSError as error:
            raise UsageError(f"{part} cannot be read: {error.strerror}") from None
        yield from (folder for folder in inside if (folder / RECORD).is_file())
