"""What a training is made of: pairs from a file or from shards, and the teacher's vectors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from ..encoders.ground import open_ground
from ..errors import PhotoError, UsageError
from ..evaluation.vectors import image_vectors
from ..models.model import Model
from ..pairs import Split
from ..pairs.checking import NEAR_M
from ..pairs.splitting import near_any
from ..pairs.stored import Stored, stored_pairs
from .data import PairData, assemble, fingerprint
from .photo_views import PhotoViews

F32 = NDArray[np.float32]


class Advance(Protocol):
    """How far a stage is; ``told``: a word on it."""

    def __call__(self, done: float, total: int, told: str = "") -> None: ...


Stages = Callable[[str], Advance]
"""Begins a stage of the work by its title."""


def no_stages(_title: str) -> Advance:
    """For nobody who watches."""
    return lambda _done, _total, _told="": None


@dataclass(frozen=True)
class Row:
    """A pair: its photo's row, its chip, its split, its group or "", and its place, degrees."""

    photo: int
    chip: Stored
    split: Split
    group: str
    lonlat: tuple[float, float] | None = None


@dataclass(frozen=True)
class Material:
    """Every photo once, and the pairs."""

    photos: tuple[Stored, ...]
    rows: tuple[Row, ...]

    @property
    def splits(self) -> list[Split]:
        """Those that occur; always "train"."""
        return ["train", *sorted({row.split for row in self.rows} - {"train"})]

    def of(self, split: Split, targets: F32, side: int) -> PairData:
        """The data of a split. Raises UsageError if that has no pairs."""
        chosen = [(row.chip, row.group, row.photo) for row in self.rows if row.split == split]
        if not chosen:
            raise UsageError(f"no pairs of the split {split!r}: fill the column split")
        return assemble(chosen, targets, side)


def read_material(pairs: Path) -> Material:
    """The pairs of a pairs file, or of a folder of shards (or one shard, or their index).

    Raises UsageError or GeolocError, one line, for what is missing, cut or without images.
    """
    photos: dict[Stored, int] = {}
    rows = []
    for pair in stored_pairs(pairs):
        photo = photos.setdefault(pair.ground, len(photos))
        rows.append(Row(photo, pair.overhead, pair.split, pair.group, pair.lonlat))
    return Material(tuple(photos), tuple(rows))


def load_splits(
    pairs: Path, teacher: Model, views: PhotoViews, side: int, device: torch.device, stages: Stages
) -> Mapping[Split, PairData]:
    """The data of every split that occurs, and always "train", which must not be empty."""
    material = read_material(pairs)
    require_one_split(material)
    targets = teacher_vectors(teacher, material.photos, views, device, stages)
    return {name: material.of(name, targets, side) for name in material.splits}


def require_one_split(material: Material) -> None:
    """Raise UsageError for a photo, a chip or a place in two splits: figures would lie."""
    seen: dict[object, Split] = {}
    for row in material.rows:
        for image in (material.photos[row.photo], row.chip):
            if seen.setdefault(image, row.split) != row.split:
                raise UsageError(
                    f"{image} is in the splits {seen[image]} and {row.split}: split by place, "
                    "so that nothing is learnt and tested at once"
                )
    _require_places_apart(material.rows)


def _require_places_apart(rows: Sequence[Row]) -> None:
    """Raise UsageError where a place of one split is that of another."""
    placed = [row for row in rows if row.lonlat is not None]
    lonlat = np.array([row.lonlat for row in placed], np.float64).reshape(-1, 2)
    splits = np.array([row.split for row in placed], dtype=object)
    for split in ("valid", "test"):
        mine = splits == split
        near = np.flatnonzero(mine)[near_any(lonlat[mine], lonlat[~mine], NEAR_M)]
        if len(near):
            raise UsageError(
                f"{placed[near[0]].chip}: its place is less than {NEAR_M:g} m from one of another "
                f"split than {split} ({len(near)} such pairs): 'geoloc pairs check' lists them, "
                "'geoloc pairs import table … --split place' splits by place"
            )


def teacher_vectors(
    teacher: Model,
    photos: Sequence[Stored],
    views: PhotoViews,
    device: torch.device,
    stages: Stages = no_stages,
) -> F32:
    """The teacher's vectors ``(photo, feature)``, or ``(photo, view, feature)`` of several views.

    They are computed once and kept by what a photo holds, not by its name (`evaluation.vectors`),
    part by part: a run that was killed goes on, and the next training of this teacher has them.
    Raises PhotoError for a photo that cannot be read.
    """
    several = views.count > 1
    name = f"{teacher.digest[:24]}-ground"
    if several:
        name += f"-{fingerprint(views.model_dump_json())}"

    def opened() -> Callable[[Sequence[NDArray[np.uint8]]], F32]:
        encode = open_ground(teacher, str(device)).encode
        return (lambda images: views.encode(encode, images)) if several else encode

    dim = teacher.dim * views.count
    vectors, failures = image_vectors(photos, name, dim, opened, stages("the teacher's vectors"))
    for row, reason in failures.items():
        raise PhotoError(f"{reason} ({len(failures)} such photos, the first is {photos[row]})")
    odd = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(odd):
        raise PhotoError(f"{photos[odd[0]]}: the teacher's vector of it is not a number")
    return vectors.reshape(len(photos), views.count, -1) if several else vectors
