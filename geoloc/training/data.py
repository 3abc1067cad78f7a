"""Training data of a student: overhead chips, and the teacher's vectors of the photos."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ..errors import OutputError
from ..files.whole import whole_file
from ..pairs.stored import Stored

Pixels = NDArray[np.uint8]
Rows = NDArray[np.int64]
IN_MEMORY = 1 << 30
"""Bytes up to which the chips of a split are decoded once and kept; more are read when needed."""
_THREADS = 8


class Chips(Protocol):
    """Overhead images of one size."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Rows | slice) -> Pixels:
        """Images ``(n, 3, side, side)``."""

    def digest(self) -> str:
        """SHA-256 of what they hold."""


class ArrayChips:
    """Chips in memory ``(n, 3, side, side)``."""

    def __init__(self, pixels: Pixels) -> None:
        self._pixels = pixels

    def __len__(self) -> int:
        return len(self._pixels)

    def __getitem__(self, rows: Rows | slice) -> Pixels:
        return self._pixels[rows]

    def digest(self) -> str:
        """See `Chips`."""
        return hashlib.sha256(np.ascontiguousarray(self._pixels).data).hexdigest()


class StoredChips:
    """Chips in files or shards, decoded when they are needed."""

    def __init__(self, images: Sequence[Stored], side: int) -> None:
        self._images, self._side = images, side

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, rows: Rows | slice) -> Pixels:
        index = np.arange(len(self._images))[rows]
        with ThreadPoolExecutor(_THREADS) as pool:
            read = pool.map(lambda i: decode_chip(self._images[i], self._side), index.tolist())
            return np.stack(list(read))

    def digest(self) -> str:
        """See `Chips`; of the files' bytes."""
        whole = hashlib.sha256(str(self._side).encode())
        with ThreadPoolExecutor(_THREADS) as pool:
            for digest in pool.map(Stored.sha256, self._images):
                whole.update(digest.encode())
        return whole.hexdigest()


@dataclass(frozen=True)
class PairData:
    """Chips with the photos that they may be paired with.

    targets: float32 ``(photo, feature)``, the teacher's vectors; photos_of: for each chip the rows
    of ``targets`` that belong to it; groups: int ``(chip,)``, chips of one group are never each
    other's negatives; views: float32 ``(photo, view, feature)``, the teacher's vectors of parts of
    each photo, the first that of the whole, or None.
    """

    chips: Chips
    targets: NDArray[np.float32]
    photos_of: tuple[Rows, ...]
    groups: Rows
    views: NDArray[np.float32] | None = None

    @property
    def photos(self) -> Rows:
        """Rows of ``targets`` that occur with any of these chips."""
        return np.unique(np.concatenate(self.photos_of))

    @property
    def own(self) -> Rows | None:
        """``(photo,)``: the chip of each of ``photos`` where that is one alone; None where photos
        and chips belong together by groups."""
        members = np.concatenate(self.photos_of)
        once = len(members) == len(np.unique(members))
        if not once or len(np.unique(self.groups)) < len(self.groups):
            return None
        chips = np.repeat(np.arange(len(self.photos_of)), [len(rows) for rows in self.photos_of])
        return np.asarray(chips[np.argsort(members)])

    def relevant(self) -> NDArray[np.bool_]:
        """``(photo, chip)``: whether the chip's group is one of the photo's groups."""
        members = np.zeros((len(self.targets), self.groups.max() + 1), dtype=bool)
        for group, rows in zip(self.groups, self.photos_of, strict=True):
            members[rows, group] = True
        return members[self.photos][:, self.groups]

    def draw(self, index: Rows, count: int, rng: np.random.Generator) -> Tensor:
        """For each chip the mean vector of ``count`` of its photos, drawn with replacement, each
        by one of its views."""
        rows = np.stack([rng.choice(self.photos_of[i], count) for i in index])
        if self.views is None:
            return torch.from_numpy(self.targets[rows].mean(axis=1))
        seen = rng.integers(self.views.shape[1], size=rows.shape)
        return torch.from_numpy(self.views[rows, seen].mean(axis=1))

    def middle(self, index: Rows) -> NDArray[np.float32]:
        """``(chip, feature)``: the mean vector of each chip's photos."""
        return np.stack([self.targets[self.photos_of[i]].mean(axis=0) for i in index])


def assemble(
    rows: Iterable[tuple[Stored, str, int]], targets: NDArray[np.float32], size: int
) -> PairData:
    """Pairs of a chip, its group (or ""), and the row of its photo among ``targets``.

    ``targets``: ``(photo, feature)``, or ``(photo, view, feature)``. Without groups each chip is
    its own. Raises PhotoError for a chip that is not an image.
    """
    chips: dict[tuple[Stored, str], int] = {}
    names: dict[object, int] = {}
    groups: list[int] = []
    members: dict[int, set[int]] = {}
    for chip, group_name, photo in rows:
        if (chip, group_name) not in chips:
            chips[chip, group_name] = len(chips)
            groups.append(names.setdefault(group_name or chip, len(names)))
        group = groups[chips[chip, group_name]]
        members.setdefault(group, set()).add(photo)
    sorted_rows = {group: np.array(sorted(photos)) for group, photos in members.items()}
    whole = targets if targets.ndim == 2 else np.ascontiguousarray(targets[:, 0])
    return PairData(
        chips=open_chips([chip for chip, _ in chips], size),
        targets=whole,
        photos_of=tuple(sorted_rows[group] for group in groups),
        groups=np.array(groups),
        views=None if targets.ndim == 2 else targets,
    )


def open_chips(images: Sequence[Stored], side: int) -> Chips:
    """In memory if they fit there."""
    stored = StoredChips(images, side)
    if len(images) * 3 * side * side > IN_MEMORY:
        return stored
    return ArrayChips(stored[:])


def decode_chip(image: Stored, side: int) -> Pixels:
    """An image stretched to ``(3, side, side)`` RGB. Raises PhotoError."""
    picture = Image.fromarray(image.pixels())
    small = picture.resize((side, side), Image.Resampling.BILINEAR)
    return np.ascontiguousarray(np.asarray(small).transpose(2, 0, 1))


def fingerprint(*parts: object) -> str:
    """A short digest of the inputs of a cached file."""
    return hashlib.sha256("\n".join(str(part) for part in parts).encode()).hexdigest()[:16]


def save_array(path: Path, array: NDArray[Any]) -> None:
    """Save an array as .npy, whole or not at all, even if the process is killed.

    Raises OutputError.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path, alone=True) as part:
            np.save(part, array)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror})") from error
