"""``geoloc tandem``: several models asked together."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ..errors import GeolocError, UsageError
from .console import JSON, note, note_left_out, print_json, print_table, stages

if TYPE_CHECKING:
    from ..query.tandem import Compared, TandemAnswer, TandemEvaluation

_SHOWN = 5  # places, and photos left out, on the terminal
_OF_PLACES = {
    "median_percentile": "median percentile",
    "mean_percentile": "mean",
    "top1pct": "best 1 %",
}
_OF_REGIONS = {
    "truth_in_good": "true region is good, %",
    "good_share": "good regions, %",
    "top15pct": "in the best 15 %",
    "median_percentile": "median percentile",
}


def tandem(
    photos: list[str] | None = typer.Argument(None, metavar="PHOTO…", help="Ground photos: files."),
    cube: list[str] = typer.Option(
        ...,
        "--cube",
        help="Area file, folder or URL of a cube; once for each model, same places. Or once the "
        "area file that names several models.",
    ),
    bank: Path | None = typer.Option(
        None,
        "--bank",
        metavar="DIR",
        help="Unrelated photos, 8 to 256: scores are calibrated by them. Default: the bank of the "
        "area file; without one, scores are calibrated by the places.",
    ),
    weight: list[float] = typer.Option(
        [],
        "--weight",
        min=0,
        help="Of each model, in the order of the cubes; default: those of the area file, else all "
        "alike.",
    ),
    out: Path | None = typer.Option(None, "--out", metavar="DIR", help="Folder for the answers."),
    truth: Path | None = typer.Option(
        None,
        "--truth",
        metavar="CSV",
        help="In place of photos: photos of known places (file, lon, lat), beside the file. Says "
        "whether the models are better together than the better one alone.",
    ),
    top: int = typer.Option(20, "--top", min=1, help="How many candidates."),
    seed: int = typer.Option(0, "--seed", min=0, help="Random seed of the intervals."),
    as_json: bool = JSON,
) -> None:
    """Rank places by several models together; the answer shows what each says of a place.

    Each model has its own cube of the same places. Their distances become z-scores and are
    averaged.
    """
    from ..query.bank import bank_photos
    from ..query.tandem import evaluate_tandem, open_tandem, search_tandem

    if bool(photos) == bool(truth) or bool(photos) != bool(out):
        raise UsageError("tandem takes photos and --out DIR, or --truth CSV")
    with stages() as stage:
        unrelated = () if bank is None else bank_photos(bank)
        opened = open_tandem(cube, unrelated, weights=weight or None, progress=stage)
        if truth is not None:
            found = evaluate_tandem(opened, truth, seed=seed, progress=stage("ranking"))
            show_together(found, as_json)
            if found.failures:
                raise GeolocError("; ".join(found.failures.values()))
        if photos and out is not None:
            answers, lost = search_tandem(opened, photos, out, top=top, progress=stage("searching"))
            _show(answers, lost, as_json)
            if lost:
                raise GeolocError("; ".join(lost.values()))


def _show(answers: list[TandemAnswer], failures: dict[str, str], as_json: bool) -> None:
    if as_json:
        told = [
            {"photo": one.photo, "folder": str(one.folder),
             "candidates": [place.to_json() for place in one.places]}
            for one in answers
        ]  # fmt: skip
        print_json({"results": told, "failures": failures})
        return
    for one in answers:
        names = list(one.places[0].models) if one.places else []
        columns = {"rank": "right", "lat, lon": "left", "percentile": "right"}
        rows = [
            [str(place.rank), f"{place.lat:.5f}, {place.lon:.5f}", f"{place.percentile:.3f} %"]
            + [f"{place.models[name]['percentile']:.3f} %" for name in names]
            for place in one.places[:_SHOWN]
        ]
        print_table(f"{one.photo} ({one.folder})", columns | dict.fromkeys(names, "right"), rows)


def show_together(found: TandemEvaluation, as_json: bool) -> None:
    """Report figures of each model alone and of all together."""
    if as_json:
        print_json(found.to_json())
        return
    _show_compared("", found.places, _OF_PLACES)
    for ranking, of_regions in found.regions.items():
        _show_compared(f", true regions by {ranking}", of_regions, _OF_REGIONS)
    note_left_out(found.skipped, _SHOWN, "more: all of them with --json")


def _show_compared(what: str, found: Compared, figures: dict[str, str]) -> None:
    """``figures``: their headings by their names."""
    columns = {"": "left"} | dict.fromkeys(figures.values(), "right")
    rows = [
        [name, *(f"{told[k].value:.2f} [{told[k].low:.2f}, {told[k].high:.2f}]" for k in figures)]
        for name, told in found.methods.items()
    ]
    print_table(f"{found.photos} photos{what}", columns, rows)
    for name, gain in found.gains.items():
        note(
            f"{name} against {found.better} alone: mean percentile gained {gain.value:.2f} "
            f"[{gain.low:.2f}, {gain.high:.2f}]"
        )
