"""``geoloc confirm``: where a photo was taken, once that is known."""

from __future__ import annotations

from pathlib import Path

import typer

from .console import JSON, note, print_json


def confirm(
    record: Path = typer.Argument(..., metavar="query.json", help="The record of an answer."),
    at: str = typer.Option(
        ..., "--at", metavar="LAT,LON", help="The place, in degrees: 50.45,30.52 or 50.45N 30.52E."
    ),
    file: Path | None = typer.Option(
        None, "--file", metavar="JSONL", help="Where to keep it; default: beside the models."
    ),
    cube: str | None = typer.Option(
        None, "--cube", help="Where the same cube is now, if it was moved."
    ),
    media: Path | None = typer.Option(
        None, "--media", metavar="DIR", help="Where the original photos are now, if moved."
    ),
    as_json: bool = JSON,
) -> None:
    """Keep where a photo was really taken, for 'geoloc models adapt' to learn from.

    Kept are the photo's SHA-256 and its feature vector, the place with the vector that the cube has
    there, which cube and model that was, and the day: not the photo, its file name or its metadata.
    Only you can read the file.
    """
    from ..query.confirmed import confirm as keep

    kept = keep(record, at, file=file, cube=cube, media=media)
    for warning in kept.warnings:
        note(f"warning: {warning}")
    place = {"lat": kept.confirmed.lat, "lon": kept.confirmed.lon}
    if as_json:
        inside = kept.confirmed.cell is not None
        told = {"file": str(kept.file), "new": kept.new, "in_cube": inside, **place}
        told |= {"models": kept.models} if kept.models > 1 else {}
        print_json({**told, "warnings": list(kept.warnings)})
    else:
        word = "is now" if kept.new else "was already"
        each = f", for each of {kept.models} models" if kept.models > 1 else ""
        note(f"lat {place['lat']:g}, lon {place['lon']:g} {word} in {kept.file}{each}")
