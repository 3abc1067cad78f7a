"""``geoloc cube build | refresh | update | plan | info | verify | repair | prune …``."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ..errors import UsageError
from ..executors import check_kind, kinds
from .console import JSON, Advance, note, print_table, stages
from .models_of import each_model, titled
from .options import option

if TYPE_CHECKING:
    from ..area import Area
    from ..cube import Generation
    from ..jobs.report import BuildReport
    from ..jobs.update import UpdateReport
    from ..query import Ref

app = typer.Typer(help="Build, inspect and maintain feature cubes.", no_args_is_help=True)

AREA = typer.Argument(..., metavar="AREA.yaml", help="The area file.")
CUBE = typer.Argument(..., metavar="CUBE", help="An area file, or the folder or URL of a cube.")


METHOD = typer.Option(None, help="dense or patch; default: the fastest that the model supports.")
FETCH = option("fetch_imagery")
CLUSTER = typer.Option(
    "auto",
    help=f"{', '.join(kinds())}, or the address of a Dask scheduler.",
    callback=check_kind,
)
MAX_FAILED = typer.Option(
    None,
    "--max-failed",
    min=0,
    metavar="N",
    help="Stop when more than N blocks have failed or lack imagery that could not be read.",
)
FAIL_FAST = typer.Option(
    False, "--fail-fast", help="Stop at the first such block; the same as --max-failed 0."
)

_DOING = {"build": "building", "refresh": "refreshing"}
_JOBS = {
    "build": "Encode an area's imagery into a feature cube, once; an interrupted build resumes.",
    "refresh": (
        "Recompute what changed in the imagery, into a new generation; others may query meanwhile."
    ),
    "update": (
        "Build what is missing from an area's cube, and refresh what has changed in its imagery."
    ),
}


def _add_job(name: str, what: str) -> None:
    """A job that brings an area's cube up to date: ``geoloc.NAME_cube``."""

    @app.command(name, help=what)
    def run(
        area: Path = AREA,
        method: str | None = METHOD,
        cluster: str = CLUSTER,
        max_failed: int | None = MAX_FAILED,
        fail_fast: bool = FAIL_FAST,
        as_json: bool = JSON,
    ) -> None:
        import geoloc

        job, step = getattr(geoloc, f"{name}_cube"), name if name in _DOING else None
        most = 0 if fail_fast else max_failed
        carry_out(job, step, area, as_json, method=method, cluster=cluster, max_failed=most)


for _name, _what in _JOBS.items():
    _add_job(_name, _what)


@app.command()
def plan(
    area: Path = AREA,
    method: str | None = METHOD,
    cluster: str = CLUSTER,
    steps: list[float] = typer.Option(
        [10, 16, 25, 100], "--step", min=0, help="Distances between cells to compare, m."
    ),
    price: float | None = typer.Option(
        None, "--price", min=0, help="Price of one worker-hour; the cost is in the same currency."
    ),
    as_json: bool = JSON,
) -> None:
    """What a build would need, from a measured sample: size, blocks, bytes, time, cost.

    Imagery counts as decoded pixels, margins included: files and tiles hold fewer bytes.
    """
    from ..area import load_areas
    from ..jobs.estimate import plan_cube

    def plan_one(name: str, spec: Area) -> dict[str, Any]:
        estimate = plan_cube(spec, method=method, cluster=cluster, steps=steps, price=price)
        if not as_json:
            columns = dict.fromkeys(estimate.headings(), "right")
            rows = [row.texts() for row in estimate.rows]
            print_table(titled(name, estimate.area), columns, rows)
            note(estimate.summary())
        return estimate.to_json()

    each_model(load_areas(area).named_parts, plan_one, as_json)


@app.command()
def generations(cube: str = CUBE, as_json: bool = JSON) -> None:
    """List the generations of a cube: when made, from which imagery, how complete."""
    from ..cube import list_generations
    from ..query import cube_url, parts_of

    def list_one(name: str, ref: Ref) -> dict[str, Any]:
        listed = list_generations(cube_url(ref))
        headings = ("", "created", "finished", "imagery", "blocks", "incomplete")
        if not as_json:
            rows = [_row(generation) for generation in listed]
            print_table(titled(name, cube), dict.fromkeys(headings, "left"), rows)
        return {"generations": [generation.to_json() for generation in listed]}

    each_model(parts_of(cube), list_one, as_json)


@app.command()
def prune(
    cube: str = CUBE,
    keep: int = typer.Option(
        ..., "--keep", min=1, metavar="N", help="Number of newest generations to keep."
    ),
    grace: str = typer.Option(
        "1h",
        "--grace",
        metavar="TIME",
        help="Also keep what was in use within this time: current, or opened on this machine. "
        "90s, 30m, 1h, 2d, or 0. For cubes on S3 only what was current is known.",
    ),
    as_json: bool = JSON,
) -> None:
    """Delete old generations; never the one that readers open, nor what they may still read."""
    from ..jobs.refresh import prune_cube
    from ..query import cube_url, parts_of

    spared = _seconds(grace)

    def prune_one(_name: str, ref: Ref) -> dict[str, Any]:
        removed = prune_cube(cube_url(ref), keep, grace=spared)
        if not as_json:
            note(f"deleted {', '.join(removed)}" if removed else "nothing to delete")
        return {"removed": removed}

    each_model(parts_of(cube), prune_one, as_json)


