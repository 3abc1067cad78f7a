"""Everything before the first step of a training: the data, the teacher's vectors, the network."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import UsageError
from ..files.whole import file_sha256
from ..models.load import load_model
from ..models.model import Model
from ..pairs import Split
from .data import PairData
from .engine import Engine, OneProcess
from .frozen import FROZEN, FrozenTrunk, frozen_body
from .initial import initial_file
from .learners import Learner, WholeNetwork
from .loop import Watch, fit
from .machine import Machine
from .material import Stages, load_splits
from .spec import TrainSpec, run_folder
from .student import StudentTask, Views, within_group_metric
from .study import StudyWindows

_BESIDES = ("name", "recipe", "gsd", "loop")
"""Fields that change nothing of the training, and those that the loop compares itself."""


@dataclass(frozen=True)
class Training:
    """A training that is ready to begin; ``identity``: what a run must agree in to go on."""

    spec: TrainSpec
    teacher: Model
    splits: Mapping[Split, PairData]
    metric: NDArray[np.float32] | None
    learner: Learner
    task: StudentTask
    identity: Mapping[str, str]

    def fit(self, engine: Engine, watch: Watch | None = None) -> dict[str, float]:
        """Train, or go on; the figures of the best epoch."""
        run, task = run_folder(self.spec), self.task
        best = fit(task, self.spec.loop, run, identity=self.identity, engine=engine, watch=watch)
        task.attach(task.net, OneProcess(device=engine.device))  # the others are gone
        return best


def prepare(spec: TrainSpec, machine: Machine, stages: Stages) -> Training:
    """Everything before the first step: the teacher's vectors, the data, the network."""
    teacher = load_model(spec.teacher)
    device = torch.device(machine.kind())
    splits = load_splits(spec.pairs, teacher, spec.photo_views, spec.side, device, stages)
    return assemble_training(spec, teacher, splits, device)


def assemble_training(
    spec: TrainSpec, teacher: Model, splits: Mapping[Split, PairData], device: torch.device
) -> Training:
    """Of data that is there: the network and what is trained of it."""
    train = splits["train"]
    init = initial_file(spec.init) if spec.init else None
    metric = within_group_metric(train) if spec.metric == "within-group" else None
    torch.manual_seed(spec.loop.seed)  # here, as a cached teacher draws no random numbers
    learner = learner_of(spec, teacher.dim, init, device)
    task = learner.task(
        train, splits.get("valid", train), loss=spec.loss, seed=spec.loop.seed,
        batch=spec.batch_of(len(train.groups)), metric=metric, hard=spec.hard,
        accumulate=spec.loop.accumulate, select=spec.select,
    )  # fmt: skip
    identity = {
        "specification": json.dumps({k: v for k, v in spec.told().items() if k not in _BESIDES}),
        "data": ", ".join(f"{name} {_digest(data)}" for name, data in splits.items()),
        "teacher": teacher.digest,
        "initial weights": file_sha256(init) if init else "",
    }
    return Training(spec, teacher, splits, metric, learner, task, identity)


def learner_of(spec: TrainSpec, dim: int, init: Path | None, device: torch.device) -> Learner:
    """The student. Raises UsageError for fields that do not go together, ModelError for an
    architecture that cannot be trained so."""
    size, views = spec.patch_px, spec.augment
    _require_fitting(spec)
    if spec.arch in FROZEN:
        if init is not None:
            raise UsageError(f"arch {spec.arch} has a frozen trunk: init needs another")
        body = frozen_body(
            spec.arch, dim, hidden=spec.hidden, dropout=spec.dropout,
            dense=spec.method == "dense", window=(spec.stride, spec.pool_px),
        )  # fmt: skip
        return FrozenTrunk(
            spec.arch, body, run_folder(spec), size=size, views=spec.views, augment=views,
            seed=spec.loop.seed, device=device,
        )  # fmt: skip
    pool = spec.pool_px if spec.method == "dense" else None
    return WholeNetwork(
        spec.arch, dim, size=size, pool=pool, stride=spec.stride, augment=views, init=init,
        from_mean=spec.from_mean,
    )  # fmt: skip


def _require_fitting(spec: TrainSpec) -> None:
    views: Views = spec.augment
    if spec.side < spec.patch_px:
        raise UsageError(f"chip_px {spec.side} is below patch_px {spec.patch_px}")
    if not isinstance(views, StudyWindows):
        return
    sizes = (spec.side, views.crop, views.middle)
    if views.resize != spec.side or not sizes[0] >= sizes[1] >= sizes[2]:
        raise UsageError(
            f"augment: chip_px {spec.side} must be resize {views.resize}, and not below crop "
            f"{views.crop}, nor that below middle {views.middle}"
        )


def _digest(data: PairData) -> str:
    """Of everything in a split."""
    whole = hashlib.sha256(data.chips.digest().encode())
    for rows in data.photos_of:
        whole.update(rows.tobytes())
    for array in (data.targets, data.groups, data.views):
        if array is not None:
            whole.update(np.ascontiguousarray(array).data)
    return whole.hexdigest()[:16]
