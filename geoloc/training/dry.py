"""``geoloc train --dry-run``: everything that a training needs, tried on a few pairs in a minute.

Pairs and their images are read, the teacher and the student run, a batch is learnt, a validation
made, a checkpoint written and read, a model written. It takes place in a temporary folder beside
the model's, so that it is that disk which is tried, and nothing of it stays.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from ..encoders.ground import open_ground
from ..errors import OutputError
from ..models.load import load_model
from ..models.model import Model
from ..models.store import refuse_other_folder
from ..pairs import Split
from .frozen import FROZEN
from .loop import LAST, Watch
from .machine import FabricEngine, Machine
from .material import Material, read_material, require_one_split
from .preparing import Training, assemble_training
from .spec import TrainSpec, run_folder
from .writing import write_student

T = TypeVar("T")

_BATCH = 8
"""Pairs of the batch that is tried: of a large network one of 256 would take minutes on a CPU."""


@dataclass(frozen=True)
class DryRun:
    """What was found. ``pairs``: by split; ``input``: shape of a batch; ``steps``: of the whole
    training. Estimates: ``prepare_seconds`` of the teacher's vectors (as if none were kept) and a
    frozen trunk's features, ``step_seconds``, ``validation_seconds`` of one validation, and
    ``disk_bytes`` of all files, where ``free_bytes`` are free."""

    pairs: dict[Split, int]
    photos: int
    input: tuple[int, int, int, int]
    dim: int
    parameters: int
    device: str
    processes: int
    steps: int
    epochs: int
    prepare_seconds: float
    step_seconds: float
    validation_seconds: float
    disk_bytes: int
    free_bytes: int

    @property
    def hours(self) -> float:
        """Of the whole training."""
        training = self.step_seconds * self.steps + self.validation_seconds * self.epochs
        return (self.prepare_seconds + training) / 3600

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return {**asdict(self), "hours": round(self.hours, 4)}

    def __str__(self) -> str:
        counts = ", ".join(f"{count:,} {name}" for name, count in self.pairs.items())
        return (
            f"pairs: {counts}; batches {self.input} to {self.dim} features; {self.parameters:,} "
            f"parameters on {self.device}; {self.steps:,} steps of {self.step_seconds:.2g} s, "
            f"about {self.hours:.2g} h in all; {self.disk_bytes / 1e6:,.0f} MB of "
            f"{self.free_bytes / 1e6:,.0f} MB free"
        )


def dry_run(spec: TrainSpec, machine: Machine) -> DryRun:
    """Try a training. Raises what that would raise: UsageError, ModelError, PhotoError, and
    OutputError, also where the disk has too little space."""
    machine.check(spec.loop.precision)
    refuse_other_folder(spec.out)
    teacher, material = load_model(spec.teacher), read_material(spec.pairs)
    require_one_split(material)
    parent = next(folder for folder in spec.out.absolute().parents if folder.is_dir())
    try:
        with tempfile.TemporaryDirectory(prefix=".geoloc-dry-run-", dir=parent) as folder:
            found = _try(spec, machine, teacher, material, Path(folder))
    except OSError as error:
        raise OutputError(f"{parent}: cannot be written ({error.strerror})") from None
    if found.disk_bytes > found.free_bytes:
        raise OutputError(
            f"{parent} has {found.free_bytes / 1e6:,.0f} MB free, and the training needs "
            f"{found.disk_bytes / 1e6:,.0f} MB: free some or name another --out"
        )
    return found


def _try(
    spec: TrainSpec, machine: Machine, teacher: Model, material: Material, folder: Path
) -> DryRun:
    parts = spec.loop.accumulate
    batch = min(spec.batch, -(-_BATCH // parts) * parts)
    small = spec.model_copy(update={
        "out": folder / "model", "batch": batch, "batches": 1, "views": min(spec.views, 2),
        "loop": spec.loop.model_copy(update={"epochs": 2}),
    })  # fmt: skip
    few, counts = _few(material, batch), _counts(material)
    device = torch.device(machine.kind())
    targets, encoding = _timed(lambda: _targets(small, teacher, few, device))
    splits = {name: few.of(name, targets, spec.side) for name in few.splits}
    training, preparing = _timed(lambda: assemble_training(small, teacher, splits, device))
    engine = FabricEngine(machine, spec.loop.precision)
    stepping, validating = _train(training, engine)
    write_student(training, None)
    trained, usual = len(splits["train"].chips), spec.batch_of(counts["train"])
    frozen = preparing / trained / small.views * spec.views if spec.arch in FROZEN else 0.0
    valid: Split = "valid" if "valid" in counts else "train"
    return DryRun(
        pairs=counts,
        photos=len(material.photos),
        input=(usual, 3, spec.patch_px, spec.patch_px),
        dim=teacher.dim,
        parameters=sum(p.numel() for p in training.task.net.parameters()),
        device=str(engine.device),
        processes=machine.processes(),
        steps=max(counts["train"] // usual, 1) * spec.loop.epochs,
        epochs=spec.loop.epochs,
        prepare_seconds=encoding / len(few.photos) * len(material.photos)
        + frozen * counts["train"],
        step_seconds=stepping / training.task.batch * min(usual, counts["train"]),
        validation_seconds=validating / len(splits[valid].chips) * counts[valid],
        disk_bytes=_disk(spec, small, counts["train"]),
        free_bytes=shutil.disk_usage(folder).free,
    )


def _train(training: Training, engine: FabricEngine) -> tuple[float, float]:
    """Two steps, each with a validation and a checkpoint, which is read; seconds of the second
    step and validation, since the first of each warms up."""
    moments: list[float] = []

    def note(*_: object) -> None:
        moments.append(time.perf_counter())

    training.fit(engine, Watch(epoch=note, step=note))
    training.fit(engine)
    _, first, step, validation = moments[:4]
    return step - first, validation - step


def _few(material: Material, batch: int) -> Material:
    """The first pairs of each split: a batch of them, with their photos alone."""
    rows = [
        row for split in material.splits
        for row in [row for row in material.rows if row.split == split][:batch]
    ]  # fmt: skip
    photos = list(dict.fromkeys(row.photo for row in rows))
    at = {photo: number for number, photo in enumerate(photos)}
    return Material(
        tuple(material.photos[photo] for photo in photos),
        tuple(replace(row, photo=at[row.photo]) for row in rows),
    )


def _counts(material: Material) -> dict[Split, int]:
    return {name: sum(row.split == name for row in material.rows) for name in material.splits}


def _targets(
    spec: TrainSpec, teacher: Model, few: Material, device: torch.device
) -> NDArray[np.float32]:
    """The teacher's vectors, which are not kept."""
    encode, views = open_ground(teacher, str(device)).encode, spec.photo_views
    vectors = views.encode(encode, [photo.pixels() for photo in few.photos])
    return vectors.reshape(len(few.photos), views.count, -1) if views.count > 1 else vectors


def _disk(spec: TrainSpec, small: TrainSpec, pairs: int) -> int:
    """Bytes of the checkpoints (and of one that is being written), the model and a frozen trunk's
    features."""
    run = run_folder(small)
    found = sum(f.stat().st_size for f in run.parent.rglob("*") if f.is_file())
    return found + (run / LAST).stat().st_size + _features(run, small, pairs * spec.views)


def _features(run: Path, small: TrainSpec, views: int) -> int:
    """Bytes of the features of so many views, by those of the few."""
    kept = [path.stat().st_size for path in run.glob("features-*.npy")]
    rows = small.batch * len(kept)
    return sum(kept) * views // rows if rows else 0


def _timed(work: Callable[[], T]) -> tuple[T, float]:
    began = time.perf_counter()
    return work(), time.perf_counter() - began
