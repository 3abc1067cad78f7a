"""``geoloc evaluate``: how good a model's answers are where the truth is known."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ..errors import GeolocError, UsageError
from .console import JSON, note, note_left_out, print_json, print_table, stages

if TYPE_CHECKING:
    from ..evaluation.bootstrap import Figure
    from ..evaluation.comparing import Comparison
    from ..evaluation.files import Evaluated
    from ..evaluation.ranks import Ranks
    from ..models import Model
    from ..query.scores import Evaluation

CUBE = typer.Argument(None, metavar="CUBE", help="An area file, or the folder or URL of a cube.")
TRUTH = typer.Argument(
    None, metavar="TRUTH.csv", help="file, lon, lat (scene, stratum, place); the photos beside it."
)
PAIRS = typer.Option(
    None,
    "--pairs",
    metavar="PAIRS.csv|SHARDS",
    help="Rank the places of pairs, without a cube.",
)
SPLIT = typer.Option(
    None, "--split", help="Of the pairs: train, valid, test or all; default: test if there."
)
CLASSES = typer.Option(
    None,
    "--classes",
    metavar="CLASSES.csv",
    help="Which photo class goes with which from above.",
)
GROUND = typer.Option(
    None, "--ground", metavar="DIR", help="With --classes: a subfolder of photos per class."
)
OVERHEAD = typer.Option(
    None, "--overhead", metavar="DIR", help="With --classes: a subfolder of images per class."
)
MODEL = typer.Option(None, "--model", help="Of --pairs and --classes: a name or a model directory.")
STRATA = typer.Option(
    None, "--strata", metavar="CSV", help="file, scene, stratum (urban, rural) of the photos."
)
BANK = typer.Option(
    None, "--bank", metavar="DIR", help="Unrelated photos: compare scores normalised by them."
)
CALIBRATE = typer.Option(
    None,
    "--calibrate",
    metavar="MODEL",
    help="Store how much must be searched for which probability, for the answers of this model "
    "(name or directory), or in a .json file.",
)
COMPARE = typer.Option(
    None, "--compare", metavar="A B", help="Two evaluations (--out) of the same photos, paired."
)
REGIONS = typer.Option(
    None,
    "--regions",
    metavar="M",
    help="Also rank the true regions, of so many metres a side; 25000 of a cube of points.",
)
FUSE = typer.Option(
    None,
    "--fuse",
    metavar="N",
    min=2,
    help="Also average N photos of each place; may be given several times.",
)
FEEDBACK = typer.Option(
    False,
    "--feedback",
    help="Photos ask twice, as with query --feedback: of a cube, or of --classes.",
)
SEED = typer.Option(0, "--seed", min=0, help="Random seed of intervals and of groups.")
OUT = typer.Option(
    None, "--out", metavar="DIR", help="Write figures, scores and plots; for a cube also answers."
)
_OPTIONS = {
    "CUBE TRUTH.csv": (
        "--strata",
        "--bank",
        "--regions",
        "--fuse",
        "--feedback",
        "--calibrate",
        "--out",
    ),
    "--pairs": ("--model", "--split", "--out"),
    "--classes": ("--ground", "--overhead", "--model", "--feedback", "--out"),
    "--compare": (),
    "an area of several models": ("--bank", "--regions"),
}
"""What goes with what is evaluated."""

_SHOWN = 5  # lines of what was left out on the terminal; all of them are in the files
_MORE = "more; --json and --out have all of them"


def evaluate(
    cube: str | None = CUBE,
    truth: Path | None = TRUTH,
    pairs: Path | None = PAIRS,
    split: str | None = SPLIT,
    classes: Path | None = CLASSES,
    ground: Path | None = GROUND,
    overhead: Path | None = OVERHEAD,
    model: str | None = MODEL,
    strata: Path | None = STRATA,
    bank: Path | None = BANK,
    regions: float | None = REGIONS,
    fuse: list[int] | None = FUSE,
    feedback: bool = FEEDBACK,
    calibrate: str | None = CALIBRATE,
    compare: tuple[str, str] | None = COMPARE,
    seed: int = SEED,
    out: Path | None = OUT,
    as_json: bool = JSON,
) -> None:
    """How good answers are where the truth is known: of a cube, of pairs, or of class folders.

    CUBE TRUTH.csv: how high the true places of photos rank (percentile, chance 50; best 1, 5,
    10 %), and their regions of a cube of points. Of an area file that names several models it says
    whether all of them together are better than the better one alone, with --regions at regions
    too. --pairs, --classes: a model on images, without a cube. --compare: two of these.

    With --calibrate answers of the model state from then on "the true place lies in the best x km²
    with 80 %". Take one photo each of some 50 places or more in areas like yours, which the model
    was not trained on: below 20 places 95 % cannot be told.
    """
    given = {
        "CUBE TRUTH.csv": cube is not None or truth is not None,
        "--pairs": pairs is not None,
        "--classes": classes is not None,
        "--compare": compare is not None,
    }
    options = {
        "--split": split, "--ground": ground, "--overhead": overhead, "--model": model,
        "--strata": strata, "--bank": bank, "--regions": regions, "--fuse": fuse or None,
        "--feedback": feedback or None, "--calibrate": calibrate,
        "--out": out,
    }  # fmt: skip
    asked = [name for name, value in options.items() if value is not None]
    _check_options(_one_of(given), asked)
    if compare is not None:
        _compare(*compare, seed, as_json)
    elif classes is not None:
        _classes(classes, _needed(ground, "--ground"), _needed(overhead, "--overhead"),
                 _model(model), feedback, seed, out, as_json)  # fmt: skip
    elif pairs is not None:
        _pairs(pairs, _model(model), split, seed, out, as_json)
    elif cube is not None and truth is not None and _is_of_several(cube):
        _check_options("an area of several models", asked)
        _together(cube, truth, bank, regions, seed, as_json)
    else:
        _cube(str(_needed(cube, "CUBE")), _needed(truth, "TRUTH.csv"), strata, bank, regions, fuse,
              feedback, calibrate, seed, out, as_json)  # fmt: skip


def _one_of(given: dict[str, bool]) -> str:
    named = [name for name, is_given in given.items() if is_given]
    if len(named) != 1:
        what = " and ".join(named) or "nothing"
        raise UsageError(f"{what} to evaluate: give one of {', '.join(given)}")
    return named[0]


def _check_options(what: str, given: list[str]) -> None:
    """Refuse what would be ignored."""
    wrong = [name for name in given if name not in _OPTIONS[what]]
    if wrong:
        raise UsageError(f"{', '.join(wrong)} cannot go with {what}: leave it out")


def _needed(value: Any, name: str) -> Any:
    if value is None:
        raise UsageError(f"{name} is missing: give it too")
    return value


def _model(name: str | None) -> Model:
    from ..models import load_model

    return load_model(_needed(name, "--model"))


def _is_of_several(cube: str) -> bool:
    from ..query.target import several_models

    return several_models(cube) is not None


def _together(
    area: str, truth: Path, bank: Path | None, regions: float | None, seed: int, as_json: bool
) -> None:
    from ..query import QueryOptions
    from ..query.bank import bank_photos
    from ..query.options import Use
    from ..query.tandem import evaluate_tandem, open_tandem
    from .tandem import show_together

    with stages() as stage:
        unrelated = () if bank is None else bank_photos(bank)
        options = QueryOptions.of(Use.QUERY, regions=regions)
        tandem = open_tandem([area], unrelated, options=options, progress=stage)
        found = evaluate_tandem(tandem, truth, seed=seed, progress=stage("ranking the true places"))
    show_together(found, as_json)
    _tell_unread(found.failures)


def _cube(
    cube: str,
    truth: Path,
    strata: Path | None,
    bank: Path | None,
    regions: float | None,
    fuse: list[int] | None,
    feedback: bool,
    calibrate: str | None,
    seed: int,
    out: Path | None,
    as_json: bool,
) -> None:
    from ..evaluation.calibration import FEWEST_PLACES
    from ..query.bank import bank_photos
    from ..query.evaluating import (
        check_calibration_target,
        evaluate_truth,
        store_calibration,
    )

    if calibrate and feedback:
        raise UsageError("--calibrate is of answers without --feedback: leave one of them out")
    if calibrate:
        check_calibration_target(calibrate)
    with stages() as stage:
        scored = evaluate_truth(
            cube, truth, out=out, strata=strata, bank=bank_photos(bank) if bank else (),
            regions=regions, fuse=fuse or (), feedback=feedback, seed=seed, progress=stage,
        )  # fmt: skip
    stored = store_calibration(scored, calibrate, str(truth)) if calibrate else None
    if out is not None:
        _write(
            scored,
            out,
            "cube",
            f"{cube} · {truth.name}",
            _map_ranks(scored),
            scored.km2,
        )
    facts = scored.to_json()
    if stored:
        facts["calibration"] = stored[1].model_dump(mode="json")
    _show(scored, facts, str(scored.summary) + _anew(feedback), as_json)
    if stored and not as_json:
        for percent, one in stored[1].levels.items():
            held = f"held for {one.coverage} % of places left out"
            note(f"{percent} %: the best {100 * one.share:.2g} % of the area ({held})")
        note(f"calibration in {stored[0]}")
        if stored[1].places < FEWEST_PLACES:
            note(f"{stored[1].places} places say little: take some 50 or more")
    _tell_unread(scored.failures)


def _anew(feedback: bool) -> str:
    return ", with feedback" if feedback else ""


def _tell_unread(failures: Mapping[str, str]) -> None:
    if failures:
        note_left_out([*failures.values()], _SHOWN, _MORE)
        raise GeolocError(f"{len(failures)} photos could not be read")


def _map_ranks(evaluation: Evaluation) -> dict[str, Ranks]:
    from ..evaluation.ranks import Ranks

    return {name: Ranks.of_placements(placed) for name, placed in evaluation.methods().items()}


def _pairs(
    path: Path, model: Model, split: str | None, seed: int, out: Path | None, as_json: bool
) -> None:
    from ..evaluation.paired import evaluate_pairs

    with stages() as stage:
        scored = evaluate_pairs(path, model, split=split, seed=seed, progress=stage)
    if out is not None:
        ranks = {"distance": scored.ranks, "class match": scored.class_match}
        _write(scored, out, "pairs", f"{path.name}: {scored.split}", ranks)
    facts = scored.to_json()
    words = f"{facts['n_pairs']:,} pairs, {facts['n_places']:,} places"
    _show(scored, facts, words, as_json)
    note_left_out(scored.skipped, _SHOWN, _MORE)


def _classes(
    mapping: Path,
    ground: Path,
    overhead: Path,
    model: Model,
    feedback: bool,
    seed: int,
    out: Path | None,
    as_json: bool,
) -> None:
    from ..evaluation.class_folders import evaluate_class_folders
    from ..evaluation.files import write_evaluation
    from ..evaluation.plots import class_plot

    with stages() as stage:
        scored = evaluate_class_folders(
            mapping, ground, overhead, model, seed=seed, feedback=feedback, progress=stage
        )
    if out is not None:
        bars = [(one.name, float(one.precision.mean()), one.chance) for one in scored.scores]
        write_evaluation(
            scored, out, kind="classes", title=f"{model.name} · {mapping.name}",
            plots={"classes.png": class_plot(bars)},
        )  # fmt: skip
    facts = scored.to_json()
    words = f"{facts['n_ground']:,} photos against {facts['n_overhead']:,} overhead images"
    _show(scored, facts, words + _anew(feedback), as_json)
    note_left_out(scored.skipped, _SHOWN, _MORE)


def _write(
    evaluation: Evaluated,
    out: Path,
    kind: str,
    title: str,
    ranks: dict[str, Ranks],
    km2: float | None = None,
) -> None:
    from ..evaluation.files import write_evaluation
    from ..evaluation.plots import recall_plot

    plots = {"recall.png": recall_plot(ranks, km2)}
    write_evaluation(evaluation, out, kind=kind, title=title, plots=plots)


def _compare(a: str, b: str, seed: int, as_json: bool) -> None:
    from ..evaluation.comparing import compare

    comparison = compare(a, b, seed=seed)
    if as_json:
        print_json(comparison.to_json())
        return
    print_table(*_difference_table(comparison))
    if any(comparison.only):
        note(f"left out: {comparison.only[0]} photos of A alone, {comparison.only[1]} of B alone")


def _difference_table(comparison: Comparison) -> tuple[str, dict[str, str], list[list[str]]]:
    from ..evaluation.tables import figure_text, number

    columns = {"figure": "left", "A": "right", "B": "right", "B - A [95 %]": "right"}
    rows = [
        [name.replace("_", " "), number(a), number(b), figure_text(difference)]
        for name, (a, b, difference) in comparison.figures.items()
    ]
    a, b = (
        f"{name}{' (with feedback)' if anew else ''}"
        for name, anew in zip((comparison.a, comparison.b), comparison.feedback, strict=True)
    )
    return f"A {a}, B {b}: {comparison.photos:,} photos", columns, rows


def _show(evaluation: Evaluated, facts: dict[str, Any], words: str, as_json: bool) -> None:
    from ..evaluation.tables import title_of

    if as_json:
        print_json(facts)
        return
    for title, rows in evaluation.tables().items():
        print_table(words if title == "all" else title_of(title), *_figure_table(rows))


def _figure_table(rows: Any) -> tuple[dict[str, str], list[list[str]]]:
    """Columns, and rows of figures with intervals; what chance gives comes last."""
    from ..evaluation.tables import figure_text, number

    figures: dict[str, dict[str, Figure]] = dict(rows)
    names = list(dict.fromkeys(name for by_name in figures.values() for name in by_name))
    lines = [
        [row.replace("_", " "),
         *(figure_text(by_name[name]) if name in by_name else "" for name in names)]
        for row, by_name in figures.items()
    ]  # fmt: skip
    first = next(iter(figures.values()), {})
    chances = [by_name.chance for by_name in first.values()]
    if any(chance is not None for chance in chances):
        lines.append(["chance", *("" if c is None else number(c) for c in chances)])
    return {"": "left"} | {name.replace("_", " "): "right" for name in names}, lines
