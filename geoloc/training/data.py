"""Training data of a student: overhead chips, and the teacher's vectors of the photos."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ..errors import PhotoError, UsageError
from ..files.whole import whole_file
from ..pairs import Pair, Split

Chips = NDArray[np.uint8]


@dataclass(frozen=True)
class PairData:
    """Chips with the photos that they may be paired with.

    chips: uint8 ``(chip, 3, h, w)``; targets: float32 ``(photo, feature)``, the teacher's
    vectors; photos_of: for each chip the rows of ``targets`` that belong to it; photos: the
    rows of ``targets`` that occur here; groups: int ``(chip,)``, chips of one group are never
    each other's negatives; photo_groups: for each of ``photos`` the groups it belongs to.
    """

    chips: Chips
    targets: NDArray[np.float32]
    photos_of: tuple[NDArray[np.int64], ...]
    groups: NDArray[np.int64]

    @property
    def photos(self) -> NDArray[np.int64]:
        """Rows of ``targets`` that occur with any of these chips."""
        return np.unique(np.concatenate(self.photos_of))

    def relevant(self) -> NDArray[np.bool_]:
        """``(photo, chip)``: whether the chip's group is one of the photo's groups."""
        members = np.zeros((len(self.targets), self.groups.max() + 1), dtype=bool)
        for group, rows in zip(self.groups, self.photos_of, strict=True):
            members[rows, group] = True
        return members[self.photos][:, self.groups]

    def draw(self, index: NDArray[np.int64], count: int, rng: np.random.Generator) -> Tensor:
        """For each chip the mean vector of ``count`` of its photos, drawn with replacement."""
        rows = np.stack([rng.choice(self.photos_of[i], count) for i in index])
        return torch.from_numpy(self.targets[rows].mean(axis=1))


def unique_photos(pairs: Sequence[Pair]) -> tuple[Path, ...]:
    """Every photo once, in the order of their first row."""
    return tuple(dict.fromkeys(pair.photo for pair in pairs))


def pair_data(
    pairs: Sequence[Pair], split: Split, targets: NDArray[np.float32], size: int
) -> PairData:
    """The rows of one split; ``targets`` has a row for each of `unique_photos(pairs)`.

    In a pairs file without groups each chip is its own group. Raises UsageError if the split is
    empty, PhotoError for a chip that is not an image.
    """
    row_of = {photo: row for row, photo in enumerate(unique_photos(pairs))}
    chosen = [pair for pair in pairs if pair.split == split]
    if not chosen:
        raise UsageError(f"no pairs of the split {split!r}: fill the column split")
    chips: dict[tuple[Path, str], int] = {}
    names: dict[str, int] = {}
    groups: list[int] = []
    members: dict[int, set[int]] = {}
    for pair in chosen:
        chip = _chip_path(pair)
        if (chip, pair.group) not in chips:
            chips[chip, pair.group] = len(chips)
            groups.append(names.setdefault(pair.group or str(chip), len(names)))
        group = groups[chips[chip, pair.group]]
        members.setdefault(group, set()).add(row_of[pair.photo])
    rows = {group: np.array(sorted(photos)) for group, photos in members.items()}
    return PairData(
        chips=np.stack([read_chip(path, size) for path, _ in chips]),
        targets=targets,
        photos_of=tuple(rows[group] for group in groups),
        groups=np.array(groups),
    )


def _chip_path(pair: Pair) -> Path:
    if pair.overhead is None:
        raise UsageError(
            f"{pair.photo.name}: pairs by lon, lat need chips cut first: give the column overhead"
        )
    return pair.overhead


def read_chip(path: Path, size: int) -> Chips:
    """An image file stretched to ``(3, size, size)`` RGB."""
    try:
        with Image.open(path) as image:
            small = image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR)
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise PhotoError(f"{path}: cannot be read as an image ({error})") from error
    return np.ascontiguousarray(np.asarray(small).transpose(2, 0, 1))


def fingerprint(*parts: object) -> str:
    """A short digest of the inputs of a cached file."""
    return hashlib.sha256("\n".join(str(part) for part in parts).encode()).hexdigest()[:16]


def save_array(path: Path, array: NDArray[Any]) -> None:
    """Save an array as .npy, whole or not at all, even if the process is killed."""
    with whole_file(path, alone=True) as part:
        np.save(part, array)
