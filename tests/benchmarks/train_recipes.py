"""Recipes of ``geoloc train`` against each other on worlds of the sandbox: unseen ones count.

    python -m tests.benchmarks.train_recipes --work DIR

Worlds are rendered once and kept (`--train-seeds`, `--test-seeds`, `--km`, `--photos`), so that a
larger machine goes on with more of them, or for more `--epochs`. Every arm is shown the same
number of pairs and is taught by the shipped sandbox model's photo network. A test photo is ranked
among the places of all photos of its world, its percentile's interval is over photos.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from geoloc.cli.learn import recipe_spec
from geoloc.evaluation.bootstrap import figures
from geoloc.evaluation.ranks import MiddlePercentile, Ranks, TopPercent
from geoloc.pairs import Pair, Split, write_pairs
from geoloc.sandbox.training_data import GSD, MARGIN_PX, load_training_world
from geoloc.training import TrainSpec, train_student
from geoloc.training.engine import OneProcess
from geoloc.training.machine import Machine
from geoloc.training.material import no_stages
from geoloc.training.preparing import prepare

MACHINE = Machine(accelerator="cpu")
CHIP = 176
"""px of a chip: a window of 128 px can be turned within it."""
_SMALL = ("arch=place_lite0_tuned", "method=dense", "patch_px=128", "pool_px=16", "stride=8")

ARMS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "study's loss and schedule": ("study", (
        *_SMALL, f"chip_px={CHIP}",
        f"augment={{kind: study, resize: {CHIP}, crop: {CHIP}, middle: 140}}",
    )),
    "default": ("default", (f"chip_px={CHIP}",)),
    "default without contrast": ("default", (f"chip_px={CHIP}", "loss.contrast=0")),
    "default without views of photos": ("default", (f"chip_px={CHIP}", "photo_views.count=1")),
    "default, random order": ("default", (f"chip_px={CHIP}", "hard=0")),
    "head on a frozen trunk, patch": ("head", ("patch_px=128", f"chip_px={CHIP}", "loss.photos=1")),
}  # fmt: skip
"""The study's network, DenseNet-161, takes a GPU: here its recipe trains the default's network."""


def write_world(seed: int, split: Split, km: float, photos: int, work: Path) -> list[Pair]:
    """Photos of a world and chips of their places."""
    world = load_training_world(seed, km, photos, work / "worlds")
    folder = work / "images" / f"{seed}-{km:g}-{photos}"
    folder.mkdir(parents=True, exist_ok=True)
    pairs = []
    for number, (photo, place) in enumerate(zip(world.photos, world.places, strict=True)):
        column, row = (round(at / GSD) + MARGIN_PX - CHIP // 2 for at in place)
        flight = number % len(world.mosaics)
        chip = world.mosaics[flight][:, row : row + CHIP, column : column + CHIP]
        files = [folder / f"{number}-{side}.png" for side in ("photo", "chip")]
        for file, pixels in zip(files, (photo, chip), strict=True):
            Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0))).save(file)
        pairs.append(Pair(files[0], files[1], None, split))
    return pairs


def train_arm(name: str, chosen: argparse.Namespace, pairs: Path) -> TrainSpec:
    """Train the student of an arm, or go on with it."""
    recipe, settings = ARMS[name]
    out = chosen.work / "models" / "".join(c if c.isalnum() else "-" for c in name)
    spec = recipe_spec(
        recipe, {"pairs": pairs, "teacher": chosen.teacher, "out": out},
        [*settings, f"loop.epochs={chosen.epochs}", f"batch={chosen.batch}",
         "gsd=[2.25, 2.5, 2.75]", "metric=none"],
    )  # fmt: skip
    assert isinstance(spec, TrainSpec)
    train_student(spec, machine=MACHINE)
    return spec


def ranks_of(spec: TrainSpec, photos: int) -> Ranks:
    """Ranks of the test photos, each among the places of the ``photos`` of its own world."""
    training = prepare(spec, MACHINE, no_stages)
    training.fit(OneProcess())  # it is finished: this reads the best weights
    data = training.splits["test"]
    predicted = training.learner.predict(data.chips)
    true = data.targets[data.photos]
    ranks = []
    for start in range(0, len(true), photos):
        world = slice(start, start + photos)
        apart = np.linalg.norm(true[world, None] - predicted[None, world], axis=2)
        ranks.append((apart <= np.diagonal(apart)[:, None]).sum(axis=1))
    return Ranks.of(np.concatenate(ranks), photos)


def report(name: str, spec: TrainSpec, ranks: Ranks, seconds: float) -> None:
    """A row of the table."""
    places = list(range(len(ranks.rank)))
    found = figures((MiddlePercentile(median=True), TopPercent(10)), ranks, places)
    cells = [f"{f.value:.1f} [{f.low:.1f}, {f.high:.1f}]" for f in found.values()]
    print(f"| {name} | {' | '.join(cells)} | {spec.loop.epochs} | {seconds:.0f} s |", flush=True)


def main() -> None:
    """Render, train every arm, print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.train_recipes")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--train-seeds", type=int, nargs="+", default=[1000, 1001, 1002])
    parser.add_argument("--test-seeds", type=int, nargs="+", default=[3001])
    parser.add_argument("--km", type=float, default=1.0)
    parser.add_argument("--photos", type=int, default=80)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--batch", type=int, default=40)
    parser.add_argument("--teacher", default="sandbox")
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=list(ARMS))
    chosen = parser.parse_args()
    worlds: list[tuple[int, Split]] = [(seed, "train") for seed in chosen.train_seeds]
    worlds += [(seed, "test") for seed in chosen.test_seeds]
    pairs = [
        pair
        for seed, split in worlds
        for pair in write_world(seed, split, chosen.km, chosen.photos, chosen.work)
    ]
    path = write_pairs(pairs, chosen.work / "pairs.csv")
    print("| recipe | median percentile | in the best 10 % | epochs | CPU |\n|---|---|---|---|---|")
    for name in chosen.arms:
        began = time.process_time()
        spec = train_arm(name, chosen, path)
        seconds = time.process_time() - began
        report(name, spec, ranks_of(spec, chosen.photos), seconds)


if __name__ == "__main__":
    main()
