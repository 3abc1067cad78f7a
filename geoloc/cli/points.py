"""``geoloc points build | merge``: cubes of sample points."""

from __future__ import annotations

from pathlib import Path

import typer

from .console import note, print_json
from .cube import AREA, CLUSTER, FAIL_FAST, JSON, MAX_FAILED, METHOD, carry_out

app = typer.Typer(help="Sample points along roads, and build cubes of them.", no_args_is_help=True)

POINTS = typer.Argument(..., metavar="POINTS.parquet", help="Points of 'geoloc points sample'.")


@app.callback()
def points() -> None:
    """Sample points along roads, and build cubes of them."""


@app.command()
def build(
    points: Path = POINTS,
    area: Path = AREA,
    n: int | None = typer.Option(
        None, "--n", min=1, metavar="N", help="Build the first N points only; default: all."
    ),
    method: str | None = METHOD,
    cluster: str = CLUSTER,
    max_failed: int | None = MAX_FAILED,
    fail_fast: bool = FAIL_FAST,
    as_json: bool = JSON,
) -> None:
    """Encode the imagery around each point into a feature cube, once; an interrupted build goes on.

    Imagery, model and cube are those of the area file, whose extent and step do not count here.
    More points of the same sequence are appended to a cube that is there: what it holds stays.
    """
    from ..jobs.build import build_cube

    most = 0 if fail_fast else max_failed
    carry_out(
        build_cube,
        "build",
        area,
        as_json,
        points=points.absolute(),
        method=method,
        cluster=cluster,
        max_failed=most,
        n=n,
    )


@app.command()
def merge(
    cubes: list[str] = typer.Argument(
        ..., metavar="CUBE CUBE…", help="Cubes of points: area files, folders or URLs."
    ),
    out: str = typer.Option(..., "--out", metavar="CUBE", help="Path or URL of the new cube."),
    as_json: bool = JSON,
) -> None:
    """Make one cube of several whose vectors are of the same model, method and resolution.

    Points that lie where those of an earlier cube do are dropped.
    """
    from ..jobs.merging import merge_cubes
    from ..query import cube_url

    report = merge_cubes([cube_url(cube) for cube in cubes], out)
    if as_json:
        print_json(report.to_json())
    else:
        note(report.summary())
