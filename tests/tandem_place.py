"""Photos of cells whose vectors two models know, each with errors of its own; and an area file
that names both models."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from PIL import Image
from pyproj import Transformer

from geoloc.domain import Grid
from geoloc.encoders import open_ground
from geoloc.models import Model
from geoloc.photos import read_photo
from tests.cubes import grid_of, write_cube
from tests.encoder_models import CLASSES, imagery, tiny_model

NY, NX = 40, 50
PHOTOS = 24
NAMES = ("one", "two")
ERROR = 0.6  # of a model's own vectors at the true cells, in units of their spread


@dataclass(frozen=True)
class World:
    folder: Path
    cubes: tuple[str, str]
    cells: tuple[tuple[int, int], ...]
    grid: Grid
    features: tuple[NDArray[np.float32], ...]
    models: tuple[Model, ...]

    @property
    def photos(self) -> list[Path]:
        return [self.folder / f"{number:02}.png" for number in range(PHOTOS)]

    def area(self, folder: Path, **changes: Any) -> Path:
        """An area file of both models in ``folder``; keywords replace its keys."""
        models = [
            {"model": str(model.path), "cube": cube, "weight": 1 + number}
            for number, (model, cube) in enumerate(zip(self.models, self.cubes, strict=True))
        ]
        values = {
            "name": "testville", "crs": self.grid.crs, "bounds": list(self.grid.bounds),
            "step": self.grid.step, "imagery": {"kind": "geotiff", "paths": ["none.tif"]},
            "models": models, "cube": "cube.zarr",
        }  # fmt: skip
        path = folder / "area.yaml"
        path.write_text(yaml.safe_dump(values | changes))
        return path


def write_world(folder: Path) -> World:
    """Photos, two models and their cubes, and ``truth.csv``."""
    for number in range(PHOTOS):
        pixels = imagery(40, 60, number)
        shade = np.clip(pixels * (0.4 + number / PHOTOS), 0, 255).astype(np.uint8)
        Image.fromarray(shade.transpose(1, 2, 0)).save(folder / f"{number:02}.png")
    rng = np.random.default_rng(2)
    cells = tuple((int(rng.integers(NY)), int(rng.integers(NX))) for _ in range(PHOTOS))
    grid, cubes, known, models = grid_of(NY, NX), [], [], []
    for seed, name in enumerate(NAMES):
        model = tiny_model(folder / "models" / name, preferred_gsd=1.0 + seed / 10)
        pixels = [read_photo(folder / f"{n:02}.png").pixels for n in range(PHOTOS)]
        vectors = open_ground(model, "cpu").encode(pixels)
        own = np.random.default_rng(10 + seed)
        spread = vectors.std(axis=0)
        features = vectors.mean(axis=0) + own.normal(0, 1, (NY, NX, len(CLASSES))) * spread
        for vector, cell in zip(vectors, cells, strict=True):
            features[cell] = vector + ERROR * own.normal(0, 1, len(CLASSES)) * spread
        known.append(features.astype(np.float32))
        models.append(model)
        cubes.append(str(folder / f"{name}.zarr"))
        write_cube(
            cubes[-1], known[-1], classes=CLASSES, model_name=name, model_digest=model.digest
        )
    _write_truth(folder / "truth.csv", grid, cells)
    return World(folder, (cubes[0], cubes[1]), cells, grid, tuple(known), tuple(models))


def _write_truth(path: Path, grid: Grid, cells: tuple[tuple[int, int], ...]) -> None:
    to_degrees = Transformer.from_crs(grid.crs, 4326, always_xy=True)
    lines = ["file,lon,lat"]
    for number, (row, col) in enumerate(cells):
        lon, lat = to_degrees.transform(grid.x[col], grid.y[row])
        lines.append(f"{number:02}.png,{lon:.7f},{lat:.7f}")
    path.write_text("\n".join(lines) + "\n")