@app.command()
def info(cube: str = CUBE, as_json: bool = JSON) -> None:
    """Show what a cube holds: area, model, imagery dates, how complete it is."""
    from ..query import open_cube, parts_of

    def show_one(name: str, ref: Ref) -> dict[str, Any]:
        facts = open_cube(ref).info()
        if not as_json:
            rows = [[key, str(value)] for key, value in facts.items()]
            print_table(titled(name, cube), {"": "left", "value": "left"}, rows)
        return facts

    each_model(parts_of(cube), show_one, as_json)


@app.command()
def verify(
    cube: str = CUBE,
    cells: int = typer.Option(200, "--cells", min=2, help="Cells to recompute patch by patch."),
    seed: int = typer.Option(0, "--seed", help="Random seed for the sample."),
    fetch_imagery: bool = FETCH,
    as_json: bool = JSON,
) -> None:
    """Check every block's digest, and recompute sampled cells patch by patch.

    The error is shown beside that of shifting the imagery by 2 px. Exit code 1 if blocks are
    damaged: 'geoloc cube repair' recomputes them.
    """
    from ..query import parts_of, verify_cube_at

    def verify_one(_name: str, ref: Ref) -> dict[str, Any]:
        with stages() as stage:
            report = verify_cube_at(
                ref,
                cells=cells,
                seed=seed,
                reading=stage("reading blocks"),
                progress=stage("recomputing"),
                fetch_imagery=fetch_imagery,
            )
        if not as_json:
            note(report.summary())
        return report.to_json()

    each_model(parts_of(cube), verify_one, as_json)


@app.command()
def repair(
    cube: str = CUBE,
    cluster: str = CLUSTER,
    fetch_imagery: bool = FETCH,
    as_json: bool = JSON,
) -> None:
    """Check every block's digest, and recompute exactly the damaged blocks.

    A lost CURRENT, ledger or small array is restored if the rest of the cube shows what it
    was. A cube that is bounded by a polygon must be given by its area file.
    """
    from ..query import parts_of, repair_cube_at

    def repair_one(_name: str, ref: Ref) -> BuildReport:
        with stages() as stage:
            report = repair_cube_at(
                ref, cluster=cluster, progress=stage("repairing"), fetch_imagery=fetch_imagery
            )
        if not as_json:
            note(report.summary())
        return report

    each_model(parts_of(cube), repair_one, as_json)


def carry_out(
    job: Callable[..., BuildReport | UpdateReport],
    step: str | None,
    area: Path,
    as_json: bool,
    points: Path | None = None,
    **options: Any,
) -> None:
    """Do a job to an area's cube, or that of each of its models, show its progress and report it.

    ``points``: a file of points in place of the area's extent and step, or of its own points.
    ``step``: build or refresh; None for a job that takes several, each with a progress of its own.
    """
    from ..area import load_areas

    def do_one(name: str, spec: Area) -> BuildReport | UpdateReport:
        title = titled(name, spec.name)
        with stages(long=True) as stage:

            def advance(step: str) -> Advance:
                return stage(f"{_DOING[step]} {title}")

            tiling = stage(f"tiling {title}") if spec.keeps_copy else None
            progress = advance(step) if step else advance
            report = job(spec, tiling=tiling, progress=progress, **options)
        if not as_json:
            note(report.summary())
        return report

    whole = load_areas(area) if points is None else load_areas(area).with_points(points)
    each_model(whole.named_parts, do_one, as_json)


def _seconds(span: str) -> float:
    """Of a time such as 90s, 30m, 1h, 2d. Raises UsageError."""
    match = re.fullmatch(r"(\d{1,9}(?:\.\d+)?)([smhd]?)", span.strip().lower())
    if match is None or (not match[2] and float(match[1])):
        raise UsageError(f"--grace {span}: write a number and s, m, h or d, such as 30m, or 0")
    return float(match[1]) * {"": 0, "s": 1, "m": 60, "h": 3600, "d": 86400}[match[2]]


def _minute(time: str) -> str:
    """Of an ISO time, which ``--json`` gives in full."""
    return time[:16].replace("T", " ")


def _row(generation: Generation) -> list[str]:
    imagery = f"{(generation.imagery_first or '')[:10]} … {(generation.imagery_last or '')[:10]}"
    return [
        generation.name + (" *" if generation.current else ""),
        _minute(generation.created),
        _minute(generation.finished) if generation.finished else "not finished",
        imagery if generation.imagery_last else "without dates",
        str(generation.blocks_done),
        str(generation.blocks_broken + generation.blocks_missing),
    ]
