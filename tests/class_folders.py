"""Small class folders of coloured noise, for tests that train on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

ABOVE = {"Field": 1, "OldTown": 0, "Lake": 2}
BELOW = {"field-cultivated": 1, "downtown": 0, "lake-natural": 2}
PAIRS = """overhead_class,ground_classes
Field,field-cultivated
OldTown,downtown
Lake,lake-natural
"""


def write_class_folders(root: Path, images: int = 4) -> None:
    """``over/``, ``ground/`` and ``classes.csv``; a class is known by its brightest channel."""
    noise = np.random.default_rng(0)
    for side, classes in (("over", ABOVE), ("ground", BELOW)):
        for name, channel in classes.items():
            folder = root / side / name
            folder.mkdir(parents=True)
            for number in range(images):
                pixels = noise.integers(0, 80, (64, 64, 3), dtype=np.uint8)
                pixels[..., channel] += 120
                Image.fromarray(pixels).save(folder / f"{number}.png")
    (root / "classes.csv").write_text(PAIRS)
