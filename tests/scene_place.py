"""An area of three models with names of their own: what one knows another may not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from geoloc.cube import Cube
from geoloc.domain import Grid
from geoloc.models import Model
from geoloc.models.model import write_model
from tests.cubes import grid_of, write_cube
from tests.encoder_models import spec, weights

NY, NX = 20, 26
CLASSES = {
    "one": ("abbey", "beach", "stadium-soccer", "bridge", "alley"),
    "two": ("beach", "stadium-baseball", "field", "harbor", "bridge"),
    "three": ("orchard", "quarry", "harbor", "marsh", "bridge"),
}
WEIGHTS = {"one": 1.0, "two": 3.0, "three": 2.0}
SPREAD = {"one": 1.0, "two": 4.0, "three": 2.5}  # of logits: their probabilities differ in size


@dataclass(frozen=True)
class ScenePlace:
    """A folder with the models and a cube of each."""

    folder: Path
    grid: Grid
    models: dict[str, Model]

    def distances(self, name: str, scene: str) -> NDArray[np.float64]:
        return naive_distances(str(self.folder / f"{name}.zarr"), scene)

    def area(self, folder: Path, *names: str, **changes: Any) -> Path:
        """An area file of these models, by default all; keywords replace its keys."""
        values = {
            "name": "testville", "crs": self.grid.crs, "bounds": list(self.grid.bounds),
            "step": self.grid.step, "imagery": {"kind": "geotiff", "paths": ["none.tif"]},
            "models": [self.entry(name) for name in names or self.models], "cube": "cube.zarr",
        }  # fmt: skip
        folder.mkdir(exist_ok=True)
        path = folder / "area.yaml"
        path.write_text(yaml.safe_dump(values | changes))
        return path

    def entry(self, name: str, **changes: Any) -> dict[str, Any]:
        """What an area file says of one of the models."""
        cube = str(self.folder / f"{name}.zarr")
        named = {"model": str(self.models[name].path), "cube": cube, "weight": WEIGHTS[name]}
        return named | changes


def write_scene_place(folder: Path, known: Mapping[str, tuple[str, ...]] = CLASSES) -> ScenePlace:
    """Models and cubes; each model's vectors are its logits, some places are missing.

    ``known``: their scene classes.
    """
    models, grid = dict[str, Model](), grid_of(NY, NX)
    files = {
        "ground.safetensors": weights("shufflenet_v2_x0_5", 1),
        "overhead.safetensors": weights("shufflenet_v2_x0_5", 2),
    }
    for seed, (name, classes) in enumerate(known.items()):
        made = write_model(
            folder / "models" / name, {**spec(), "classes": classes, "dim": len(classes)}, files
        )
        rng = np.random.default_rng(seed)
        features = rng.normal(0, SPREAD[name], (NY, NX, len(classes))).astype(np.float32)
        features[:, seed] = np.nan
        write_cube(
            folder / f"{name}.zarr", features,
            classes=classes, model_name=name, model_digest=made.digest,
        )  # fmt: skip
        models[name] = made
    return ScenePlace(folder, grid, models)


@cache
def naive_distances(url: str, scene: str) -> NDArray[np.float64]:
    """``-log p(scene | cell)`` of each cell, one by one."""
    cube = Cube.open(url)
    found = np.full(cube.grid.shape, np.nan)
    for row, col in np.ndindex(*cube.grid.shape):
        vector = cube.vector(row, col)
        if vector is not None:
            logits = np.asarray(cube.features.logits(vector), np.float64)
            total = logits.max() + np.log(np.exp(logits - logits.max()).sum())
            found[row, col] = total - logits[cube.features.names.index(scene)]
    return found


def naive_scores(maps: list[NDArray[np.float64]], shares: list[float]) -> NDArray[np.float64]:
    """The weighted mean of z-scores among the places of each map."""
    z = [(one - np.nanmean(one)) / np.nanstd(one) for one in maps]
    total = sum(share * one for share, one in zip(shares, z, strict=True))
    return np.asarray(total) / sum(shares)
