"""Pairs of small images whose place, split and content are all different."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from geoloc.pairs import Pair, Split, write_pairs

SPLITS: tuple[Split, ...] = ("train", "train", "test", "train", "valid", "train")


def picture(seed: int, width: int = 48, height: int = 40) -> Image.Image:
    """Coarse noise of its own: no two look alike, no turn or flip leaves one as it is."""
    cells = np.random.default_rng(seed).integers(0, 255, (5, 6, 3), dtype=np.uint8)
    return Image.fromarray(cells).resize((width, height), Image.Resampling.NEAREST)


def write_pair_images(folder: Path, count: int = 6, *, apart: float = 0.5) -> tuple[Pair, ...]:
    """``count`` pairs in ``folder``, ``apart`` degrees from each other, and ``pairs.csv``."""
    (folder / "photos").mkdir(parents=True, exist_ok=True)
    (folder / "chips").mkdir(exist_ok=True)
    pairs = []
    for n in range(count):
        photo, chip = folder / "photos" / f"{n}.jpg", folder / "chips" / f"{n}.png"
        picture(n).save(photo, quality=95)
        picture(1000 + n, 32, 32).save(chip)
        place = (30.0 + apart * n, 50.25 - apart * n)
        pairs.append(Pair(photo, chip, place, SPLITS[n % 6], "", 10.0 * n, f"2024-01-{n + 1:02d}"))
    write_pairs(pairs, folder / "pairs.csv")
    return tuple(pairs)
