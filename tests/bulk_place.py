"""A small cube with its model, for tests of bulk runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from geoloc.models import load_model
from tests.cubes import write_cube
from tests.encoder_models import CLASSES, tiny_model


@dataclass(frozen=True)
class Place:
    """A model in the store and a cube of random features."""

    folder: Path

    @property
    def cube(self) -> Path:
        return self.folder / "cube.zarr"


def make_place(folder: Path) -> Place:
    """Write both below a folder."""
    tiny_model(folder / "models" / "tiny")
    digest = load_model(folder / "models" / "tiny").digest
    features = np.random.default_rng(3).normal(0, 2, (15, 22, len(CLASSES))).astype(np.float32)
    write_cube(folder / "cube.zarr", features, classes=CLASSES, model_digest=digest)
    return Place(folder)
