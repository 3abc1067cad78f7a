"""``geoloc pairs classes | …``: what an overhead encoder is trained on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import typer
from typer.core import TyperGroup

from ..errors import GeolocError, UsageError
from .console import JSON, note, print_json, print_table, progress
from .cube import AREA

if TYPE_CHECKING:
    from ..pairs.building import Built
    from ..pairs.checking import Checked
    from ..pairs.importing import Imported


BLOCK = typer.Option(
    None, "--block", metavar="M", help="Side of the blocks that are dealt; default: 5000 or less."
)
BUFFER = typer.Option(
    200.0, "--buffer", metavar="M", help="Pairs nearer to another split's than this are left out."
)
TEST = typer.Option(0.2, "--test", min=0, max=0.9, help="Share of the blocks to test on.")
VALID = typer.Option(0.1, "--valid", min=0, max=0.9, help="Share of the blocks to validate on.")
SEED = typer.Option(0, "--seed", help="Random seed of the split.")


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


@app.command(name="import")
def import_(
    data: Literal["cvusa", "witw", "gtcrossview", "cw", "cgw", "table"] = typer.Argument(
        ..., metavar="SET", help="cvusa, witw, gtcrossview, cw, cgw or table."
    ),
    sources: list[Path] = typer.Argument(
        ..., metavar="DIR|TABLE|TAR…", help="Its folder, its tar archives, or a table of pairs."
    ),
    out: Path = typer.Option(
        ..., "--out", metavar="PAIRS.csv", help="The pairs file; of tar archives, a folder."
    ),
    lists: list[Path] = typer.Option(
        [], "--list", metavar="FILE", help="path[,lat,lon[,vector]] in each line; default: its own."
    ),
    zoom: int = typer.Option(18, "--zoom", help="Of CVUSA: 14, 16 or 18."),
    full: bool = typer.Option(False, "--full", help="Uncropped images: …_aerial_full, …_orig."),
    split: Literal["auto", "place", "keep"] = typer.Option(
        "auto", "--split", help="By place, as the lists say (keep), or by place where they do not."
    ),
    test: float = TEST,
    valid: float = VALID,
    block: float | None = BLOCK,
    buffer: float = BUFFER,
    seed: int = SEED,
    as_json: bool = JSON,
) -> None:
    """Take over a published data set, or any table of pairs: complete pairs, split by place.

    Pairs without one of their files are reported; then the exit code is 1. Tar archives stay
    packed: their pairs become shards. cw and cgw are lists that mix the sets.
    """
    from ..pairs.importing import import_set, import_table
    from ..pairs.published import Layout
    from ..pairs.splitting import SplitRule

    rule = SplitRule(test, valid, block, buffer, seed)
    if data == "table":
        if len(sources) > 1 or lists:
            raise UsageError("a table is one file, and has no --list: import them one by one")
        made = import_table(sources[0], out, split=split, rule=rule)
    else:
        layout = Layout(data, zoom, full)
        with progress(f"looking through {sources[0].name}") as advance:
            made = import_set(
                sources,
                layout,
                out,
                lists=lists,
                split=split,
                rule=rule,
                progress=lambda done: advance(done, done),
            )
    _tell(made, as_json)


def _tell(made: Imported, as_json: bool) -> None:
    """What was written, and an error where pairs were left out as they are broken."""
    if as_json:
        print_json(made.to_json())
    else:
        shares = ", ".join(f"{count} to {split}" for split, count in made.splits.items())
        note(f"{made.count} pairs in {made.path}: {shares}")
        if made.block_m is not None:
            note(f"split by blocks of {made.block_m:g} m, {made.dropped} left out between them")
        for line in (*made.notes, *made.missing.lines):
            note(line)
    if made.missing.count:
        raise GeolocError(f"{made.missing.count} pairs left out: {made.missing.lines[0]}")


@app.command()
def build(
    photos: Path = typer.Argument(
        ..., metavar="PHOTOS", help="A folder of geotagged photos, or a list with lat and lon."
    ),
    area: Path = AREA,
    out: Path = typer.Option(
        ..., "--out", metavar="DIR", help="Folder of pairs.csv and the chips; a build goes on."
    ),
    folder: Path | None = typer.Option(
        None, "--photos", metavar="DIR", help="Where a list's photos lie; default: beside it."
    ),
    px: int | None = typer.Option(None, "--px", min=8, help="Side of a chip, in pixels."),
    gsd: float | None = typer.Option(
        None, "--gsd", metavar="M", help="m per pixel; default: as the area's model prefers."
    ),
    context: float | None = typer.Option(
        None, "--context", min=1, help="Side of a chip in patches of the model; default: 1.5."
    ),
    test: float = TEST,
    valid: float = VALID,
    block: float | None = BLOCK,
    buffer: float | None = typer.Option(
        None, "--buffer", metavar="M", help="As of import; default: no two splits' chips overlap."
    ),
    seed: int = SEED,
    as_json: bool = JSON,
) -> None:
    """Cut the overhead image of each photo whose place is known, and split the pairs by place.

    Places come from the files, or from a list: CSV, Parquet, GeoJSON or KML with the photo's file.
    Photos that look like an earlier one, and places on water or without imagery, are left out and
    counted. Called again, it goes on; the exit code is 1 where photos or imagery were broken.
    """
    from ..area import load_area
    from ..pairs.building import build_pairs, chip_of, default_buffer
    from ..pairs.splitting import SplitRule

    found = load_area(area)
    chip = chip_of(found, px, gsd, context)
    rule = SplitRule(test, valid, block, default_buffer(chip) if buffer is None else buffer, seed)
    with progress(f"cutting chips for {photos.name}") as advance:
        made = build_pairs(photos, found, out, chip, photos=folder, rule=rule, progress=advance)
    if as_json:
        print_json(made.to_json())
    else:
        _tell_build(made)
    if made.failed:
        raise GeolocError(f"{made.failed} photos left out: {made.faults.lines[0]}")


def _tell_build(made: Built) -> None:
    shares = ", ".join(f"{count} to {split}" for split, count in made.deal.splits.items())
    note(f"{made.deal.splits.total()} pairs in {made.path}: {shares}")
    note(", ".join(f"{count} {reason}" for reason, count in made.outcomes.items()))
    if made.deal.dropped:
        note(f"{made.deal.dropped} of the kept left out between two splits")
    for line in made.deal.notes:
        note(line)


@app.command()
def check(
    pairs: Path = typer.Argument(
        ..., metavar="PAIRS.csv|SHARDS", help="A pairs file, a folder of shards, or an archive."
    ),
    near: float = typer.Option(
        50.0, "--near", min=0, metavar="M", help="Pairs of two splits nearer than this leak."
    ),
    out: Path | None = typer.Option(
        None, "--out", metavar="DIR", help="Write map.png, pairs.geojson and check.json there."
    ),
    as_json: bool = JSON,
) -> None:
    """Look for broken files, missing partners, duplicates, and splits that leak.

    A split leaks where another has the same photo, one that looks the same, the same overhead
    image, or a place nearby. The exit code is 1 where anything is wrong.
    """
    from ..pairs.checking import check_pairs
    from ..pairs.mapping import write_check

    with progress(f"checking {pairs.name}") as advance:
        found = check_pairs(pairs, near_m=near, progress=lambda done: advance(done, done))
    if out is not None:
        write_check(found, out)
    if as_json:
        print_json(found.to_json())
    else:
        _tell_check(found)
    if not found.is_good:
        wrong = ", ".join(f"{count} {kind}" for kind, count in found.counts.items() if count)
        raise GeolocError(f"{pairs}: {wrong}: mend or drop these pairs")


def _tell_check(found: Checked) -> None:
    rows = [[kind, f"{count:,}"] for kind, count in found.counts.items()]
    print_table(f"{found.count:,} whole pairs", {"wrong": "left", "count": "right"}, rows)
    for lines in found.lines.values():
        for line in lines:
            note(line)
    for line in found.notes:
        note(line)


@app.command()
def shard(
    pairs: Path = typer.Argument(..., metavar="PAIRS.csv", help="The pairs file."),
    out: Path = typer.Option(..., "--out", metavar="DIR", help="The folder of the shards."),
    name: str = typer.Option("pairs", "--name", help="What the shards' names begin with."),
    layout: Literal["webdataset", "plain"] = typer.Option(
        "webdataset", "--layout", help="KEY.ground.jpg …, or folders SPLIT/ground/ …"
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
            layout=layout,
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
