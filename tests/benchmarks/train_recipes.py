"""Recipes of ``geoloc train`` against each other on worlds of the sandbox: unseen ones count.

    python -m tests.benchmarks.train_recipes --work DIR             a frozen trunk: CPU minutes
    python -m tests.benchmarks.train_recipes --work DIR --whole     all weights: hours, or a GPU

Worlds are rendered once and kept; with more of them, or more `--pairs-shown`, a larger machine
goes on. Every arm has the same network and the same initial weights, is shown the same number of
pairs, and is taught by the shipped sandbox model's photo network, none of whose own worlds are
used. Then its cube of each test world is built and evaluated as users do it: the percentile of the
true cell among all cells of its world, with intervals over photos; and by how much the mean of it
differs from the first arm's, photo by photo.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import rasterio
import yaml
from affine import Affine
from PIL import Image
from pyproj import Transformer

from geoloc.area import load_area
from geoloc.cli.learn import recipe_spec
from geoloc.evaluation.bootstrap import figures, mean_figure
from geoloc.evaluation.ranks import MiddlePercentile, Placement, Ranks, TopPercent
from geoloc.files.whole import whole_file, write_whole
from geoloc.jobs.build import build_cube
from geoloc.pairs import Pair, Split, write_pairs
from geoloc.query.evaluating import evaluate_truth
from geoloc.sandbox.training_data import GSD, MARGIN_PX, TrainingWorld, load_training_world
from geoloc.training import TrainSpec, train_student
from geoloc.training.machine import Machine
from geoloc.training.spec import run_folder

MACHINE = Machine(accelerator="cpu")
CHIP = 176
"""px of a chip: a window of 128 px can be turned within it."""
STEP = 32.0
"""m between the cells of the test worlds."""
LEFT, TOP, CRS = 300_000.0, 5_600_000.0, "EPSG:32636"
METRICS = (MiddlePercentile(median=True), TopPercent(1), TopPercent(5), TopPercent(10))

_CHIP = f"chip_px={CHIP}"
_DENSE = ("method=dense", "patch_px=128", "pool_px=16", "stride=8", _CHIP)
_PATCH = ("method=patch", "patch_px=96", _CHIP)
_STUDY = f"augment={{kind: study, resize: {CHIP}, crop: {CHIP}, middle: 140}}"

ARMS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "study": ("study", (*_DENSE, _STUDY)),
    "default, patch": ("default", _PATCH),
    "default, dense-native": ("default", _DENSE),
    "study, batches of 24": ("study", (*_DENSE, _STUDY, "batch=24")),
    "default, batches of 128": ("default", (*_DENSE, "batches=1")),
    "without contrast": ("default", (*_DENSE, "loss.contrast=0")),
    "without views of photos": ("default", (*_DENSE, "photo_views.count=1")),
    "random order": ("default", (*_DENSE, "hard=0")),
    "without average": ("default", (*_DENSE, "loop.ema=0")),
}  # fmt: skip
"""The study's network, DenseNet-161, takes a GPU: here its recipe trains the default's network. A
patch ends where the network's widest window does; a dense-native window has context around that."""


