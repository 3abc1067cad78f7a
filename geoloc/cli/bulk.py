"""``geoloc bulk``: a folder of photos, videos and chats at once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ..query.options import QueryOptions, Use
from .console import JSON, note, print_json, stages
from .cube import CUBE
from .options import with_options
from .query import OUT

if TYPE_CHECKING:
    from ..bulk import BulkReport

_SHOWN = 5  # failures on the terminal; all of them are in failures.csv


@with_options(Use.BULK)
def bulk(
    cube: str = CUBE,
    folder: Path = typer.Argument(
        ..., help="A folder of photos and videos, or an export of Telegram Desktop (JSON)."
    ),
    out: Path = OUT,
    *,
    options: QueryOptions,
    as_json: bool = JSON,
) -> None:
    """Answer every photo and video below a folder; run it again to resume or to add new files.

    An area file that names several models is answered by all of them in tandem, unless --model
    names one.

    Exit code 0 if every good picture is answered; bad files are listed in failures.csv. Exit
    code 1 if an answer is missing; the others are kept. Only you can read the answers:
    GEOLOC_ANSWERS_MODE=group opens them to the group, =umask leaves it to the system.
    """
    from ..bulk import run_bulk

    with stages() as stage:
        report = run_bulk(cube, folder, out, options=options, progress=stage)
    if as_json:
        print_json(report.to_json())
    else:
        _show(report)
    report.raise_if_unanswered()


def _show(report: BulkReport) -> None:
    note(
        f"{report.files} files, {report.pictures} pictures ({report.duplicates} duplicates "
        f"linked), {report.clusters} clusters proposed; {report.answered} answered now, "
        f"{report.kept} before"
    )
    for name, reason in list(report.failures.items())[:_SHOWN]:
        note(f"  failed: {name}: {reason}")
    if report.failures:
        note(f"{len(report.failures)} failures in {report.out / 'failures.csv'}")
    for remark in report.notes:
        note(f"  {remark}")
    if report.kept and not report.answered:
        note("nothing new: everything that can be answered was answered before")
    note(f"open {report.index} in a browser")
