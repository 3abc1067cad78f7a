"""``geoloc models list | fetch | import | make | info``."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import typer
from pydantic import ValidationError

from ..errors import UsageError, one_line
from .console import JSON, note, note_left_out, print_json, print_table, stages

app = typer.Typer(help="Look at models and bring in your own.", no_args_is_help=True)

_NAMED = 20  # classes that one line names


@app.command("list")
def list_(as_json: bool = JSON) -> None:
    """The models of this machine: the shipped ones and those of the store."""
    from ..models import list_models, model_info

    facts = {model.installed_as: model_info(model) for model in list_models()}
    if as_json:
        print_json({"models": [{"installed_as": name, **f} for name, f in facts.items()]})
        return
    columns = {"name": "left", "classes": "right", "methods": "left", "digest": "left"}
    rows = [
        [
            name if name == f["name"] else f"{name} (its own name: {f['name']})",
            str(f["names"]),
            ", ".join(f["methods"]),
            f["digest"][:12],
        ]
        for name, f in facts.items()
    ]
    print_table("models", columns, rows)


@app.command()
def fetch(
    model: str = typer.Argument(
        ...,
        metavar="URL|NAME",
        help="https://, s3://, file://… directory of a model; or a published network: "
        "places365-alexnet, places365-alexnet-227, places365-densenet161, places365-resnet18, "
        "places365-resnet50.",
    ),
    name: str | None = typer.Option(
        None, "--name", help="Name in the store; default: the model's own."
    ),
    mirror: str | None = typer.Option(
        None,
        "--mirror",
        metavar="URL",
        help="Of a published network: a folder with the same file, in place of CSAIL's server.",
    ),
    replace: bool = typer.Option(False, "--replace", help="Replace a model of the same name."),
    as_json: bool = JSON,
) -> None:
    """Copy a model from a URL into the store, every file checked; goes on where it was cut off.

    A published network (Places365, of MIT CSAIL) is fetched by its name. Its sha256 is kept on
    first use, and another file is refused ever after.
    """
    from ..models import is_url, model_info
    from ..models.fetch import fetch_model

    if is_url(model) and mirror:
        raise UsageError(f"--mirror belongs to a published network, not to {model}: leave it out")
    if name and not is_url(model):
        raise UsageError(f"--name belongs to a model's URL: {model} keeps its own name")
    with stages() as stage:
        bar = functools.cache(stage)

        def told(file: str, done: int, size: int) -> None:
            bar(f"{file}, MB")(done // 10**6, size // 10**6)

        if is_url(model):
            fetched = fetch_model(model, name=name, replace=replace, progress=told)
        else:
            from ..encoders.places365 import fetch_places365

            fetched = fetch_places365(model, mirror=mirror, replace=replace, progress=told)
    found = fetched.model
    if as_json:
        print_json({**model_info(found), "new": fetched.new})
    else:
        word = "is now" if fetched.new else "was already"
        note(
            f"model {found.installed_as} ({found.dim} classes, {found.digest[:12]}) {word} "
            f"in {found.path}"
        )


@app.command("import")
def import_(
    spec: Path = typer.Argument(..., metavar="SPEC.toml", help="Which files, and how they work."),
    replace: bool = typer.Option(False, "--replace", help="Replace a model of the same name."),
    as_json: bool = JSON,
) -> None:
    """Make a model of your own two networks and class names, and check that it computes."""
    from ..encoders.importing import import_model, read_import_spec
    from ..models import model_info
    from ..scenes import without_group

    model = import_model(read_import_spec(spec), replace=replace)
    left = without_group(model.classes)
    if as_json:
        print_json({**model_info(model), "classes_without_group": left})
        return
    note(f"model {model.name} ({model.dim} classes) is in {model.path}")
    if left:
        more = f", and {len(left) - _NAMED} more" if len(left) > _NAMED else ""
        note(
            f"classes in no group (indoor, natural, manmade), {len(left)} of {model.dim}, so "
            f"that weights of groups do not apply to them: {', '.join(left[:_NAMED])}{more}"
        )


@app.command()
def make(
    kind: Literal["landuse"] = typer.Argument(  # noqa: ARG001 there is one so far
        ..., metavar="KIND", help="landuse: scenes of the real world."
    ),
    overhead: list[Path] = typer.Option(
        ...,
        "--overhead",
        "--overhead2",
        metavar="DIR",
        help="Overhead images, a subfolder per class; may be given several times.",
    ),
    ground: Path = typer.Option(
        ..., "--ground", metavar="DIR", help="Ground photos, a subfolder per class."
    ),
    pairs: Path = typer.Option(
        ...,
        "--pairs",
        metavar="CSV",
        help="Which go together: overhead_class, ground_classes (names separated by |).",
    ),
    out: Path = typer.Option(..., "--out", metavar="DIR", help="Folder of the model."),
    name: str = typer.Option("landuse", "--name", help="The model's own name."),
    epochs: int = typer.Option(40, "--epochs", min=1, max=10_000, help="Passes over the images."),
    seed: int = typer.Option(0, "--seed", min=0, help="Random seed of the training."),
    as_json: bool = JSON,
) -> None:
    """Make a model from your own folders of images, and measure it on every second one.

    Each image goes through the trunks once and is remembered: run the same command again to go on
    after an interruption, or with more classes.
    """
    from ..training.landuse import LanduseSpec, make_landuse
    from ..training.shared_space import SpaceSpec

    training = SpaceSpec(epochs=epochs, seed=seed)
    try:
        spec = LanduseSpec(
            overhead=tuple(overhead), ground=ground, pairs=pairs, out=out, name=name,
            training=training,
        )  # fmt: skip
    except ValidationError as error:
        raise UsageError(f"--name {name!r}: {one_line(error.errors()[0]['msg'])}") from None
    with stages() as stage:
        made = make_landuse(spec, stage)
    if as_json:
        told = {**made.figures.to_json(), "digest": made.model.digest, "out": str(made.model.path)}
        print_json({**told, "skipped": [*made.skipped]})
        return
    note_left_out(made.skipped, _NAMED, "images more")
    for words, figure in made.figures.figures.items():
        low, high, chance = figure.low, figure.high, figure.chance or 0.0
        value = f"{figure.value:.3f} [{low:.3f}, {high:.3f}], chance {chance:.3f}"
        note(f"{words.replace('_', ' ')}: {value}")
    note(f"model {made.model.name} ({made.model.digest[:12]}) is in {made.model.path}")


@app.command()
def info(
    model: str = typer.Argument(..., metavar="MODEL", help="A name, a model directory or its URL."),
    as_json: bool = JSON,
) -> None:
    """What a model is: networks, methods, imagery it fits, how it was trained."""
    from ..models import load_model, model_info

    found = load_model(model)
    facts = model_info(found)
    if as_json:
        print_json(facts)
        return
    card = found.file("card.md")
    facts["card"] = str(card) if card.is_file() else None
    facts["sizes"] = {name: found.file(name).stat().st_size for name in found.spec.used_files()}
    print_table(facts["name"], {"": "left", "value": "left"}, [list(row) for row in _words(facts)])


def _words(facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What a model is, for people: one line each; all of it is in the JSON."""
    yield "folder", facts["path"]
    yield "digest", facts["digest"]
    count, dim = facts["names"], facts["dim"]
    yield (
        "feature vector",
        (
            f"{dim} scene classes"
            if count == dim
            else f"{dim} values, read as {count} scene classes"
        ),
    )
    if facts["words"]:
        yield "words", "may be asked for by other words than its classes (extra text)"
    yield "ground photos", f"{facts['ground']} network"
    if facts["overhead"] is None:
        yield "overhead imagery", "none: this model describes photos, it cannot build cubes"
    else:
        low, high = facts["gsd"]
        yield "overhead imagery", f"{facts['overhead']} network, patches of {facts['patch_px']} px"
        yield "imagery it fits", f"{low:g} to {high:g} m per pixel"
        yield "methods", " or ".join(facts["methods"])
    own = "a metric of its own, class weights do not apply" if facts["metric"] else "class by class"
    yield "distance", own
    size = sum(facts["sizes"].values())
    yield "files", f"{', '.join(facts['sizes'])} ({size / 1e6:,.1f} MB)"
    if facts["card"]:
        yield "what it knows", facts["card"]
    yield from _training(facts["training"])


def _training(told: Mapping[str, Any], name: str = "") -> Iterator[tuple[str, str]]:
    """How it was trained, as the model itself says: each figure under the names that lead to it."""
    for key, value in told.items():
        words = f"{name} {key}".strip().replace("_", " ")
        if isinstance(value, Mapping):
            yield from _training(value, words)
        elif value is not None:
            lists = isinstance(value, list | tuple)
            yield f"training: {words}", ", ".join(map(str, value)) if lists else str(value)
