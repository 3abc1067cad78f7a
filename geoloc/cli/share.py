"""``geoloc share``: copies of answers for others."""

from __future__ import annotations

from pathlib import Path

import typer

from .console import JSON, note, print_json


def share(
    answers: list[Path] = typer.Argument(
        ..., metavar="ANSWER…", help="Folders of answers, of bulk runs or of queries."
    ),
    out: Path = typer.Option(
        ...,
        "--out",
        metavar="DIR",
        help="A new or empty folder for the copies.",
    ),
    keep: list[str] = typer.Option(
        [],
        "--keep",
        metavar="WORDS",
        help="What may stay, separated by commas: captions, senders, chat, gps, time, names, "
        "paths (and with them names), truth. All of these are left out unless they are named.",
    ),
    photo: str = typer.Option(
        "blurred",
        "--photo",
        metavar="WORD",
        help="blurred: in the report, hidden until its reader chooses to see it, so whoever has "
        "the file has the photo; omitted: in no file; shown: openly in the report.",
    ),
    rounding: str | None = typer.Option(
        None,
        "--round",
        metavar="SIZE",
        help="Round every coordinate: 0.01 (degrees), 1km or 500m, more than a cell. Close views "
        "of places are left out then.",
    ),
    imagery: bool = typer.Option(
        True, "--imagery/--no-imagery", help="Pictures of the imagery, which may be licensed."
    ),
    as_json: bool = JSON,
) -> None:
    """Write copies of answers for others: SHARED.md in DIR says what was left out.

    Hashes, ranks, distances and the method are kept. A copy cannot be repeated; anyone who has
    the original can prove by its SHA-256 that the copy was made from it.
    """
    from ..sharing import Options, read_keep, read_rounding
    from ..sharing import share as share_answers

    options = Options(read_keep(keep), photo, read_rounding(rounding), imagery)  # type: ignore[arg-type]
    shared = share_answers(answers, out, options)
    if as_json:
        print_json(shared.to_json())
        return
    for line in shared.statement.lines():
        note(line)
    count = len(shared.answers)
    note(
        f"{count} answer{'s' * (count != 1)} in {out}: read {out / 'SHARED.md'} before you send it"
    )
