"""``geoloc query`` and ``geoloc scene``: where may this be?"""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ..errors import GeolocError, UsageError
from .console import known_cluster, note, print_json, print_table, stages

if TYPE_CHECKING:
    from ..candidates import Candidate
    from ..report import QueryResult

CUBE = typer.Argument(..., metavar="CUBE", help="An area file, or the folder or URL of a cube.")
PHOTOS = typer.Argument(..., metavar="PHOTO…", help="Ground photos: files, no URLs.")
OUT = typer.Option(..., "--out", metavar="DIR", help="Folder for the answers.")
TOP = typer.Option(20, "--top", min=1, help="How many candidates.")
WITHIN = typer.Option(
    None, "--within", metavar="POLY.geojson", help="Search only inside this polygon."
)
RADIUS = typer.Option(
    None, "--radius", min=0, help="Least distance between candidates, m; 150 by default."
)
GENERATION = typer.Option(
    None, "--generation", metavar="G", help="Search this generation of the cube, such as g0001."
)
DAY = typer.Option(
    None,
    "--date",
    formats=["%Y-%m-%d"],
    help="Search the newest generation that shows no later day.",
)
CLUSTER = typer.Option(
    "inline",
    "--cluster",
    metavar="WORD",
    callback=known_cluster,
    help="Where the cube is searched: inline (this process), or the address of a Dask scheduler "
    "whose workers are nearer to the cube; also auto (inline), local, cuda.",
)
DIGESTS = typer.Option(
    False,
    "--check-digests",
    help="Also compare the SHA-256 of every block that is read; checksums always are.",
)
FETCH = typer.Option(
    False,
    "--fetch-imagery",
    help="Open the imagery that the cube itself names, wherever it lies; needed where no area file "
    "is named, and the cube is trusted.",
)
SENSITIVE = typer.Option(
    None,
    "--sensitive/--no-sensitive",
    help="Reports hide the photo until their reader chooses to see it; by default as the area "
    "file says (sensitive: true).",
    show_default=False,
)
FUSE = typer.Option(
    False, "--fuse", help="All photos show one place: average them into one answer."
)
WEIGHT = typer.Option(
    [],
    "--weight",
    metavar="NAME=W",
    help="Weight of a scene class, or of the group indoor, natural or manmade.",
)
CROP = typer.Option(
    [],
    "--crop",
    metavar="L,T,R,B",
    help="Ask about this part of each photo: left,top,right,bottom in pixels. "
    "Several crops are several queries.",
)
ROTATE = typer.Option(
    0.0, "--rotate", metavar="DEG", help="Turn the photo, or its crop, clockwise."
)
TRUTH = typer.Option(
    None,
    "--truth",
    metavar="LAT,LON",
    help="Where the photos were really taken: marked in the answers, not used for them.",
)
SHOWN = 5  # candidates on the terminal; all of them are in the files
JSON = typer.Option(False, "--json", help="Print one JSON object on stdout.")


def query(
    cube: str = CUBE,
    photos: list[str] = PHOTOS,
    out: Path = OUT,
    top: int = TOP,
    within: Path | None = WITHIN,
    radius: float | None = RADIUS,
    fuse: bool = FUSE,
    weight: list[str] = WEIGHT,
    crop: list[str] = CROP,
    rotate: float = ROTATE,
    truth: str | None = TRUTH,
    generation: str | None = GENERATION,
    day: datetime | None = DAY,
    cluster: str = CLUSTER,
    check_digests: bool = DIGESTS,
    fetch_imagery: bool = FETCH,
    sensitive: bool | None = SENSITIVE,
    as_json: bool = JSON,
) -> None:
    """Rank the places of a cube by how well they match each photo.

    Answers may be read by you alone: GEOLOC_ANSWERS_MODE=group opens them to the group, =umask
    leaves it to the system.
    """
    from ..query import query_photos

    with stages() as stage:
        answers = query_photos(
            cube,
            photos,
            out,
            top=top,
            within=within,
            radius=radius,
            fuse=fuse,
            weights=_weights(weight),
            crops=[_crop(text) for text in crop],
            rotate=rotate,
            epoch=_epoch(generation, day),
            cluster=cluster,
            truth=truth,
            check_digests=check_digests,
            fetch_imagery=fetch_imagery,
            sensitive=sensitive,
            progress=stage,
        )
    _show(answers.results, out, as_json, answers.failures)
    if answers.failures:
        raise GeolocError(_failed(answers.failures, len(photos)))


