"""``geoloc points sample``."""

from __future__ import annotations

from pathlib import Path

import typer

from ..errors import UsageError
from .console import note, print_json, stages

app = typer.Typer(help="Points of a country, for cubes of points.", no_args_is_help=True)

ROADS = typer.Argument(
    None,
    metavar="ROADS…",
    help="OpenStreetMap extracts (.osm.pbf), or networks in GeoPackage, GraphML or GeoParquet.",
)
JSON = typer.Option(False, "--json", help="Print one JSON object on stdout.")


@app.callback()
def points() -> None:
    """Points of a country, for cubes of points."""


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
                raise UsageError("--uniform draws in a polygon: name it by --within")
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
        for name, there in (("ROADS", roads), ("--uniform", uniform), ("--from", places))
        if there
    ]
    if len(given) != 1:
        found = " and ".join(given) or "none of them"
        raise UsageError(f"give one of ROADS, --uniform and --from; found {found}")
