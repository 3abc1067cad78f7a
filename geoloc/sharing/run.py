"""Answers copied for others, all of it or nothing."""

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
from ..errors import GeolocError, OutputError
from ..files import file_sha256
from ..names import path_text
from ..query.record import read_record
from ..report.outputs import RECORD, output_digests
from ..report.write import output_errors, write_files
from .answers import answer_folders, read_answer
from .options import Options
from .results import Copy, copy_of
from .scrub import neutral_names
from .searching import findings, secrets_of
from .statement import Statement, page

FORMAT = "geoloc-share/1"
PAGE, LIST = "SHARED.md", "shared.json"
FILES = (
    RECORD, "heatmap.tif", "heatmap.qml", "heatmap_colors.tif", "heatmap.png",
    "candidates.geojson", "candidates.csv", "candidates.kml", "candidates.kmz", "report.html",
)  # fmt: skip
"""Of every copy of an answer, and no other."""


ASKED = Options()
"""Nothing is kept that is not named."""


@dataclass(frozen=True)
class Shared:
    """What was written: ``answers``, one mapping each: folder, title, original_sha256, outputs."""

    out: Path
    answers: Sequence[Mapping[str, Any]]
    statement: Statement

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "format": FORMAT,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "geoloc": __version__,
            **self.statement.to_json(),
            "answers": list(self.answers),
        }


def share(answers: Iterable[str | Path], out: str | Path, options: Options = ASKED) -> Shared:
    """Write copies of answers to ``out``: ``answer-1/`` and so on, SHARED.md, shared.json.

    ``answers``: folders of answers, of bulk runs (all of their answers) and of queries. Works
    without network, cube, model or the original files. ``out`` must not be there yet, or be
    empty; it comes whole or not at all. Raises UsageError for what is no answer, is damaged or
    a copy already; OutputError where ``out`` cannot be written; GeolocError where the copy turns
    out to tell what it should not: then nothing is left of it.
    """
    out, folders = Path(out), answer_folders(answers)
    _require_free(out)
    records = [read_record(folder / RECORD) for folder in folders]
    names = neutral_names(records, "names" in options.keep)
    statement = Statement.of(records, options)
    with _made(out) as part:
        told = [
            _write(folder, part / f"answer-{count}", names, options)
            for count, folder in enumerate(folders, start=1)
        ]
        shared = Shared(out, told, statement)
        (part / PAGE).write_text(page(statement, told), encoding="utf-8")
        _write_json(shared.to_json(), part / LIST)
    return shared


def _require_free(out: Path) -> None:
    if path_text(out) != str(out):
        raise OutputError(f"cannot write to {path_text(out)}: its name is no text: choose another")
    with output_errors(out):
        if out.is_symlink() or (out.exists() and (not out.is_dir() or any(out.iterdir()))):
            raise OutputError(f"{out} is there already: choose a new folder for --out")


@contextmanager
def _made(out: Path) -> Iterator[Path]:
    """A folder that nobody else may read, which becomes ``out`` where all went well."""
    with output_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        name = f".{out.name[:100]}."
        closed = Path(tempfile.mkdtemp(prefix=name, suffix=".geoloc-part", dir=out.parent))
    try:
        with output_errors(out):
            (closed / "copies").mkdir()  # as the umask says: it is to be given away
            yield closed / "copies"
            (closed / "copies").replace(out)
    finally:
        shutil.rmtree(closed, ignore_errors=True)


def _write(folder: Path, part: Path, names: Mapping[str, str], options: Options) -> dict[str, Any]:
    """Write one copy and look through it; what the list tells of it."""
    answer = read_answer(folder)
    copy = copy_of(answer, names, options)
    part.mkdir()
    write_files(copy.result, part, copy.views)
    outputs = output_digests(part)
    _write_json({**copy.record, "outputs": outputs}, part / RECORD)
    _require_clean(folder, part, answer.record, copy)
    return {
        "folder": part.name,
        "title": copy.result.title,
        "original_sha256": answer.sha256,
        "outputs": {**outputs, RECORD: file_sha256(part / RECORD)},
    }


def _require_clean(folder: Path, part: Path, original: Mapping[str, Any], copy: Copy) -> None:
    secrets = secrets_of(original, copy.record, str(Path.home()))
    found = sorted(set(findings(part, secrets, FILES)))
    if found:
        raise GeolocError(
            f"nothing was shared: the copy of {folder} would still tell what was to be left out: "
            f"{'; '.join(found[:5])}; name it with --keep if it may be told"
        )


def _write_json(value: Mapping[str, Any], path: Path) -> None:
    text = json.dumps(value, allow_nan=False, ensure_ascii=False, indent=1)
    path.write_text(text + "\n", encoding="utf-8")
