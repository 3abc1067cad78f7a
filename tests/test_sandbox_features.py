"""Features of worlds lie where the places are, however the imagery is turned."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from geoloc.encoders.formats.lite import NORMALIZATION
from geoloc.encoders.formats.lite0 import PhotoLite0, PlaceLite0
from geoloc.encoders.preprocess import as_square
from geoloc.sandbox.features import (
    _SIDES,
    SPARES,
    _turned,
    join,
    load_features,
    photo_features,
    world_features,
)
from geoloc.sandbox.scene import LANDUSE
from geoloc.sandbox.training_data import (
    GSD,
    KEPT_PX,
    MARGIN_PX,
    PHOTO_PX,
    TrainingWorld,
    save_arrays,
)


def world(side: int = 256) -> TrainingWorld:
    rng = np.random.default_rng(3)
    shares = rng.dirichlet(np.ones(len(LANDUSE)), 3).astype(np.float32)
    return TrainingWorld(
        photos=rng.integers(0, 255, (3, 3, KEPT_PX, KEPT_PX), np.uint8),
        visible=shares,
        around=shares[::-1].copy(),
        at=np.array([4, 0, 7]),
        places=np.array([[15.0, 40.0], [70.0, 100.0], [140.0, 22.0]]),
        mosaics=rng.integers(0, 255, (2, 3, side, side), np.uint8),
    )


@pytest.mark.parametrize(("turns", "mirrored"), [(0, False), (1, False), (2, True), (3, True)])
def test_places_turn_with_the_imagery(turns: int, mirrored: bool) -> None:
    image = np.zeros((30, 30))
    image[4, 11] = 1
    shown = np.rot90(image[:, ::-1] if mirrored else image, turns)
    rows, cols = _turned(np.array([[4, 11]]), 30, turns, mirrored)
    assert shown[int(rows[0]), int(cols[0])] == 1


def test_features_are_those_that_are_served(tmp_path: Path) -> None:
    torch.manual_seed(0)
    photo_net, place_net = PhotoLite0(20).eval(), PlaceLite0(20).eval()
    made = world()
    with torch.inference_mode():
        data = world_features(made, 5, photo_net, place_net)
    assert data.places.shape == (3, len(_SIDES), PlaceLite0.FEATURES)
    assert data.spares.shape == (SPARES, len(_SIDES), PlaceLite0.FEATURES)
    assert data.labels.sum(axis=1) == pytest.approx(1, abs=1e-3)
    for spot, (x, y) in zip(data.spots, made.places, strict=True):
        assert tuple(spot) == (5, int(y / GSD) + MARGIN_PX, int(x / GSD) + MARGIN_PX)
    save_arrays(data, tmp_path / "features.npz")
    both = join([load_features(tmp_path / "features.npz"), data])
    assert np.array_equal(both.photos[:3], both.photos[3:])


def test_photos_are_seen_as_large_as_they_are_served_mirrored_and_upside_down() -> None:
    net = PhotoLite0(20).eval()
    rows, cols = np.mgrid[:KEPT_PX, :KEPT_PX] / KEPT_PX
    kept = np.stack([255 * rows, 255 * cols**2, 128 + 99 * np.sin(9 * cols)]).astype(np.uint8)
    small = as_square(kept.transpose(1, 2, 0), PHOTO_PX).float() / 255
    with torch.inference_mode():
        seen, mirrored, turned = (
            photo_features(p[None].copy(), net, 1)
            for p in (kept, kept[:, :, ::-1], np.rot90(kept, 2, (1, 2)))
        )
        served = net.features((small[None] - NORMALIZATION[0][0]) / NORMALIZATION[1][0]).numpy()
    assert np.abs(seen[0, 0] - served[0]).mean() < 0.2 * np.abs(seen[0, 0] - seen[0, 1]).mean()
    assert seen[0, 1] == pytest.approx(mirrored[0, 0], abs=0.02)
    assert seen[0, 3] == pytest.approx(turned[0, 0], abs=0.02)
    assert np.abs(seen[0, 3] - seen[0, 0]).mean() > np.abs(seen[0, 1] - seen[0, 0]).mean()
