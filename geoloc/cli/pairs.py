"""``geoloc pairs classes | …``: what an overhead encoder is trained on."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from ..errors import GeolocError
from .console import note, print_json, progress

JSON = typer.Option(False, "--json", help="Print one JSON object on stdout.")


class Layouts(StrEnum):
    """How samples lie in a shard."""

    webdataset = "webdataset"
    plain = "plain"


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


@app.command()
def shard(
    pairs: Path = typer.Argument(..., metavar="PAIRS.csv", help="The pairs file."),
    out: Path = typer.Option(..., "--out", metavar="DIR", help="The folder of the shards."),
    name: str = typer.Option("pairs", "--name", help="What the shards' names begin with."),
    layout: Layouts = typer.Option(
        Layouts.webdataset, "--layout", help="KEY.ground.jpg …, or folders SPLIT/ground/ …"
    ),
    per_shard: int = typer.Option(1000, "--per-shard", min=1, help="Samples of a shard at most."),
    as_json: bool = JSON,
) -> None:
    """Pack pairs and their images into tar archives, from which training streams them.

    Broken images are left out and reported; then the exit code is 1.
    """
    from ..pairs.file import iter_pairs
    from ..pairs.sharding import shard_pairs

    with progress(f"packing {pairs.name}") as advance:
        made = shard_pairs(
            iter_pairs(pairs),
            out,
            name=name,
            layout=layout.value,
            per_shard=per_shard,
            progress=lambda done: advance(done, done),
        )
    if as_json:
        print_json(
            {
                "index": str(made.index),
                "count": made.count,
                "splits": made.splits,
                "shards": made.shards,
                "skipped": list(made.skipped),
            }
        )
    else:
        note(f"{made.count} pairs in {made.shards} shards; next: geoloc train {out}")
    if made.skipped:
        raise GeolocError(f"{len(made.skipped)} pairs left out: {made.skipped[0]}")
