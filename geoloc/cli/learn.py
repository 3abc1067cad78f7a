"""``geoloc train``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer

from ..errors import UsageError
from .console import note, print_json, progress

JSON = typer.Option(False, "--json", help="Print one JSON object on stdout.")


def train(
    pairs: Path = typer.Argument(..., metavar="PAIRS.csv", help="Photos and places that match."),
    teacher: str = typer.Option(..., "--teacher", help="Model whose ground encoder is matched."),
    out: Path = typer.Option(..., "--out", metavar="DIR", help="The model directory to write."),
    setting: list[str] = typer.Option(
        [], "--set", metavar="KEY=VALUE", help="Any field of the training: --set loop.epochs=20."
    ),
    as_json: bool = JSON,
) -> None:
    """Train an overhead encoder on a teacher's vectors; called again, it goes on."""
    from ..training.train import TrainSpec, train_student

    spec = train_spec(TrainSpec, {"pairs": pairs, "teacher": teacher, "out": out}, setting)
    with progress(f"training {out.name}") as advance:
        trained = train_student(spec, lambda epoch: advance(epoch.number, epoch.of))
    if as_json:
        print_json(
            {"model": str(trained.path), "test": trained.figures and asdict(trained.figures)}
        )
    else:
        note(f"model in {trained.path}; held-out pairs: {trained.figures or 'none'}")


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(train)


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
        level[last] = yaml.safe_load(value)
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"{where}: {first['msg']}") from None
