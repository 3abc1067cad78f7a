"""The command that made the shipped weights, and the one that measures them.

    python -m geoloc.sandbox.recipe train --work DIR         resumable; rendering takes 80 min
    python -m geoloc.sandbox.recipe evaluate --seeds 1-5     worlds that were never trained on
    python -m geoloc.sandbox.recipe evaluate --seeds 2001 --km 1 --photos 120 --keep
                                                             made the shipped figures.json

Worlds with the seeds `TRAIN_SEEDS` and `VALID_SEEDS` were seen; all others are unseen.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pyproj import Transformer

from ..area import load_area
from ..cube import Cube
from ..domain import Grid
from ..encoders.figures import PairFigures, write_figures
from ..encoders.formats.lite import NORMALIZATION
from ..encoders.formats.lite0 import PhotoLite0, PlaceLite0
from ..encoders.formats.networks import weights_bytes
from ..encoders.ground import open_ground
from ..evaluation import Placement, Truth, place, read_truth, summarize
from ..jobs.build import build_cube
from ..models.load import load_model
from ..models.model import SHIPPED, Model, write_model
from ..models.quantizer import code_range_of
from ..photos import read_photo
from ..search import Heatmaps, Query, reduce_scan
from ..training.crossview import CrossViewSpec, CrossViewTask, Duo, PlaceData
from ..training.loop import Epoch, LoopSpec, fit
from .features import join, load_features, world_features
from .scene import LANDUSE
from .training_data import GSD, PHOTO_PX, load_training_world, save_arrays
from .write import write_sandbox

TRAIN_SEEDS = range(1000, 1041)
VALID_SEEDS = (2000, 2002)
KM, PHOTOS = 3.0, 400
GROUND_ARCH, OVERHEAD_ARCH = "photo_lite0", "place_lite0"
PATCH_PX = 128
LOOP = LoopSpec(epochs=60, lr=1e-3, schedule="cosine", weight_decay=0.05)
LOSS = CrossViewSpec(contrast=3.0, spares=4.0, photo_views=(0.32, 0.32, 0.31, 0.05))
BATCH = 256


def train(work: Path, out: Path) -> Model:
    """Make the shipped model anew: worlds, their features, then both heads together."""
    torch.manual_seed(0)
    ground, overhead = PhotoLite0(len(LANDUSE)).eval(), PlaceLite0(len(LANDUSE)).eval()
    learning = _features(TRAIN_SEEDS, work, ground, overhead)
    holdout = _features(VALID_SEEDS, work, ground, overhead)
    ground.head.standardise(_rows(learning.photos))
    overhead.head.standardise(_rows(learning.places))
    task = CrossViewTask(
        Duo(ground.head, overhead.head), learning, holdout,
        spec=LOSS, batch=BATCH, seed=0,
    )  # fmt: skip
    worlds = f"{[*TRAIN_SEEDS]}, {[*VALID_SEEDS]} of {KM:g} km, {PHOTOS} photos each"
    known = {"loss": LOSS.model_dump_json(), "worlds": worlds}
    figures = fit(task, LOOP, work / "heads", say, known)
    with torch.inference_mode():
        vectors = overhead.head(_rows(learning.places)).numpy()
    return export(ground, overhead, out, figures, code_range_of(vectors))


def _features(
    seeds: Iterable[int], work: Path, ground: PhotoLite0, overhead: PlaceLite0
) -> PlaceData:
    """Features of the worlds of these seeds, rendered and computed once, kept in ``work``."""
    parts = []
    for seed in seeds:
        path = work / "features" / f"world-{seed}.npz"
        if not path.exists():
            world = load_training_world(seed, KM, PHOTOS, work / "worlds")
            with torch.inference_mode():
                save_arrays(world_features(world, seed, ground, overhead), path)
        parts.append(load_features(path))
        print(f"world {seed}", flush=True)
    return join(parts)


def _rows(features: NDArray[np.float16]) -> torch.Tensor:
    return torch.from_numpy(features.reshape(-1, features.shape[-1]).astype(np.float32))


def export(
    ground: PhotoLite0,
    overhead: PlaceLite0,
    out: Path,
    figures: Mapping[str, float],
    code_range: tuple[float, float],
) -> Model:
    """Write the model directory, weights in half precision."""
    mean, std = NORMALIZATION
    network = {"format": "torchvision", "mean": mean, "std": std}
    spec: dict[str, Any] = {
        "name": "sandbox",
        "classes": LANDUSE,
        "dim": len(LANDUSE),
        "ground": {
            **network,
            "arch": GROUND_ARCH,
            "weights": "ground.safetensors",
            "input_px": PHOTO_PX,
        },
        "overhead": {
            **network,
            "arch": OVERHEAD_ARCH,
            "weights": "overhead.safetensors",
            "patch_px": PATCH_PX,
            "gsd": (0.9 * GSD, 1.1 * GSD),
            "preferred_gsd": GSD,
            "methods": ("dense", "patch"),
            "dense": {"stride": PlaceLite0.STRIDE, "pool_px": PlaceLite0.POOL},
        },
        "code_range": code_range,
        "training": {
            "command": "python -m geoloc.sandbox.recipe train",
            "trunk": "EfficientNet-Lite0, ImageNet weights (Apache-2.0), stages 1 to 5, frozen",
            "train_seeds": [TRAIN_SEEDS.start, TRAIN_SEEDS.stop - 1],
            "valid_seeds": list(VALID_SEEDS),
            "photos_per_world": PHOTOS,
            "km": KM,
            "loop": LOOP.model_dump(mode="json"),
            "loss": LOSS.model_dump(mode="json"),
            "validation": {key: round(value, 4) for key, value in figures.items()},
        },
    }
    files = {
        "ground.safetensors": weights_bytes(ground, half=True),
        "overhead.safetensors": weights_bytes(overhead, half=True),
    }
    return write_model(out, json.loads(json.dumps(spec)), files)


def say(epoch: Epoch) -> None:
    """One line an epoch."""
    figures = " ".join(f"{name} {value:.2f}" for name, value in epoch.figures.items())
    mark = " *" if epoch.best else ""
    print(
        f"{epoch.task} {epoch.number}/{epoch.of} loss {epoch.loss:.3f} {figures} "
        f"{epoch.seconds:.0f} s{mark}",
        flush=True,
    )


@dataclass(frozen=True)
class WorldFigures:
    """How one unseen world went: by distance of vectors, and by the naive baseline; distances of
    the photos to their own places (NaN where those are missing)."""

    seed: int
    placements: tuple[Placement | None, ...]
    naive: tuple[Placement | None, ...]
    distances: tuple[float, ...]


def evaluate(seed: int, km: float, photos: int, model: str, work: Path) -> WorldFigures:
    """The whole job on one world: files, cube, photos; then where the true cells rank.

    The baseline calls a cell near if the class that the student names there is the one that
    the teacher names on the photo; equal cells share the middle of their ranks.
    """
    folder = work / f"world-{seed}"
    write_sandbox(folder, seed=seed, km=km, photos=photos)
    shutil.rmtree(folder / "cube.zarr", ignore_errors=True)
    area = load_area(folder / "area.yaml").model_copy(update={"model": model})
    build_cube(area, cluster="inline").raise_if_incomplete()
    cube = Cube.open(area.cube)
    truths = read_truth(folder / "photos" / "truth.csv")
    encoder = open_ground(load_model(model))
    pixels = [read_photo(folder / "photos" / truth.file).pixels for truth in truths]
    vectors = encoder.encode(pixels)
    cells = [_cell(cube.grid, truth) for truth in truths]
    stored = reduce_scan(cube, Query(vectors), Heatmaps.of(cube.grid, len(vectors)))
    near = [heatmap[:] for heatmap in stored]
    classes = _classes(cube)
    placements, naive = [], []
    for truth, cell, vector, heat in zip(truths, cells, vectors, near, strict=True):
        other = np.where(np.isnan(heat), np.nan, classes != vector.argmax())
        placements.append(place(truth.file, heat, cell))
        naive.append(place(truth.file, other, cell, ties="middle"))
    distances = tuple(float(heat[cell]) for heat, cell in zip(near, cells, strict=True))
    return WorldFigures(seed, tuple(placements), tuple(naive), distances)


def pair_figures(worlds: Sequence[WorldFigures]) -> PairFigures:
    """What the distance of a photo to a place can be judged by."""
    distances = np.array([d for world in worlds for d in world.distances])
    seeds = ", ".join(str(world.seed) for world in worlds)
    return PairFigures.of(distances[np.isfinite(distances)], f"sandbox worlds of seeds {seeds}")


def _cell(grid: Grid, truth: Truth) -> tuple[int, int]:
    x, y = Transformer.from_crs("EPSG:4326", grid.crs, always_xy=True).transform(
        truth.lon, truth.lat
    )
    cell = grid.index(x, y)
    assert cell is not None, f"{truth.file} lies outside the world"
    return cell


def _classes(cube: Cube) -> NDArray[np.int64]:
    """The class with the largest logit in each cell ``(y, x)``."""
    codes = cube.read(slice(0, cube.grid.ny), slice(0, cube.grid.nx))
    return np.asarray(cube.features.decode(codes).argmax(axis=2))


def report(worlds: Sequence[WorldFigures]) -> None:
    """Print figures per world and overall."""
    for world in worlds:
        print(f"seed {world.seed}: {summarize(world.placements)}")
        print(f"    naive: {summarize(world.naive)}", flush=True)
    if len(worlds) > 1:
        print(f"all: {summarize([p for world in worlds for p in world.placements])}")
        print(f"    naive: {summarize([p for world in worlds for p in world.naive])}")


def _seeds(text: str) -> list[int]:
    first, _, last = text.partition("-")
    return list(range(int(first), int(last or first) + 1))


def main(arguments: Sequence[str] | None = None) -> None:
    """The two commands."""
    parser = argparse.ArgumentParser(prog="python -m geoloc.sandbox.recipe")
    commands = parser.add_subparsers(dest="command", required=True)
    training = commands.add_parser("train", help="make the shipped weights anew; resumable")
    training.add_argument("--work", type=Path, default=Path("work"), help="worlds, checkpoints")
    training.add_argument("--out", type=Path, default=SHIPPED, help="the model directory")
    measuring = commands.add_parser("evaluate", help="figures on unseen worlds")
    measuring.add_argument("--seeds", type=_seeds, default=_seeds("1-5"), help="as 1-5")
    measuring.add_argument("--km", type=float, default=KM)
    measuring.add_argument("--photos", type=int, default=40, help="photos per world")
    measuring.add_argument("--model", default=str(SHIPPED))
    measuring.add_argument("--keep", action="store_true", help="put figures.json beside the model")
    measuring.add_argument("--work", type=Path, default=Path("work"), help="where worlds are kept")
    chosen = parser.parse_args(arguments)
    if chosen.command == "train":
        print(f"model {train(chosen.work, chosen.out).digest}")
        return
    seen = set(TRAIN_SEEDS) | set(VALID_SEEDS)
    if seen & set(chosen.seeds):
        parser.error(f"seeds {sorted(seen & set(chosen.seeds))} were trained on: take others")
    worlds = []
    for seed in chosen.seeds:
        worlds.append(evaluate(seed, chosen.km, chosen.photos, chosen.model, chosen.work))
        report(worlds[-1:])
    report(worlds)
    if chosen.keep:
        write_figures(Path(chosen.model), pair_figures(worlds))


if __name__ == "__main__":
    main()
