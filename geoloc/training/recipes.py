"""Recipes: the fields of a training that belong together, by name.

``default``    a small network with ImageNet weights, trained whole and dense-native; its loss
               regresses to the teacher's vectors and contrasts pairs in both directions
``head``       only a head on a frozen trunk: minutes without a GPU, for a few thousand pairs
``head-dense`` the same on the network of ``default``, dense-native: its cubes take minutes too
``study``      the study's own training; ``study-low``: at half its resolution

Of 420 pairs of seven worlds of the sandbox, each shown 30 times to a head on the same frozen trunk
(`make recipes`): percentile of the true cell of 180 photos of three unseen worlds, chance 50, with
95 % intervals over photos.

====================================  ====================  =================  =====
recipe                                median                in the best 10 %   steps
====================================  ====================  =================  =====
study (on the network of default)     13.3 [10.0, 14.9]     43.3 [36.1, 50.0]  180
study, batches of 24                  10.6 [8.7, 11.8]      48.9 [41.7, 56.1]  510
default, batches of 128               11.0 [7.7, 12.7]      48.3 [41.1, 55.6]  90
default, patch of 96 px               7.2 [5.6, 9.1]        57.8 [50.6, 65.0]  510
default, dense-native                 8.1 [5.3, 9.5]        60.0 [52.8, 67.2]  510
====================================  ====================  =================  =====

Photo by photo, the default's mean percentile is 6.9 [5.3, 8.5] points below the study's; without
its contrast it was, of an earlier teacher, 1.9 [1.1, 2.8] points above its own. Of few pairs,
steps count most: so batches are smaller then (``batches``). Patches are as good as windows with
context, but their cubes took three times the processor time at a step of 32 m, and take more at
smaller ones. Hard negatives, views of photos and the average each made no difference that 120
photos of held-out worlds could show. Training all weights, and the study's own network, has not
been measured.
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
