"""``geoloc train``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from ..errors import UsageError
from .console import JSON, note, print_json, stages


def train(
    pairs: Path = typer.Argument(
        ..., metavar="PAIRS.csv|SHARDS", help="Photos and places that match: a file, or tar shards."
    ),
    teacher: str = typer.Option(..., "--teacher", help="Model whose ground encoder is matched."),
    out: Path = typer.Option(..., "--out", metavar="DIR", help="The model directory to write."),
    recipe: str = typer.Option(
        "head",
        "--recipe",
        help="head (a head on a frozen trunk: minutes without a GPU), head-dense (the same, for "
        "cubes built tile by tile), default (a small network, trained whole), study or study-low "
        "(the study's own).",
    ),
    init: str | None = typer.Option(
        None, "--init", metavar="FILE|MODEL", help="Initial weights, such as places365-densenet161."
    ),
    setting: list[str] = typer.Option(
        [], "--set", metavar="KEY=VALUE", help="Any field of the training: --set loop.epochs=20."
    ),
    accelerator: str = typer.Option("auto", "--accelerator", help="auto, cpu or cuda."),
    devices: str = typer.Option(
        "auto", "--devices", help="How many GPUs (auto: all) or, on the CPU, processes (auto: 1)."
    ),
    strategy: str = typer.Option(
        "auto", "--strategy", help="auto, or ddp: as with several devices, also with one."
    ),
    precision: str | None = typer.Option(
        None, "--precision", help="32, bf16-mixed or 16-mixed (a GPU); else the recipe's."
    ),
    dry: bool = typer.Option(
        False, "--dry-run", help="Try everything on a few pairs and estimate time and disk."
    ),
    as_json: bool = JSON,
) -> None:
    """Train an overhead encoder on a teacher's vectors; called again, it goes on."""
    from ..training.dry import dry_run
    from ..training.machine import Machine
    from ..training.train import train_student

    asked = {"pairs": pairs, "teacher": teacher, "out": out, "init": init}
    spec = recipe_spec(recipe, {k: v for k, v in asked.items() if v is not None}, [
        *setting, *([f"loop.precision='{precision}'"] if precision else [])
    ])  # fmt: skip
    count: int | str = int(devices) if devices.lstrip("-").isdigit() else devices
    machine = train_spec(
        Machine, {"accelerator": accelerator, "devices": count, "strategy": strategy}, []
    )
    if dry:
        found = dry_run(spec, machine)
        print_json(found.to_json()) if as_json else note(f"dry run passed: {found}")
        return
    with stages() as stage:
        trained = train_student(spec, machine=machine, stages=stage)
    if as_json:
        print_json({"model": str(trained.path), "test": trained.test_json()})
    else:
        note(f"model in {trained.path}; held-out pairs: {trained.figures or 'none'}")


def recipe_spec(recipe: str, fields: dict[str, Any], settings: list[str]) -> Any:
    """The specification of a recipe, with some fields of one's own. Raises UsageError."""
    from ..training.recipes import RECIPES
    from ..training.spec import TrainSpec

    if recipe not in RECIPES:
        raise UsageError(f"recipe {recipe!r} is not known: use {', '.join(RECIPES)}")
    # with the specification's own defaults, or setting one field of a part would reset the others
    defaults = {name: field.default for name, field in TrainSpec.model_fields.items()}
    parts = {name: value for name, value in defaults.items() if hasattr(value, "model_dump")}
    known = {
        name: value.model_dump() if hasattr(value, "model_dump") else value
        for name, value in {**parts, **RECIPES[recipe]}.items()
    }
    return train_spec(TrainSpec, {**known, "recipe": recipe, **fields}, settings)


def train_spec(kind: Any, fields: dict[str, Any], settings: list[str]) -> Any:
    """A training specification out of options; raises UsageError naming the wrong value."""
    import yaml
    from pydantic import ValidationError

    for setting in settings:
        key, sep, value = setting.partition("=")
        if not sep:
            raise UsageError(f"--set {setting}: write KEY=VALUE")
        *parents, last = key.split(".")
        level = fields
        for parent in parents:
            level = level.setdefault(parent, {})
            if not isinstance(level, dict):
                raise UsageError(f"--set {setting}: {parent} has no fields")
        try:
            level[last] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise UsageError(f"--set {setting}: {value!r} is no value") from None
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"{where}: {first['msg']}") from None
