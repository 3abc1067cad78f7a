"""``geoloc zoom``: from a place of an answer down to the cells around it."""

from __future__ import annotations

from pathlib import Path

import typer

from ..executors import check_kind
from .console import JSON, stages
from .options import option
from .query import show_answers

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
    as_json: bool = JSON,
) -> None:
    """Build the cube around a place of an answer, and ask the same photo there.

    The neighbourhood is built once and kept; the new report links back to the answer. Of a folder
    of answers, as of 'geoloc bulk', each answer is asked again around its own place of that rank.
    """
    from ..bulk.zoom import zoom_answers
    from ..query import ZoomOptions

    options = ZoomOptions(
        km=km, region=region, step=step, cube=cube, cache=cache, media=media, out=out,
        sensitive=sensitive, fetch_imagery=fetch_imagery, cluster=cluster,
    )  # fmt: skip
    with stages() as stage:
        done = zoom_answers(answer, rank, options, photo, stage)
    if done.results or len(done.failures) > 1:
        told = {name: str(error) for name, error in done.failures.items()}
        show_answers(done.results, done.out or answer, as_json, told)
    done.raise_if_failed()