def chip_of(world: TrainingWorld, number: int) -> np.ndarray:
    """The chip ``(CHIP, CHIP, 3)`` of a photo's place, of one of the flights in turn."""
    column, row = (round(at / GSD) + MARGIN_PX - CHIP // 2 for at in world.places[number])
    mosaic = world.mosaics[number % len(world.mosaics)]
    return np.moveaxis(mosaic[:, row : row + CHIP, column : column + CHIP], 0, -1)


def write_world(seed: int, split: Split, world: TrainingWorld, work: Path) -> list[Pair]:
    """Photos of a world and chips of their places."""
    folder = work / "images" / str(seed)
    folder.mkdir(parents=True, exist_ok=True)
    pairs = []
    for number, photo in enumerate(world.photos):
        files = [folder / f"{number}-{side}.png" for side in ("photo", "chip")]
        for file, pixels in zip(files, (np.moveaxis(photo, 0, -1), chip_of(world, number)),
                                strict=True):  # fmt: skip
            if not file.exists():
                with whole_file(file) as part:
                    Image.fromarray(np.ascontiguousarray(pixels)).save(part, "PNG")
        pairs.append(Pair(files[0], files[1], None, split))
    return pairs


def write_area(seed: int, world: TrainingWorld, work: Path) -> Path:
    """A test world as users have it: imagery of the first flight, photos, their places."""
    folder = work / "areas" / str(seed)
    if (folder / "area.yaml").exists():  # it is written last
        return folder / "area.yaml"
    (folder / "photos").mkdir(parents=True, exist_ok=True)
    mosaic = world.mosaics[0]
    side = mosaic.shape[1] - 2 * MARGIN_PX
    corner = Affine(GSD, 0, LEFT - MARGIN_PX * GSD, 0, -GSD, TOP + MARGIN_PX * GSD)
    with rasterio.open(
        folder / "imagery.tif", "w", driver="GTiff", width=mosaic.shape[2], height=mosaic.shape[1],
        count=3, dtype="uint8", crs=CRS, transform=corner,
    ) as raster:  # fmt: skip
        raster.write(mosaic)
    degrees = Transformer.from_crs(CRS, "EPSG:4326", always_xy=True)
    rows = ["file,lon,lat"]
    for number, (photo, (east, south)) in enumerate(zip(world.photos, world.places, strict=True)):
        Image.fromarray(np.moveaxis(photo, 0, -1)).save(folder / "photos" / f"{number}.png")
        lon, lat = degrees.transform(LEFT + east, TOP - south)
        rows.append(f"{number}.png,{lon!r},{lat!r}")
    (folder / "photos" / "truth.csv").write_text("\n".join(rows) + "\n")
    cells = int(side * GSD // STEP) * STEP
    bounds = [LEFT, TOP - cells, LEFT + cells, TOP]
    (folder / "area.yaml").write_text(
        f"name: test-{seed}\ncrs: {CRS}\nbounds: {bounds}\nstep: {STEP}\nmodel: sandbox\n"
        "imagery: {kind: geotiff, paths: [imagery.tif]}\ncube: cube.zarr\n"
    )
    return folder / "area.yaml"


def train_arm(name: str, chosen: argparse.Namespace, pairs: Path, count: int) -> TrainSpec:
    """Train the student of an arm, or go on with it."""
    recipe, settings = ARMS[name]
    out = chosen.work / "models" / "".join(c if c.isalnum() else "-" for c in name + chosen.tag)
    arch = "place_lite0_tuned" if chosen.whole else "place_lite0"
    own = [] if chosen.batch is None else [f"batch={chosen.batch}"]
    spec = recipe_spec(
        recipe, {"pairs": pairs, "teacher": chosen.teacher, "out": out},
        [f"arch={arch}", *settings, f"loop.epochs={max(chosen.pairs_shown // count, 1)}",
         f"views={chosen.views}", "gsd=[2.25, 2.5, 2.75]", *own, *chosen.set],
    )  # fmt: skip
    assert isinstance(spec, TrainSpec)
    _share_features(spec, chosen.work)
    train_student(spec, machine=MACHINE)
    _share_features(spec, chosen.work)
    return spec


def _share_features(spec: TrainSpec, work: Path) -> None:
    """Features of a frozen trunk are computed by the first arm that needs them."""
    own, shared = run_folder(spec), work / "features"
    for folder in (own, shared):
        folder.mkdir(parents=True, exist_ok=True)
    for source, target in ((own, shared), (shared, own)):
        for file in source.glob("features-*.npy"):
            if not (target / file.name).exists():
                (target / file.name).hardlink_to(file)


def of_model(area: Path, model: str) -> Path:
    """The area file for another model, whose cube lies beside that of the first."""
    name = Path(model).name
    facts = yaml.safe_load(area.read_text())
    place = str(Path(model).resolve()) if Path(model).is_dir() else model
    own = area.with_name(f"area-{name}.yaml")
    write_whole(own, yaml.safe_dump({**facts, "model": place, "cube": f"{name}.zarr"}))
    return own


def placements(model: str, areas: Sequence[Path]) -> list[Placement]:
    """Of the photos of all test worlds, by cubes of this model; all lie in their cubes."""
    found: list[Placement] = []
    for path in areas:
        own = of_model(path, model)
        build_cube(load_area(own), cluster="inline").raise_if_incomplete()
        scored = evaluate_truth(str(own), path.parent / "photos" / "truth.csv")
        found += [p for score in scored.scores if (p := score.placement) is not None]
    return found


def report(name: str, placed: Sequence[Placement], first: Sequence[Placement], told: str) -> None:
    """A row of the table."""
    pairs = zip(placed, first, strict=True)
    change = mean_figure(np.array([own.percentile - other.percentile for own, other in pairs]))
    found = (*figures(METRICS, Ranks.of_placements(placed)).values(), change)
    cells = [f"{f.value:.1f} [{f.low:.1f}, {f.high:.1f}]" for f in found]
    print(f"| {name} | {' | '.join(cells)} | {told} |", flush=True)


def main() -> None:
    """Render, train every arm, print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.train_recipes")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--train-seeds", type=int, nargs="+", default=list(range(4001, 4008)))
    parser.add_argument("--valid-seeds", type=int, nargs="+", default=[4008])
    parser.add_argument("--test-seeds", type=int, nargs="+", default=[3001, 3002, 3003])
    parser.add_argument("--km", type=float, default=1.0)
    parser.add_argument("--photos", type=int, default=60, help="of each world")
    parser.add_argument("--pairs-shown", type=int, default=12_600, help="to each arm, in all")
    parser.add_argument("--views", type=int, default=4, help="of each chip, for a frozen trunk")
    parser.add_argument("--batch", type=int, help="default: as each recipe says")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="of every arm")
    parser.add_argument("--tag", default="", help="part of the models' names, with --set")
    parser.add_argument("--whole", action="store_true", help="train the trunk too")
    parser.add_argument("--teacher", default="sandbox")
    parser.add_argument("--arms", nargs="*", default=list(ARMS)[:5], choices=list(ARMS))
    chosen = parser.parse_args()

    def world(seed: int) -> TrainingWorld:
        return load_training_world(seed, chosen.km, chosen.photos, chosen.work / "worlds")

    learnt = [pair for seed in chosen.train_seeds
              for pair in write_world(seed, "train", world(seed), chosen.work)]  # fmt: skip
    valid = [pair for seed in chosen.valid_seeds
             for pair in write_world(seed, "valid", world(seed), chosen.work)]  # fmt: skip
    path = write_pairs([*learnt, *valid], chosen.work / "pairs.csv")
    areas = [write_area(seed, world(seed), chosen.work) for seed in chosen.test_seeds]
    print("| recipe | median percentile | best 1 % | 5 % | 10 % | mean change | steps, CPU |")
    print("|---|---|---|---|---|---|---|")
    first: list[Placement] = []
    for name in chosen.arms:
        began = time.process_time()
        spec = train_arm(name, chosen, path, len(learnt))
        steps = max(len(learnt) // spec.batch_of(len(learnt)), 1) * spec.loop.epochs
        told = f"{steps}, {time.process_time() - began:.0f} s"
        found = placements(str(spec.out), areas)
        first = first or found
        report(name, found, first, told)
    found = placements("sandbox", areas)
    report("sandbox, as shipped", found, first or found, "")


if __name__ == "__main__":
    main()
