"""Tiny models with seeded random weights, for the tests of the encoders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from geoloc.encoders.formats.networks import build_network, weights_bytes
from geoloc.models.model import Model, write_model

CLASSES = ("abbey", "airfield", "alley", "beach", "bridge")


def spec(**overhead: Any) -> dict[str, Any]:
    """A specification for ``write_model``; keywords change its overhead section."""
    return {
        "name": "tiny",
        "classes": CLASSES,
        "dim": len(CLASSES),
        "ground": {
            "format": "torchvision",
            "arch": "shufflenet_v2_x0_5",
            "weights": "ground.safetensors",
            "input_px": 64,
        },
        "overhead": {
            "format": "torchvision",
            "arch": "shufflenet_v2_x0_5",
            "weights": "overhead.safetensors",
            "patch_px": 64,
            "gsd": (0.5, 2.0),
            "preferred_gsd": 1.0,
            **overhead,
        },
    }


def weights(arch: str, seed: int = 0) -> bytes:
    """A network whose random features are told apart by what it sees."""
    torch.manual_seed(seed)
    network = build_network(arch, len(CLASSES))
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.1, 0.1)
            torch.nn.init.uniform_(module.running_var, 0.05, 0.2)
    return weights_bytes(network)


def tiny_model(directory: Path, **overhead: Any) -> Model:
    """Write a tiny model; ``arch`` and the other keywords change its overhead network."""
    raw = spec(**overhead)
    files = {
        "ground.safetensors": weights("shufflenet_v2_x0_5", 1),
        "overhead.safetensors": weights(raw["overhead"]["arch"], 2),
    }
    return write_model(directory, raw, files)


def dense_section(
    stride: int = 16, pool_px: int = 32, halo_px: int | None = None
) -> dict[str, Any]:
    """The fields that make the tiny model dense-native."""
    dense = {"stride": stride, "pool_px": pool_px, "halo_px": halo_px}
    return {"methods": ("dense", "patch"), "dense": dense}


def imagery(ny: int, nx: int, seed: int = 0) -> NDArray[np.uint8]:
    """Smooth asymmetric pixels ``(3, y, x)``: no flip or shift leaves them as they are."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:ny, 0:nx].astype(np.float64)
    waves = [np.sin(x / 11 + c) + np.sin(y / 7 + x / 40) + 0.004 * (x + 2 * y) for c in range(3)]
    noisy = np.stack(waves) * 40 + 110 + rng.normal(0, 12, (3, ny, nx))
    return np.asarray(noisy.clip(0, 255), dtype=np.uint8)
