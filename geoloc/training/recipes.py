"""Recipes: the fields of a training that belong together, by name.

``default``    a small network with ImageNet weights, trained whole and dense-native; its loss
               regresses to the teacher's vectors and contrasts pairs in both directions
``head``       only a head on a frozen trunk: minutes without a GPU, for a few thousand pairs
``head-dense`` the same on the network of ``default``, dense-native: its cubes take minutes too
``study``      the study's own training; ``study-low``: at half its resolution
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .augment import Augmentation
from .loop import LoopSpec
from .photo_views import PhotoViews
from .student import LossSpec
from .study import HIGH, LOW

_STUDY: Mapping[str, Any] = {
    "arch": "densenet161",
    "method": "patch",
    "patch_px": 224,
    "chip_px": HIGH.resize,
    "augment": HIGH,
    "loss": LossSpec(kind="l2", photos=1),
    "batch": 64,
    "metric": "none",
    "from_mean": False,
    "select": "loss",
    "loop": LoopSpec(epochs=20, lr=1e-4, clip=None),
}

_DEFAULT: Mapping[str, Any] = {
    "arch": "place_lite0_tuned",
    "method": "dense",
    "patch_px": 128,
    "pool_px": 16,
    "stride": 8,
    "augment": Augmentation(),
    "loss": LossSpec(kind="l2+infonce", photos=1, contrast=1.0, scale=6.0),
    "batch": 128,
    "batches": 16,
    "hard": 0.25,
    "photo_views": PhotoViews(count=4),
    "metric": "none",
    "select": "retrieval",
    "loop": LoopSpec(
        epochs=30, lr=3e-4, schedule="cosine", warmup=0.05, weight_decay=0.05, ema=0.999
    ),
}

RECIPES: Mapping[str, Mapping[str, Any]] = {
    "default": _DEFAULT,
    "head": {},
    "head-dense": {**_DEFAULT, "arch": "place_lite0"},
    "study": _STUDY,
    "study-low": {**_STUDY, "chip_px": LOW.resize, "augment": LOW},
}
"""Fields of `train.TrainSpec`; what a recipe does not name has its default there."""
