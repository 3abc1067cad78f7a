"""Pairs, a teacher and a training in miniature, for the tests of `geoloc.training`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from geoloc.encoders.formats.networks import build_network, weights_bytes
from geoloc.models.model import write_model
from geoloc.pairs import Pair, Split, pair_classes, write_pairs
from geoloc.training import TrainSpec

COLORS = {"Farm": (190, 170, 60), "Lake": (30, 60, 120), "Wood": (20, 90, 30)}
ARCH = "shufflenet_v2_x0_5"
DIM = 5


def class_pairs(folder: Path, count: int) -> Path:
    """Three classes of noisy colours, so many photos and chips each."""
    rng = np.random.default_rng(0)
    for name, color in COLORS.items():
        for side in ("ground", "over"):
            classes = folder / side / name
            classes.mkdir(parents=True)
            for i in range(count):
                pixels = np.clip(rng.normal(color, 25, (48, 48, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(classes / f"{i}.png")
    table = folder / "classes.csv"
    rows = "".join(f"{name},{name}\n" for name in COLORS)
    table.write_text("overhead_class,ground_classes\n" + rows)
    made = pair_classes(table, folder / "ground", folder / "over", seed=1)
    return write_pairs(made, folder / "pairs.csv")


def place_pairs(folder: Path, train: int = 12, held_out: int = 6) -> Path:
    """Places, each of a colour of its own that its photo and its chip share."""
    rng = np.random.default_rng(1)
    folder.mkdir(parents=True, exist_ok=True)
    splits: list[Split] = ["train"] * train
    splits += ["valid"] * held_out
    splits += ["test"] * held_out
    pairs = []
    for number, split in enumerate(splits):
        color = rng.integers(20, 235, 3)
        files = []
        for side, shape in (("photo", (36, 60, 3)), ("chip", (64, 64, 3))):
            pixels = np.clip(rng.normal(color, 40, shape), 0, 255).astype(np.uint8)
            files.append(folder / f"{side}-{number:03d}.png")
            Image.fromarray(pixels).save(files[-1])
        pairs.append(Pair(files[0], files[1], None, split))
    return write_pairs(pairs, folder / "pairs.csv")


def write_teacher(folder: Path) -> Path:
    """An untrained ground network with large logits: a fixed function of colour will do.

    Its normalisations have seen plain colours, or its vectors would hardly differ.
    """
    torch.manual_seed(3)
    network = build_network(ARCH, DIM)
    with torch.no_grad():
        for _ in range(30):
            network(
                torch.rand(32, 3, 1, 1).expand(-1, -1, 32, 32) + 0.1 * torch.randn(32, 3, 32, 32)
            )
        network.fc.weight.mul_(5)
    ground = {
        "format": "torchvision",
        "arch": ARCH,
        "weights": "ground.safetensors",
        "input_px": 32,
    }
    spec = {"name": "teacher", "classes": list("abcde"), "dim": DIM, "ground": ground}
    files = {"ground.safetensors": weights_bytes(network)}
    return write_model(folder, spec, files).path


def spec_of(pairs: Path, teacher: Path, out: Path, **changes: object) -> TrainSpec:
    """A network of a third of a million parameters, dense-native, for a few epochs."""
    values = {
        "pairs": pairs, "teacher": str(teacher), "out": out, "arch": ARCH, "patch_px": 64,
        "pool_px": 32, "stride": 16, "batch": 12,
        "loss": {"kind": "l2+infonce", "photos": 4}, "metric": "none",
        "loop": {"epochs": 6, "lr": 3e-3, "schedule": "cosine"},
    }  # fmt: skip
    return TrainSpec.model_validate(values | changes)
