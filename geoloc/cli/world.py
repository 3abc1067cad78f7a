"""``geoloc sandbox`` and ``geoloc demo``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ..errors import GeolocError, UsageError
from .console import JSON, note, print_json, print_table, stages

if TYPE_CHECKING:
    from ..demo.national import NationalDemo
    from ..demo.sandbox import Demo
    from ..evaluation.regions import RegionScore

_MOST_PHOTOS = 100_000
SEED = typer.Option(7, "--seed", help="Random seed of the world.")
ANY_KM = typer.Option(
    None,
    "--km",
    help="Side of the square world, 0.5 to 60 km, or of a country, 10 to 400 km.",
    show_default="3; of a country 200",
)
ANY_PHOTOS = typer.Option(
    None,
    "--photos",
    min=1,
    max=_MOST_PHOTOS,
    help="Ground photos to render.",
    show_default="40; of a country 12",
)


def sandbox(
    folder: Path = typer.Argument(..., metavar="DIR", help="Where to write the world."),
    seed: int = SEED,
    km: float | None = ANY_KM,
    photos: int | None = ANY_PHOTOS,
    country: bool = typer.Option(
        False, "--country", help="A whole country, whose imagery is rendered when it is read."
    ),
    views: int = typer.Option(
        1, "--views", min=1, max=100, help="Of --country: photos of each place, looking around."
    ),
    serve: bool = typer.Option(
        False, "--serve", help="Then serve the country's imagery as web tiles, until Ctrl-C."
    ),
    port: int = typer.Option(8765, "--port", min=0, max=65535, help="Port of --serve; 0: any."),
    as_json: bool = JSON,
) -> None:
    """Write a synthetic world: imagery, STAC catalog, roads, photos with truth, Telegram export.

    With --country: roads, border, provinces, places, photos with truth; no pixel of imagery.
    """
    if serve and not country:
        raise UsageError("--serve goes with --country: a world's imagery is in files")
    if views > 1 and not country:
        raise UsageError("--views goes with --country: a world's photos are each of another place")
    with stages() as stage:
        if country:
            from ..sandbox.country.write import write_country

            files = write_country(
                folder, seed=seed, km=200.0 if km is None else km, photos=photos or 12,
                views=views, stages=stage,
            )  # fmt: skip
        else:
            from ..sandbox.write import write_sandbox

            files = write_sandbox(
                folder, seed=seed, km=3.0 if km is None else km, photos=photos or 40, stages=stage
            )
    if as_json:
        print_json(files)
    elif country:
        note(f"country in {folder}; next: {_next_steps(folder)}")
    else:
        note(f"world in {folder}; next: geoloc cube build {folder / 'area.yaml'}")
    if serve:
        _serve(folder, port)


def _next_steps(folder: Path) -> str:
    sample = f"geoloc points sample {folder / 'roads.osm.pbf'} --n 10000"
    within = f"--within {folder / 'border.geojson'} --out {folder / 'points.parquet'}"
    return f"{sample} {within}; geoloc cube build {folder / 'area.yaml'}"


def _serve(folder: Path, port: int) -> None:
    from ..sandbox.country.serving import TEMPLATE, tile_server

    with tile_server(folder / "country.json", port) as server:
        note(f"serving http://127.0.0.1:{server.server_port}/{TEMPLATE}; Ctrl-C ends it")
        server.serve_forever()


def demo(
    out: Path | None = typer.Option(
        None,
        "--out",
        help="Where to write everything.",
        show_default="demo; national: demo-national",
    ),
    seed: int = SEED,
    km: float | None = ANY_KM,
    photos: str | None = typer.Option(
        None,
        "--photos",
        metavar="N|DIR",
        help="How many photos to render; with --real, your photo, or a folder of them.",
        show_default="40; national: 12",
    ),
    national: bool = typer.Option(
        False, "--national", help="A country: points along its roads, regions, down to cells."
    ),
    points: int = typer.Option(
        1000, "--points", min=1, max=10_000_000, help="Sample points of --national."
    ),
    real: bool = typer.Option(
        False, "--real", help="On your own imagery and photos, with the landuse model."
    ),
    imagery: Path | None = typer.Option(
        None, "--imagery", metavar="TIF", help="With --real: a GeoTIFF, 0.4 to 3.2 m per pixel."
    ),
    as_json: bool = JSON,
) -> None:
    """The whole job on the sandbox world: imagery, cube, photos, answers, and how good they are.

    With --national on a synthetic country; with --real on a GeoTIFF and photos of your own.
    """
    if national and (real or imagery is not None):
        raise UsageError("--national and --real are two demos: choose one")
    if national:
        _national(out, seed, km, _count(photos, 12), points, as_json)
    elif real or imagery is not None:
        _demo_real(out or Path("demo"), imagery, photos, as_json)
    else:
        _demo_sandbox(
            out or Path("demo"), seed, 3.0 if km is None else km, _count(photos, 40), as_json
        )


def _count(photos: str | None, default: int) -> int:
    if photos is None:
        return default
    if not photos.isdecimal() or not 1 <= int(photos) <= _MOST_PHOTOS:
        raise UsageError(
            f"--photos {photos}: write how many to render, 1 to {_MOST_PHOTOS:,}, or add --real"
        )
    return int(photos)


def _demo_real(out: Path, imagery: Path | None, photos: str | None, as_json: bool) -> None:
    from ..demo.real import run_real_demo
    from .query import show_answers

    if imagery is None or photos is None or photos.isdecimal():
        raise UsageError("--real needs --imagery, a GeoTIFF, and --photos, a folder of photos")
    with stages() as stage:
        result = run_real_demo(out, imagery, [photos], progress=stage)
    if as_json:
        print_json(result.to_json())
    else:
        for line in (
            *result.notes,
            f"{result.cells:,} cells, built in {result.build_seconds:.0f} s",
        ):
            note(line)
        show_answers(result.answers.results, result.folder, False, result.answers.failures)
    _require_answers(len(result.answers.failures))


def _demo_sandbox(out: Path, seed: int, km: float, photos: int, as_json: bool) -> None:
    from ..demo.sandbox import run_demo

    with stages() as stage:
        result = run_demo(out, seed=seed, km=km, photos=photos, progress=stage)
    if as_json:
        print_json(result.to_json())
    else:
        _show(result)
    _require_answers(len(result.evaluation.failures))


def _national(
    out: Path | None,
    seed: int,
    km: float | None,
    photos: int,
    points: int,
    as_json: bool,
) -> None:
    from ..demo.national import run_national_demo

    with stages() as stage:
        result = run_national_demo(
            out or Path("demo-national"),
            seed=seed,
            km=200.0 if km is None else km,
            photos=photos,
            points=points,
            progress=stage,
        )
    if as_json:
        print_json(result.to_json())
    else:
        _show_national(result)
    _require_answers(len(result.failures))


def _require_answers(failures: int) -> None:
    if failures:
        raise GeolocError(f"{failures} photos could not be answered")


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


def _show_national(result: NationalDemo) -> None:
    from ..demo.national import ROBUST

    columns = {
        "photo": "left",
        "rank of its region": "right",
        ROBUST.words: "right",
        "true cell's percentile": "right",
    }
    rows = [
        [
            score.photo,
            _rank_text(score.plain),
            _rank_text(score.robust),
            "-" if score.zoomed_percentile is None else f"{score.zoomed_percentile:.2f} %",
        ]
        for score in result.photos
    ]
    title = f"{result.points:,} points, built in {result.build_seconds:.0f} s (* is good)"
    print_table(title, columns, rows)
    facts = result.to_json()
    for name, shares in (("smallest distance", facts), (ROBUST.words, facts["robust"])):
        note(
            f"by the {name}: true region good for {shares['truth_in_good'] or 0:.0%} of photos, "
            f"good regions are {shares['good_share'] or 0:.0%} of all"
        )
    note(f"look at: {result.answers}/*/map.png and report.html")


def _rank_text(score: RegionScore) -> str:
    good = " *" if score.good else ""
    return "-" if score.rank is None else f"{score.rank} of {score.regions}{good}"
