"""``geoloc query`` and ``geoloc scene``: where may this be?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ..errors import GeolocError
from ..query.options import QueryOptions, Use
from .console import JSON, note, print_json, print_table, stages
from .cube import CUBE
from .options import with_options

if TYPE_CHECKING:
    from ..candidates import Candidate
    from ..report import QueryResult
    from ..report.tandem import TandemModel

PHOTOS = typer.Argument(..., metavar="PHOTO…", help="Ground photos: files, not URLs.")
OUT = typer.Option(..., "--out", metavar="DIR", help="Folder for the answers.")
SHOWN = 5  # candidates on the terminal; all of them are in the files


@with_options(Use.QUERY)
def query(
    cube: str = CUBE,
    photos: list[str] = PHOTOS,
    out: Path = OUT,
    *,
    options: QueryOptions,
    as_json: bool = JSON,
) -> None:
    """Rank the places of a cube by how well they match each photo.

    An area file that names several models is answered by all of them in tandem, unless --model
    names one: scores are calibrated by its bank of unrelated photos ("bank: photos/"), or without
    one by the places.

    Only you can read the answers: GEOLOC_ANSWERS_MODE=group opens them to the group, =umask
    leaves it to the system.
    """
    from ..query import query_photos

    with stages() as stage:
        answers = query_photos(cube, photos, out, options=options, progress=stage)
    show_answers(answers.results, out, as_json, answers.failures)
    if answers.failures:
        raise GeolocError(_failed(answers.failures, len(photos)))


@with_options(Use.SCENE)
def scene(
    cube: str = CUBE,
    name: str = typer.Argument(
        ...,
        metavar="WORDS",
        help='A scene class, such as "soccer stadium", or other words if the model accepts them.',
    ),
    out: Path = OUT,
    *,
    options: QueryOptions,
    as_json: bool = JSON,
) -> None:
    """Find places of a scene class, or that words describe, without a photo.

    An area file that names several models is answered by those that know the scene, each by its
    own name, unless --model names one; the answer says which do not know it.
    """
    from ..query import search_scene

    with stages() as stage:
        result = search_scene(cube, name, out, options=options, progress=stage)
    show_answers([result], out, as_json, {})


def repeat(
    record: Path = typer.Argument(..., metavar="query.json", help="The record of an answer."),
    cube: str | None = typer.Option(
        None, "--cube", help="Where the same cube is now, if it was moved or is not on this disk."
    ),
    media: Path | None = typer.Option(
        None, "--media", metavar="DIR", help="Where the original files are now, if moved."
    ),
    as_json: bool = JSON,
) -> None:
    """Run a recorded query again and report whether it gives the same answer.

    Exit code 0 if it does, to the last bit or up to rounding; 1 if it does not.
    """
    from ..query.repeat import repeat_query

    repetition = repeat_query(record, cube=cube, media=media)
    if as_json:
        print_json(repetition.to_json())
    else:
        for line in repetition.lines():
            note(line)
    if not repetition.same:
        raise typer.Exit(1)


def _failed(failures: dict[str, str], asked: int) -> str:
    if len(failures) == 1:
        return next(iter(failures.values()))
    return f"{len(failures)} of {asked} photos failed: " + "; ".join(failures.values())


def show_answers(
    results: list[QueryResult], out: Path, as_json: bool, failures: dict[str, str]
) -> None:
    """Report answers: tables for people, or one JSON object."""
    from ..report.calibrated import calibrated_words
    from ..report.formatting import areas_text, regions_text, truth_text, unsearched

    if as_json:
        print_json(
            {
                "out": str(out),
                "results": [result.to_json() for result in results],
                "failures": failures,
            }
        )
        return
    for result in results:
        columns = {
            "rank": "right",
            "lat, lon": "left",
            result.measure: "right",
            "percentile": "right",
            **dict.fromkeys([part.name for part in _models(result)], "right"),
            "from above": "left",
        }
        rows = [_row(result, candidate) for candidate in result.candidates[:SHOWN]]
        print_table(f"{result.title} ({result.folder})", columns, rows)
        remarks = (result.match_words, truth_text(result), calibrated_words(result.calibrated))
        for words in filter(None, remarks):
            note(words)
        if result.regions is not None:
            note(regions_text(result.regions, result.recall))
        if result.areas and not result.of_points:
            note(areas_text(result.areas))
        if lacking := unsearched(result):
            note(lacking)
    for remark in dict.fromkeys(remark for result in results for remark in _remarks(result)):
        note(remark)
    if results:
        where = results[0].folder if len(results) == 1 else out
        maps = "regions.tif" if results[0].of_points else "heatmap.tif"
        note(f"answers in {where}: open report.html in a browser, {maps} in QGIS")


def _remarks(result: QueryResult) -> tuple[str, ...]:
    """What holds of many answers alike, and is said once."""
    found = len(result.candidates)
    if found <= SHOWN:
        return result.notes
    return (*result.notes, f"the first {SHOWN} of {found:,} candidates; candidates.csv has all")


def _models(result: QueryResult) -> tuple[TandemModel, ...]:
    """Several models, each with a column of its own percentiles; none of one alone."""
    return () if result.tandem is None else result.tandem.models


def _own_percentile(part: TandemModel, rank: int) -> str:
    return f"{part.said[rank].percentile:.3f} %" if rank in part.said else "not known"


def _row(result: QueryResult, candidate: Candidate) -> list[str]:
    from ..report.formatting import degrees, measured, scene_list

    return [
        str(candidate.rank),
        degrees(candidate.lon, candidate.lat),
        measured(result, candidate),
        f"{candidate.percentile:.3f} %",
        *(_own_percentile(part, candidate.rank) for part in _models(result)),
        scene_list(result.places.get(candidate.rank, ())),
    ]
