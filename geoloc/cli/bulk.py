"""``geoloc bulk``: a folder of photos, videos and chats at once."""

from __future__ import annotations

from pathlib import Path

import typer

from .console import note, print_json, stages
from .query import CUBE, FETCH, JSON, RADIUS, TOP, WITHIN

_SHOWN = 5  # failures on the terminal; all of them are in failures.csv


def bulk(
    cube: str = CUBE,
    folder: Path = typer.Argument(
        ..., help="A folder of photos and videos, or an export of Telegram Desktop (JSON)."
    ),
    out: Path = typer.Option(..., "--out", metavar="DIR", help="Folder for the answers."),
    top: int = TOP,
    within: Path | None = WITHIN,
    radius: float | None = RADIUS,
    fetch_imagery: bool = FETCH,
    sensitive: bool | None = typer.Option(
        None,
        "--sensitive/--no-sensitive",
        help="Pages hide pictures until their reader chooses to see them. Hidden by default; "
        "--no-sensitive, or sensitive: false in the area file, shows them.",
        show_default=False,
    ),
    as_json: bool = JSON,
) -> None:
    """Answer every photo and video below a folder; run it again to go on or to add new files.

    Exit code 0 where every good picture is answered; bad files are listed in failures.csv. Exit
    code 1 where an answer is missing; the others are there. Answers may be read by you alone:
    GEOLOC_ANSWERS_MODE=group opens them to the group, =umask leaves it to the system.
    """
    from ..bulk import run_bulk

    with stages() as stage:
        report = run_bulk(
            cube,
            folder,
            out,
            top=top,
            within=within,
            radius=radius,
            fetch_imagery=fetch_imagery,
            sensitive=sensitive,
            progress=stage,
        )
    if as_json:
        print_json(report.to_json())
    else:
        note(
            f"{report.files} files, {report.pictures} pictures ({report.duplicates} duplicates "
            f"linked), {report.clusters} clusters proposed; {report.answered} answered now, "
            f"{report.kept} before"
        )
        for name, reason in list(report.failures.items())[:_SHOWN]:
            note(f"  failed: {name}: {reason}")
        if report.failures:
            note(f"{len(report.failures)} failures in {out / 'failures.csv'}")
        for remark in report.notes:
            note(f"  {remark}")
        if report.kept and not report.answered:
            note("nothing new: all that can be answered was answered before")
        note(f"open {report.index} in a browser")
    report.raise_if_unanswered()


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(bulk)
