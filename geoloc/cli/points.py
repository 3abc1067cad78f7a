"""``geoloc points sample | build | merge``: sample points along roads, and cubes of them."""

from __future__ import annotations

from pathlib import Path

import typer

from ..errors import UsageError
from .console import JSON, note, print_json, stages
from .cube import AREA, CLUSTER, FAIL_FAST, MAX_FAILED, METHOD, carry_out

app = typer.Typer(help="Sample points along roads, and build cubes of them.", no_args_is_help=True)

POINTS = typer.Argument(..., metavar="POINTS.parquet", help="Points of 'geoloc points sample'.")
ROADS = typer.Argument(
    None,
    metavar="ROADS…",
    help="OpenStreetMap extracts (.osm.pbf), or networks in GeoPackage, GraphML or GeoParquet.",
)


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
    """Encode the imagery around each point into a feature cube, once; an interrupted build resumes.

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


@app.command()
def sample(
    roads: list[Path] = ROADS,
    n: int | None = typer.Option(
        None, "--n", metavar="N", help="How many points; of --from, by default all."
    ),
    out: Path = typer.Option(..., "--out", metavar="FILE", help="Where: points.parquet."),
    within: str | None = typer.Option(
        None,
        "--within",
        metavar="POLY",
        help="A file with polygons (GeoJSON, GeoPackage …), or west,south,east,north in degrees.",
    ),
    network: str = typer.Option("all", "--network", help="all, drive, walk or rail."),
    seed: int = typer.Option(0, "--seed", help="Random seed."),
    uniform: bool = typer.Option(
        False, "--uniform", help="By area in the polygon, not along roads: for contrast."
    ),
    places: Path | None = typer.Option(
        None, "--from", metavar="CSV", help="Points of your own: a CSV with lat and lon."
    ),
    as_json: bool = JSON,
) -> None:
    """Draw points along roads, uniform by length; or by area, or of your own.

    Any first part of them is itself such a sample, and with the same seed, network, polygon and
    sources a larger N begins with the same points: build a cube of the first 10,000, go on later.
    """
    from ..points.sample import sample_area, sample_places, sample_roads

    _require_one_source(roads or [], uniform, places)
    if n is None and places is None:
        raise UsageError("say how many points: --n 10000")
    with stages() as stage:
        if places is not None:
            done = sample_places(places, out, n, within=within, seed=seed, stages=stage)
        elif uniform:
            if within is None:
                raise UsageError("--uniform draws in a polygon: give it with --within")
            done = sample_area(within, out, n or 0, seed=seed, stages=stage)
        else:
            done = sample_roads(
                roads or [], out, n or 0, within=within, network=network, seed=seed, stages=stage
            )
    if as_json:
        print_json(done.to_json())
    else:
        note(done.summary())


def _require_one_source(roads: list[Path], uniform: bool, places: Path | None) -> None:
    given = [
        name
        for name, is_given in (("ROADS", roads), ("--uniform", uniform), ("--from", places))
        if is_given
    ]
    if len(given) != 1:
        named = " and ".join(given) or "none of them"
        raise UsageError(f"give one of ROADS, --uniform and --from; found {named}")
