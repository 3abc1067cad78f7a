"""Class-level pairs: folders of photos and of overhead images, one a class, and a mapping."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from ..errors import UsageError
from .file import Pair, Split
from .table import read_rows

IMAGE_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".heic", ".avif")
)

_MAPPED = ("overhead_class", "ground_classes")


def pair_classes(
    mapping: str | Path,
    ground: str | Path,
    overhead: str | Path,
    *,
    seed: int = 0,
    holdout: float = 0.2,
    valid: float = 0.1,
) -> tuple[Pair, ...]:
    """Class-level pairs of two folders of class folders, by a CSV that maps their names.

    ``mapping`` has the columns ``overhead_class`` and ``ground_classes`` (names separated by
    ``|``); the group of a row is its overhead class. Within each class the share ``holdout``
    of the chips, and of the photos, becomes the split "test", and ``valid`` of the rest
    "valid", by a seeded shuffle: no file is in two splits. Every file of a mapped class occurs
    at least once. A photo class that serves two overhead classes is split once.
    Raises UsageError for a missing folder or column.
    """
    rng = random.Random(seed)
    table = read_class_mapping(mapping)
    photo_classes = sorted({name for names in table.values() for name in names})
    photos = {name: _deal(Path(ground) / name, rng, holdout, valid) for name in photo_classes}
    pairs: list[Pair] = []
    for group in sorted(table):
        chips = _deal(Path(overhead) / group, rng, holdout, valid)
        for split in get_args(Split):
            pool = [photo for name in table[group] for photo in photos[name][split]]
            pairs += _zip_longest(chips[split], pool, split, group, rng)
    return tuple(pairs)


def read_class_mapping(path: str | Path) -> dict[str, tuple[str, ...]]:
    """The ground classes of each overhead class: columns ``overhead_class``, ``ground_classes``.

    Names of ground classes are separated by ``|``. Rows of the same overhead class are joined;
    columns more, such as ``strength``, are passed over. Any table that `read_rows` reads. Raises
    UsageError for a file without these columns, or without classes.
    """
    path = Path(path)
    table: dict[str, dict[str, None]] = {}
    for row in read_rows(path):
        if not set(_MAPPED) <= set(row.cells):
            raise UsageError(f"{path}: needs the columns {', '.join(_MAPPED)}")
        above, grounds = (row.cells[name] for name in _MAPPED)
        names = (name.strip() for name in grounds.split("|"))
        table.setdefault(above, {}).update(dict.fromkeys(filter(None, names)))
    found = {name: tuple(classes) for name, classes in table.items() if name and classes}
    if not found:
        raise UsageError(f"{path}: names no classes: write {','.join(_MAPPED)} and rows")
    return found


def class_images(folder: Path) -> list[Path]:
    """The image files of a class folder, by name; hidden ones are passed over."""
    return sorted(
        file
        for file in folder.iterdir()
        if file.suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith(".")
    )


def _deal(
    folder: Path, rng: random.Random, holdout: float, valid: float
) -> dict[Split, list[Path]]:
    """The images of a folder, shuffled and dealt to the three splits."""
    if not folder.is_dir():
        raise UsageError(f"{folder} does not exist: check the class mapping")
    files = class_images(folder)
    rng.shuffle(files)
    tests = round(len(files) * holdout)
    valids = tests + round((len(files) - tests) * valid)
    return {"test": files[:tests], "valid": files[tests:valids], "train": files[valids:]}


def _zip_longest(
    chips: Sequence[Path], photos: Sequence[Path], split: Split, group: str, rng: random.Random
) -> list[Pair]:
    """Rows that use every chip and every photo at least once; the shorter list is repeated."""
    if not chips or not photos:
        return []
    shuffled = rng.sample(list(photos), len(photos))
    return [
        Pair(shuffled[i % len(shuffled)], chips[i % len(chips)], None, split, group)
        for i in range(max(len(chips), len(photos)))
    ]
