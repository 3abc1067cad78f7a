"""``geoloc models extend | adapt``: models derived from another, whose cubes they read."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import typer

from ..errors import GeolocError
from .console import JSON, note, note_left_out, print_json, stages

MODEL = typer.Argument(..., metavar="MODEL", help="A name or a model directory; it stays as it is.")
OUT = typer.Option(..., "--out", metavar="DIR", help="Folder of the new model.")
_NAMED = 20  # things left out that are named one by one


def extend(
    model: str = MODEL,
    labels: Path = typer.Option(
        ...,
        "--labels",
        metavar="DIR",
        help="A folder of images for each new name, at least 20 each; and 'other': images that "
        "show none of them (needed where there is one name).",
    ),
    out: Path = OUT,
    side: Literal["overhead", "ground"] = typer.Option(
        "overhead", "--side", help="Images from above, each one patch, or ground photos."
    ),
    seed: int = typer.Option(0, "--seed", min=0, help="Random seed of the folds."),
    as_json: bool = JSON,
) -> None:
    """Teach a model further names ("blue roof") by some hundred examples.

    Its vectors stay: cubes of the model are searched for the new names with
    'geoloc scene CUBE "blue roof" --model DIR'. How well they are found is measured on every second
    image, and kept in the new model's card.
    """
    from ..models import load_model
    from ..training.extending import extend as learn

    with stages() as stage:
        made = learn(
            load_model(model), labels, out, seed=seed,
            side=side,
            progress=stage("encoding the images"),
        )  # fmt: skip
    if as_json:
        print_json(made.to_json())
        return
    note_left_out(made.skipped, _NAMED)
    for one in made.learnt:
        note(str(one))
    note(f"model {made.model.name} ({made.model.digest[:12]}) is in {made.model.path}")


def adapt(
    model: str = MODEL,
    confirmed: Path | None = typer.Option(
        None,
        "--confirmed",
        metavar="JSONL",
        help="Photos kept by 'geoloc confirm'; default: those beside the models.",
    ),
    out: Path = OUT,
    force: bool = typer.Option(False, "--force", help="Write it even where it does not help."),
    seed: int = typer.Option(0, "--seed", min=0, help="Random seed of the folds."),
    as_json: bool = JSON,
) -> None:
    """Refit a model's distance by photos whose place is confirmed, if that helps.

    Cross-validation over blocks of the ground says so, with an interval; if not for sure, no model
    is written (exit code 1). Its vectors stay: cubes of the model are asked with
    'geoloc query CUBE PHOTO --model DIR'.
    """
    from ..models import load_model
    from ..query.adapting import adapt as refit
    from ..query.adapting import interval_text, middle
    from ..query.confirmed import usual_file

    with stages() as stage:
        found = refit(
            load_model(model), confirmed or usual_file(), out, force=force, seed=seed,
            progress=stage("measuring"),
        )  # fmt: skip
    if as_json:
        print_json(found.to_json())
    else:
        note_left_out(found.skipped, _NAMED)
        note(f"{found.photos} photos in {found.blocks} blocks, cross-validated over blocks:")
        note(f"median percentile of the true place: {middle(found.before)} before")
        note(f"                                     {middle(found.after)} after")
        note(f"mean percentile gained: {interval_text(found.gain)}")
    if found.model is None:
        raise GeolocError(
            f"no model was written, as it is not sure to help (gain {interval_text(found.gain)}): "
            "confirm more photos, or --force it"
        )
    note(f"model {found.model.name} ({found.model.digest[:12]}) is in {found.model.path}")
