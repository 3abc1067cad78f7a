"""``geoloc sandbox`` and ``geoloc demo``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ..errors import GeolocError, UsageError
from .console import note, print_json, print_table, stages

if TYPE_CHECKING:
    from ..demo import Demo

_MOST_PHOTOS = 100_000
SEED = typer.Option(7, "--seed", help="Random seed of the world.")
KM = typer.Option(3.0, "--km", min=1.0, max=200.0, help="Side of the square world, km.")
PHOTOS = typer.Option(40, "--photos", min=1, max=_MOST_PHOTOS, help="Ground photos to render.")
JSON = typer.Option(False, "--json", help="Print one JSON object on stdout.")


def sandbox(
    folder: Path = typer.Argument(..., metavar="DIR", help="Where to write the world."),
    seed: int = SEED,
    km: float = KM,
    photos: int = PHOTOS,
    as_json: bool = JSON,
) -> None:
    """Write a synthetic world: imagery, STAC catalog, roads, photos with truth, Telegram export."""
    from ..sandbox.write import write_sandbox

    with stages() as stage:
        files = write_sandbox(folder, seed=seed, km=km, photos=photos, stages=stage)
    if as_json:
        print_json(files)
    else:
        note(f"world in {folder}; next: geoloc cube build {folder / 'area.yaml'}")


def demo(
    out: Path = typer.Option(Path("demo"), "--out", help="Where to write everything."),
    seed: int = SEED,
    km: float = KM,
    photos: str = typer.Option(
        "40",
        "--photos",
        metavar="N|DIR",
        help="How many photos to render; with --real, a photo of yours, or a folder of them.",
    ),
    real: bool = typer.Option(
        False, "--real", help="On your own imagery and photos, with the model landuse."
    ),
    imagery: Path | None = typer.Option(
        None, "--imagery", metavar="TIF", help="With --real: a GeoTIFF, 0.4 to 3.2 m per pixel."
    ),
    as_json: bool = JSON,
) -> None:
    """The whole job on the sandbox world: imagery, cube, photos, answers, and how good they are.

    With --real it is done on a GeoTIFF and photos of your own.
    """
    if real or imagery is not None:
        _demo_real(out, imagery, photos, as_json)
    else:
        _demo_sandbox(out, seed, km, _count(photos), as_json)


def _count(photos: str) -> int:
    if not photos.isdecimal() or not 1 <= int(photos) <= _MOST_PHOTOS:
        raise UsageError(
            f"--photos {photos}: write how many to render, 1 to {_MOST_PHOTOS:,}, or add --real"
        )
    return int(photos)


def _demo_real(out: Path, imagery: Path | None, photos: str, as_json: bool) -> None:
    from ..demo_real import run_real_demo
    from .query import show_answers

    if imagery is None or photos.isdecimal():
        raise UsageError("--real needs --imagery, a GeoTIFF, and --photos, a folder of photos")
    with stages() as stage:
        result = run_real_demo(out, imagery, [photos], progress=stage)
    if as_json:
        print_json(result.to_json())
    else:
        note(f"{result.cells:,} cells, built in {result.build_seconds:.0f} s")
        show_answers(result.answers.results, result.folder, False, result.answers.failures)
    if result.answers.failures:
        raise GeolocError(f"{len(result.answers.failures)} photos could not be answered")


def _demo_sandbox(out: Path, seed: int, km: float, photos: int, as_json: bool) -> None:
    from ..demo import run_demo

    with stages() as stage:
        result = run_demo(out, seed=seed, km=km, photos=photos, progress=stage)
    if as_json:
        print_json(result.to_json())
    else:
        _show(result)
    if result.evaluation.failures:
        raise GeolocError(f"{len(result.evaluation.failures)} photos could not be answered")


def _show(result: Demo) -> None:
    columns = {"photo": "left", "true cell's percentile": "right", "best candidate off by": "right"}
    rows = [
        [
            score.photo,
            "outside" if score.placement is None else f"{score.placement.percentile:.2f} %",
            "-" if score.best_candidate_m is None else f"{score.best_candidate_m:,.0f} m",
        ]
        for score in result.evaluation.scores
    ]
    print_table(f"{result.cells:,} cells, built in {result.build_seconds:.0f} s", columns, rows)
    note(str(result.evaluation.summary))
    note(f"look at: {result.answers}/*/report.html")


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(sandbox)
    app.command()(demo)
