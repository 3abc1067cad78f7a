"""Answers copied for others, completely or not at all."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .. import __version__
from ..bulk.answers import answer_folders
from ..errors import GeolocError, OutputError
from ..files.whole import file_sha256
from ..names import path_text
from ..query.record import read_record
from ..report.outputs import RECORD, output_digests
from ..report.registry import writers_of
from ..report.write import output_errors, write_files
from .answers import read_answer
from .index import INDEX, index_page, row_of
from .options import Options
from .results import copy_of
from .scrub import neutral_names, own_names
from .searching import findings, secrets_of
from .statement import Statement, page

FORMAT = "geoloc-share/1"
PAGE, LIST = "SHARED.md", "shared.json"

ASKED = Options()
"""By default nothing optional is kept."""


@dataclass(frozen=True)
class Shared:
    """The copies: ``answers``, one mapping each: folder, title, original_sha256, outputs."""

    out: Path
    answers: Sequence[Mapping[str, Any]]
    statement: Statement

    def to_json(self) -> dict[str, Any]:
        """The content of ``shared.json``."""
        return {
            "format": FORMAT,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "geoloc": __version__,
            **self.statement.to_json(),
            "answers": list(self.answers),
        }


def share(answers: Iterable[str | Path], out: str | Path, options: Options = ASKED) -> Shared:
    """Write copies of answers to ``out``: ``answer-1/`` and so on, index.html, SHARED.md,
    shared.json.

    ``answers``: folders of answers, of bulk runs (all of their answers) and of queries. Needs no
    network, cube, model or original files. ``out`` must not exist or be empty; it is written whole
    or not at all. Raises UsageError for a folder without answers, a damaged one, and a copy;
    OutputError if ``out`` cannot be written; GeolocError, leaving nothing behind, if a copy turns
    out to contain what it should not.
    """
    out, folders = Path(out), answer_folders(answers)
    _require_free(out, folders)
    records = [read_record(folder / RECORD) for folder in folders]
    names = neutral_names(records)
    statement = Statement.of(records, options)
    with _made(out) as part:
        copies = [
            _write(folder, part / f"answer-{count}", names, options)
            for count, folder in enumerate(folders, start=1)
        ]
        entries = [entry for entry, _ in copies]
        shared = Shared(out, entries, statement)
        page_of_all = index_page([row for _, row in copies])
        (part / INDEX).write_text(page_of_all, encoding="utf-8")
        (part / PAGE).write_text(page(statement, entries), encoding="utf-8")
        _write_json(shared.to_json(), part / LIST)
    return shared


def _require_free(out: Path, folders: Iterable[Path]) -> None:
    if path_text(out) != str(out):
        raise OutputError(f"cannot write to {path_text(out)}: its name is not text: rename it")
    with output_errors(out):
        if out.is_symlink() or (out.exists() and (not out.is_dir() or any(out.iterdir()))):
            raise OutputError(f"{out} exists already: choose a new folder for --out")
    for folder in folders:
        if out.resolve().is_relative_to(folder.resolve()):
            raise OutputError(f"{out} is inside {folder}: choose a folder outside it")


@contextmanager
def _made(out: Path) -> Iterator[Path]:
    """A folder that nobody else may read, which becomes ``out`` on success."""
    with output_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        name = f".{out.name[:100]}."
        closed = Path(tempfile.mkdtemp(prefix=name, suffix=".geoloc-part", dir=out.parent))
    try:
        with output_errors(out):
            (closed / "copies").mkdir()  # by the umask: it is meant to be given away
            yield closed / "copies"
            (closed / "copies").replace(out)
    finally:
        shutil.rmtree(closed, ignore_errors=True)


def _write(
    folder: Path, part: Path, names: Mapping[str, str], options: Options
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Write one copy and check it; its entry in the list, and its row of the page."""
    answer = read_answer(folder)
    if "names" in options.keep:
        names = own_names(answer.record)
    copy = copy_of(answer, names, options)
    part.mkdir()
    write_files(copy.result, part, copy.views)
    outputs = output_digests(part)
    same = _same_files(answer.record.get("outputs") or {}, outputs)
    original = {**copy.record["original"], "outputs": same}
    record = {**copy.record, "original": original, "outputs": outputs}
    _write_json(record, part / RECORD)
    _require_clean(folder, part, answer.record, record, writers_of(copy.result))
    entry = {
        "folder": part.name,
        "title": copy.result.title,
        "original_sha256": answer.sha256,
        "outputs": {**outputs, RECORD: file_sha256(part / RECORD)},
    }
    return entry, row_of(part.name, copy.result)


def _same_files(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, str]:
    """Digests of the original's files that are identical in the copy.

    The digest of any other file would reveal its content: someone who knows all of it except the
    photo's name, or the cell before rounding, could find that by trial.
    """
    return {name: digest for name, digest in after.items() if before.get(name) == digest}


def _require_clean(
    folder: Path,
    part: Path,
    original: Mapping[str, Any],
    copied: Mapping[str, Any],
    outputs: Iterable[str],
) -> None:
    secrets = secrets_of(original, copied, str(Path.home()))
    leaks = sorted(set(findings(part, secrets, (RECORD, *outputs))))
    if leaks:
        raise GeolocError(
            f"nothing was shared: the copy of {folder} would still reveal what is to be left out: "
            f"{'; '.join(leaks[:5])}; name it with --keep if it may be shared"
        )


def _write_json(value: Mapping[str, Any], path: Path) -> None:
    text = json.dumps(value, allow_nan=False, ensure_ascii=False, indent=1)
    path.write_text(text + "\n", encoding="utf-8")
