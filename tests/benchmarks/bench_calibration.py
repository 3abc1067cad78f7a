"""Calibrate the shipped model on some sandbox worlds, and check what it states on others.

    python -m tests.benchmarks.bench_calibration --work DIR [--keep]

Writes the worlds that are not there yet, and takes the others as they are: 1.5 km and 60 photos
each take some minutes. Photos are rendered at 640 x 480 px, which networks that see 224 px cannot
tell from a phone's. ``--keep`` puts ``calibration.json`` beside the model. None of the seeds was
trained on (`geoloc.sandbox.recipe`).

The shipped one is by ``--calibrated 7 9 2101 3001 1 2 3 --checked 4 5``, where 1 to 5 were those of
``python -m geoloc.sandbox.recipe evaluate --seeds 1-5``, larger and with photos of full size.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from geoloc.area import load_area
from geoloc.evaluation.bootstrap import mean_figure
from geoloc.evaluation.calibration import calibrate
from geoloc.evaluation.normalisation import KINDS
from geoloc.evaluation.ranks import Ranks
from geoloc.jobs.build import build_cube
from geoloc.models.calibration import CALIBRATION_FILE, calibration_text
from geoloc.models.model import SHIPPED, write_whole
from geoloc.pairs import class_images
from geoloc.query.evaluating import evaluate_truth
from geoloc.query.scores import DISTANCE, Evaluation, choose
from geoloc.sandbox.catalog import write_world
from geoloc.sandbox.photos import write_photos

CALIBRATED, CHECKED, BANK = (7, 9, 2101), (3001, 3002, 3003, 3004, 3005), 3001
KM, PHOTOS, SIZE = 1.5, 60, (640, 480)


def world(work: Path, seed: int) -> Path:
    """The folder of a world with its cube."""
    folder = work / f"s{seed}"
    truth = folder / "photos" / "truth.csv"
    if not truth.exists():
        made = write_world(folder, seed, KM)
        write_photos(made, truth.parent, PHOTOS, seed=seed, size=SIZE)
    build_cube(load_area(folder / "area.yaml"), cluster="inline").raise_if_incomplete()
    return folder


def measured(work: Path, seed: int, bank: int | None = None) -> Evaluation:
    """The evaluation of a world; ``bank``: the world whose photos normalise scores."""
    folder = world(work, seed)
    photos = class_images(world(work, bank) / "photos") if bank else []
    found = evaluate_truth(folder / "area.yaml", folder / "photos" / "truth.csv", bank=photos)
    print(f"seed {seed}, {found.km2:.3g} km2: {found.summary}", flush=True)
    return found


def main() -> None:
    """Calibrate, check, and say what normalised scores do."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--calibrated", type=int, nargs="+", default=CALIBRATED)
    parser.add_argument("--checked", type=int, nargs="+", default=CHECKED)
    asked = parser.parse_args()
    seen = [measured(asked.work, seed, BANK) for seed in asked.calibrated]
    placed = [p for found in seen for p in found.methods()[DISTANCE]]
    groups = [(w, score.group) for w, found in enumerate(seen) for score in found.placed]
    places = [f"{w}-{group}" for w, group in groups]
    names = [DISTANCE, *(name for name in KINDS if name != "none")]
    methods = {name: [p for found in seen for p in found.methods()[name]] for name in names}
    chosen = choose(methods, np.unique(places, return_inverse=True)[1].tolist())
    seeds = ", ".join(map(str, asked.calibrated))
    calibration = calibrate(
        Ranks.of_placements(placed), places, model=seen[0].digest,
        source=f"sandbox worlds of seeds {seeds}",
    ).model_copy(update=chosen)  # fmt: skip
    print(json.dumps(calibration.model_dump(mode="json"), indent=1))
    unseen = [measured(asked.work, seed) for seed in asked.checked]
    ranks = [found.ranks().share for found in unseen]
    for percent, level in calibration.levels.items():
        held = [100.0 * (shares <= level.share) for shares in ranks]
        every = mean_figure(np.concatenate(held))
        each = ", ".join(f"{one.mean():.0f}" for one in held)
        print(f"{percent} %: held for {every.value:.1f} % [{every.low:.1f}, {every.high:.1f}] of "
              f"{sum(map(len, held))} photos of unseen worlds; by world {each}")  # fmt: skip
    if asked.keep:
        write_whole(SHIPPED / CALIBRATION_FILE, calibration_text(calibration))


if __name__ == "__main__":
    main()
