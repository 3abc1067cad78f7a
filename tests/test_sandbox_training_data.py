"""What the sandbox model learns from: painted worlds are worlds, places are where they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from geoloc.domain import Grid
from geoloc.encoders.preprocess import fill_missing
from geoloc.models.load import load_model
from geoloc.sandbox.painted import PaintedWorld
from geoloc.sandbox.scene import LANDUSE
from geoloc.sandbox.training_data import (
    _MISSING,
    GSD,
    KEPT_PX,
    MARGIN_PX,
    load_training_world,
)
from geoloc.sandbox.world import World


@pytest.fixture(scope="module")
def painted() -> PaintedWorld:
    return PaintedWorld(11, 0.1)


def test_a_painted_world_is_the_world(painted: PaintedWorld) -> None:
    left, _, _, top = painted.bounds
    for step, ny, nx in ((0.5, 40, 70), (2.0, 30, 20), (1.0, 8, 9)):
        window = Grid(painted.crs, left + 16.0, top - 24.0, step, ny, nx)
        cut, whole = painted.rasterize(window), World(11, 0.1).rasterize(window)
        assert cut.grid == window
        for name in ("terrain", "top", "base", "material", "landuse", "color", "building"):
            assert np.array_equal(getattr(cut, name), getattr(whole, name)), (step, name)


@pytest.mark.slow
def test_training_worlds_are_kept_and_point_at_their_places(tmp_path: Path) -> None:
    world = load_training_world(12, 0.6, 6, tmp_path)
    again = load_training_world(12, 0.6, 6, tmp_path)
    assert np.array_equal(world.photos, again.photos)
    assert world.photos.shape == (6, 3, KEPT_PX, KEPT_PX)
    assert world.around.sum(axis=1) == pytest.approx(1, abs=1e-4)
    assert world.mosaics.shape[-1] == round(600 / GSD) + 2 * MARGIN_PX
    assert world.visible.shape == (6, len(LANDUSE))


def test_missing_imagery_looks_as_it_does_when_it_is_served() -> None:
    spec = load_model("sandbox").spec.overhead
    assert spec is not None
    filled = fill_missing(np.zeros((3, 1, 1), np.uint8), np.zeros((1, 1), np.bool_), spec)
    assert tuple(filled[:, 0, 0]) == _MISSING
