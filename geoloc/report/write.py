"""All files of one answer, in one folder."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import OutputError
from ..files.modes import make_closed_folder, make_folder, set_file_mode
from ..names import path_text
from .evidence import write_evidence
from .holding import hold_folder
from .outputs import RECORD, output_digests
from .placing import PART, place
from .registry import writers_of
from .views import Views, render_views

if TYPE_CHECKING:
    from ..imagery.source import Source
    from ..jobs.overview import Overview
    from .registry import Writer
    from .result import QueryResult

NOTHING_MORE: Mapping[str, Writer] = {}


def write_report(
    result: QueryResult,
    out: Path,
    source: Source | None = None,
    overview: Overview | None = None,
    *,
    sharp: bool = True,
    more: Mapping[str, Writer] = NOTHING_MORE,
) -> Path:
    """Write all files of an answer (`registry.writers_of`), ``query.json`` last.

    ``source`` gives the map its imagery and the candidates their chips; ``overview`` is the
    cube's, which saves reading the area again. ``sharp``: the map can be zoomed, for two to
    three megabytes a page; ``more``: further files of the answer. The record names the SHA-256
    of every one. Who else writes an answer there is waited for. Returns the path of report.html.
    Raises OutputError where ``out`` cannot be written; what was there then stays.
    """
    check_writable(out)
    part = out / PART
    with hold_folder(out), output_errors(out):
        try:
            _empty(part)
            views = render_views(result, source, overview, sharp=sharp)
            write_files(result, part, views)
            for name, write in more.items():
                write(result, part / name, views)
            write_evidence(result, part / RECORD, output_digests(part))
        except BaseException:
            with suppress(OSError):
                _empty(part)
            raise
        _publish(part, out)
    return out / "report.html"


def write_files(result: QueryResult, out: Path, views: Views) -> None:
    """All files of an answer but its record."""
    for name, write in writers_of(result).items():
        write(result, out / name, views)


def _empty(part: Path) -> None:
    """Make the folder, or take away what an answer that was killed left in it."""
    make_closed_folder(part)
    for entry in part.iterdir():
        entry.unlink()


def _publish(part: Path, out: Path) -> None:
    """Let the new answer take the old one's place: in one step, or where the file system has no
    such step file by file, all of them even where the user interrupts that."""
    try:
        for entry in part.iterdir():  # before they can be in a folder that others may read
            set_file_mode(entry)
        if not place(part, out):
            _move(part, out)
    except (KeyboardInterrupt, SystemExit):
        _move(part, out)
        raise


def _move(part: Path, out: Path) -> None:
    """The record of what was there goes first, the new one comes last; goes on if begun."""
    if not part.exists():
        return
    if (part / RECORD).exists():
        (out / RECORD).unlink(missing_ok=True)
    for entry in part.iterdir():
        set_file_mode(entry)
    for entry in sorted(part.iterdir(), key=lambda entry: entry.name == RECORD):
        entry.replace(out / entry.name)
    part.rmdir()


def check_writable(out: Path) -> None:
    """Make the folder and try it, before long work; raises OutputError with the reason."""
    if (shown := path_text(out)) != str(out):
        raise OutputError(f"cannot write to {shown}: its name is not text: choose another --out")
    with output_errors(out):
        make_folder(out)
        tempfile.TemporaryFile(dir=out).close()  # without a name: nothing stays if killed here


@contextmanager
def output_errors(out: Path) -> Iterator[None]:
    """What the system refuses at ``out`` becomes an OutputError with the fix."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(f"cannot write to {out}: {reason}; choose another --out") from error