def scene(
    cube: str = CUBE,
    name: str = typer.Argument(..., metavar="CLASS", help='A scene class: "soccer stadium".'),
    out: Path = OUT,
    top: int = TOP,
    within: Path | None = WITHIN,
    radius: float | None = RADIUS,
    generation: str | None = GENERATION,
    day: datetime | None = DAY,
    check_digests: bool = DIGESTS,
    fetch_imagery: bool = FETCH,
    as_json: bool = JSON,
) -> None:
    """Find places of one scene class, without a photo."""
    from ..query import query_scene

    with stages() as stage:
        result = query_scene(
            cube,
            name,
            out,
            top=top,
            within=within,
            radius=radius,
            epoch=_epoch(generation, day),
            check_digests=check_digests,
            fetch_imagery=fetch_imagery,
            progress=stage,
        )
    _show([result], out, as_json, {})


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

    Exit code 0 where it does, to the last bit or but for rounding; 1 where it does not.
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


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(query)
    app.command()(scene)
    app.command()(repeat)


def _epoch(generation: str | None, day: datetime | None) -> str | date | None:
    if generation and day:
        raise UsageError(f"--generation {generation} and --date {day:%Y-%m-%d}: give one of them")
    return day.date() if day else generation


def _weights(pairs: list[str]) -> dict[str, float]:
    weights = {}
    for pair in pairs:
        name, _, value = pair.partition("=")
        try:
            weights[name] = float(value)
        except ValueError:
            raise UsageError(f"--weight {pair}: write NAME=NUMBER, such as indoor=0") from None
    return weights


def _crop(text: str) -> tuple[int, int, int, int]:
    try:
        left, top, right, bottom = (int(part) for part in text.split(","))
    except ValueError:
        raise UsageError(
            f"--crop {text}: write left,top,right,bottom in pixels, such as 0,120,800,600"
        ) from None
    return left, top, right, bottom


def _failed(failures: dict[str, str], asked: int) -> str:
    if len(failures) == 1:
        return next(iter(failures.values()))
    return f"{len(failures)} of {asked} photos failed: " + "; ".join(failures.values())


def _show(results: list[QueryResult], out: Path, as_json: bool, failures: dict[str, str]) -> None:
    from ..report.formatting import areas_text, truth_text, unsearched

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
            "distance" if result.photos else "probability": "right",
            "percentile": "right",
            "from above": "left",
        }
        rows = [_row(result, candidate) for candidate in result.candidates[:SHOWN]]
        print_table(f"{result.title} ({result.folder})", columns, rows)
        for words in filter(None, (result.match_words, truth_text(result))):
            note(words)
        if result.areas:
            note(areas_text(result.areas))
        if lacking := unsearched(result):
            note(lacking)
    for remark in dict.fromkeys(remark for result in results for remark in result.notes):
        note(remark)
    if results:
        where = results[0].folder if len(results) == 1 else out
        note(f"answers in {where}: open report.html in a browser, heatmap.tif in QGIS")


def _row(result: QueryResult, candidate: Candidate) -> list[str]:
    from ..report.formatting import degrees, measured, scene_list

    return [
        str(candidate.rank),
        degrees(candidate.lon, candidate.lat),
        measured(result, candidate),
        f"{candidate.percentile:.3f} %",
        scene_list(result.places.get(candidate.rank, ())),
    ]
