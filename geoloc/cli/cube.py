"""``geoloc cube build | info | verify``."""

from __future__ import annotations

from pathlib import Path

import typer

from .console import note, print_json, print_table, progress

app = typer.Typer(help="Build and look at feature cubes.", no_args_is_help=True)

AREA = typer.Argument(..., metavar="AREA.yaml", help="The area file.")
CUBE = typer.Argument(..., metavar="CUBE", help="An area file, a path or a URL.")
JSON = typer.Option(False, "--json", help="Print one JSON object on stdout.")


@app.command()
def build(
    area: Path = AREA,
    method: str | None = typer.Option(
        None, help="dense or patch; default: the fastest that the model supports."
    ),
    cluster: str = typer.Option(
        "auto", help="auto, inline, local, cuda, or the address of a Dask scheduler."
    ),
    as_json: bool = JSON,
) -> None:
    """Encode an area's imagery into a feature cube, once; an interrupted build goes on."""
    from ..area import load_area
    from ..build import build_cube

    spec = load_area(area)
    with progress(f"building {spec.name}") as advance:
        report = build_cube(spec, method=method, cluster=cluster, progress=advance)
    if as_json:
        print_json(report.to_json())
    else:
        note(report.summary())
    report.raise_if_incomplete()


@app.command()
def info(cube: str = CUBE, as_json: bool = JSON) -> None:
    """What a cube holds: area, model, imagery dates, how complete it is."""
    from ..query import open_cube

    facts = open_cube(cube).info()
    if as_json:
        print_json(facts)
        return
    rows = [[key, str(value)] for key, value in facts.items()]
    print_table(cube, {"": "left", "value": "left"}, rows)


@app.command()
def verify(
    cube: str = CUBE,
    cells: int = typer.Option(200, "--cells", min=2, help="Cells to recompute patch by patch."),
    seed: int = typer.Option(0, "--seed", help="Draws other cells."),
    as_json: bool = JSON,
) -> None:
    """Recompute sampled cells patch by patch; error beside the network's own 2 px jitter."""
    from ..build import verify_cube
    from ..query import open_target

    with progress("recomputing") as advance:
        report = verify_cube_at(cube, cells=cells, seed=seed, progress=advance)
    if as_json:
        print_json(report.to_json())
    else:
        note(report.summary())
