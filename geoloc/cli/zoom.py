"""``geoloc zoom``: from a place of an answer down to the cells around it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ..errors import GeolocError, UsageError
from ..executors import check_kind
from .console import stages
from .options import option
from .query import show_answers

if TYPE_CHECKING:
    from ..query import ZoomOptions
    from ..query.run import Stages
    from ..report import QueryResult

ANSWER = typer.Argument(
    ..., metavar="ANSWER", help="An answer's folder or query.json, or a folder of answers."
)
OPEN = option("fetch_imagery")
HIDDEN = option("sensitive")


def zoom(
    answer: Path = ANSWER,
    rank: int = typer.Option(..., "--rank", metavar="N", help="Of the candidate."),
    km: float = typer.Option(6.0, "--km", metavar="K", help="Width of the neighbourhood, km."),
    region: bool = typer.Option(
        False, "--region", help="The rank is of a good region of an answer with --regions."
    ),
    photo: str | None = typer.Option(
        None, "--photo", metavar="NAME", help="Of a folder of answers, this photo's alone."
    ),
    step: float | None = typer.Option(
        None, "--step", help="m between cells; default: 10, or what the model serves."
    ),
    out: Path | None = typer.Option(
        None, "--out", metavar="DIR", help="Folder for the answers; default: zoom, beside them."
    ),
    cube: str | None = typer.Option(
        None, "--cube", help="The area file of the answer's cube, or where that cube is now."
    ),
    cache: Path | None = typer.Option(
        None,
        "--cache",
        metavar="DIR",
        help="Where neighbourhoods are kept; default: zoom, beside the cube.",
    ),
    media: Path | None = typer.Option(
        None, "--media", metavar="DIR", help="Where the original files are now, if moved."
    ),
    sensitive: bool | None = HIDDEN,
    fetch_imagery: bool = OPEN,
    cluster: str = typer.Option(
        "auto", help="Where the neighbourhood is built.", callback=check_kind
    ),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object on stdout."),
) -> None:
    """Build the cube around a place of an answer, and ask the same photo there.

    The neighbourhood is built once and kept; the new report links back to the answer. Of a folder
    of answers, as of 'geoloc bulk', each answer is asked again around its own place of that rank.
    """
    from ..query import ZoomOptions

    options = ZoomOptions(
        km=km, region=region, step=step, cube=cube, cache=cache, media=media, out=out,
        sensitive=sensitive, fetch_imagery=fetch_imagery, cluster=cluster,
    )  # fmt: skip
    folders = _answers(answer, photo)
    with stages() as stage:
        results, failures = _zoom_all(folders, rank, options, stage)
    if failures and len(folders) == 1:
        raise next(iter(failures.values()))
    told = {name: str(error) for name, error in failures.items()}
    where = [result.folder for result in results if result.folder]
    show_answers(results, where[0].parent if where else answer, as_json, told)
    if failures:
        raise GeolocError(
            f"{len(failures)} of {len(folders)} answers could not be asked again: "
            + "; ".join(f"{name}: {line}" for name, line in told.items())
        )


def _answers(named: Path, photo: str | None) -> list[Path]:
    """The folders of the answers that are named, of one photo alone where that is given."""
    from ..query.record import read_record
    from ..report.outputs import RECORD
    from ..sharing.answers import answer_folders

    if named.suffix == ".json" and named.name != RECORD:  # a record under another name
        return [named]
    folders = answer_folders([named])
    if photo is None:
        return folders
    found = [
        folder
        for folder in folders
        if photo == folder.name
        or photo in [one["file"] for one in read_record(folder / RECORD)["photos"]]
    ]
    if not found:
        raise UsageError(f"--photo {photo}: {named} has no answer to a photo of that name")
    return found


def _zoom_all(
    folders: list[Path], rank: int, options: ZoomOptions, progress: Stages
) -> tuple[list[QueryResult], dict[str, GeolocError]]:
    """The answers, and the error of each that could not be asked again."""
    from ..query import zoom_answer

    results: list[QueryResult] = []
    failures: dict[str, GeolocError] = {}
    for folder in folders:
        try:
            results.append(zoom_answer(folder, rank, _placed(folder, options), progress))
        except GeolocError as error:
            failures[folder.name] = error
    return results, failures


def _placed(folder: Path, options: ZoomOptions) -> ZoomOptions:
    """Of an answer of a bulk run: beside its folders, the pictures hidden as there."""
    from ..bulk.layout import CLUSTERS, ITEMS, PROGRESS

    run = folder.absolute().parent.parent
    if folder.absolute().parent.name not in (ITEMS, CLUSTERS) or not (run / PROGRESS).is_file():
        return options
    return replace(options, out=options.out or run / "zoom", usually_hidden=True)


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(zoom)
