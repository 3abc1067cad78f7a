"""``geoloc pairs classes | …``: what an overhead encoder is trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from .console import note


class _Group(TyperGroup):
    """The group also takes what was its only command: ``geoloc pairs CLASSES.csv --ground …``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        named = bool(args) and args[0] in self.commands
        if not named and any(arg.partition("=")[0] == "--ground" for arg in args):
            args = ["classes", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_Group, help="Pairs of photo and overhead image, to train on.", no_args_is_help=True
)


@app.command()
def classes(
    mapping: Path = typer.Argument(
        ..., metavar="CLASSES.csv", help="Which photo class goes with which overhead class."
    ),
    ground: Path = typer.Option(
        ..., "--ground", help="Folder with one subfolder of photos per class."
    ),
    overhead: Path = typer.Option(
        ..., "--overhead", help="Folder with one subfolder of chips per class."
    ),
    out: Path = typer.Option(..., "--out", metavar="PAIRS.csv", help="The pairs file to write."),
    seed: int = typer.Option(0, "--seed", help="Random seed of the split."),
    holdout: float = typer.Option(
        0.2, "--holdout", min=0, max=0.9, help="Share held out for testing."
    ),
) -> None:
    """Pair photos with overhead images of the same class, with a held-out share."""
    from ..pairs import pair_classes, write_pairs

    made = pair_classes(mapping, ground, overhead, seed=seed, holdout=holdout)
    write_pairs(made, out)
    held = sum(pair.split == "test" for pair in made)
    note(f"{len(made)} pairs in {out}, {held} of them held out; next: geoloc train {out}")
