"""Both encoders learnt together, in miniature: coloured places and photos of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from geoloc.encoders.networks import build_dense, build_network
from geoloc.encoders.spec import IMAGENET_MEAN, IMAGENET_STD
from geoloc.training.augment import Augmentation
from geoloc.training.crossview import CrossViewSpec, CrossViewTask, Duo, PlaceData
from geoloc.training.loop import LoopSpec, fit

COLORS = np.array([[200, 40, 40], [40, 180, 60], [50, 70, 210], [210, 200, 60]])
ARCH, SIZE, POOL, TILE = "shufflenet_v2_x0_5", 64, 32, 80


def places(seed: int, photos: int = 48) -> PlaceData:
    """A chequered mosaic of four colours; a photo shows its place's colour, unevenly lit."""
    rng = np.random.default_rng(seed)
    classes = rng.permutation(np.arange(36) % 4).reshape(6, 6)
    flat = COLORS[np.kron(classes, np.ones((TILE, TILE), int))].transpose(2, 0, 1)
    mosaic = np.clip(flat + rng.normal(0, 12, flat.shape), 0, 255).astype(np.uint8)
    tiles = rng.integers(1, 5, size=(2 * photos, 2))
    spots = np.column_stack([np.zeros(2 * photos, int), tiles * TILE + TILE // 2])
    kinds = classes[tiles[:photos, 0], tiles[:photos, 1]]
    shown = COLORS[kinds][:, :, None, None] * rng.uniform(0.7, 1, (photos, 1, 32, 32))
    labels = np.eye(4, dtype=np.float32)[kinds]
    return PlaceData(
        photos=shown.astype(np.uint8),
        labels=labels,
        place_labels=labels,
        mosaics=[mosaic[None]],
        spots=spots[:photos],
        spares=spots[photos:],
    )


def task(spec: CrossViewSpec) -> CrossViewTask:
    torch.manual_seed(0)
    net = Duo(build_network(ARCH, 4), build_dense(ARCH, 4, 16, POOL))
    calm = Augmentation(rotate=5, saturation=0.05, tint=0.01, haze=0.05)
    return CrossViewTask(
        net, places(1), places(2),
        spec=spec, size=SIZE, pool=POOL, batch=16, seed=0,
        chip_augment=calm, photo_augment=calm, normalize=(IMAGENET_MEAN, IMAGENET_STD),
    )  # fmt: skip


def test_photos_find_places_of_their_kind(tmp_path: Path) -> None:
    learning = task(CrossViewSpec(apart_px=TILE / 2))
    after = fit(learning, LoopSpec(epochs=14, lr=5e-3, schedule="cosine"), tmp_path)
    assert after["median_percentile"] < 25  # a quarter of the places has the photo's colour
    assert after["photo_accuracy"] > 75


def test_a_frozen_teacher_does_not_move(tmp_path: Path) -> None:
    learning = task(CrossViewSpec(train_ground=False, place_weight=0))
    before = {key: value.clone() for key, value in learning.net.ground.state_dict().items()}
    seen = learning.net.overhead.network.fc.weight.detach().clone()
    fit(learning, LoopSpec(epochs=1, lr=1e-3), tmp_path)
    after = learning.net.ground.state_dict()
    assert all(torch.equal(value, after[key]) for key, value in before.items())
    assert not torch.equal(seen, learning.net.overhead.network.fc.weight)
