"""``geoloc train``: from pairs and a teacher to a model directory."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from ..errors import UsageError
from ..files.whole import file_sha256
from ..models.load import load_model
from ..models.model import Model
from ..models.store import refuse_other_folder
from ..pairs import Split
from .augment import Augmentation
from .data import PairData
from .engine import Engine, OneProcess
from .initial import initial_file
from .learners import FROZEN, FrozenTrunk, Learner, WholeNetwork
from .loop import LoopSpec, Progress, Watch, fit
from .machine import Machine
from .material import Stages, load_splits, no_stages
from .photo_views import PhotoViews
from .processes import joined
from .retrieval import Retrieval
from .student import LossSpec, StudentTask, Views, within_group_metric
from .study import StudyWindows
from .writing import write_student

_BESIDES = ("name", "recipe", "gsd", "loop")
"""Fields that change nothing of the training, and those that the loop compares itself."""


class TrainSpec(BaseModel):
    """Everything that determines the result of a training; `recipes` has sets of its fields.

    ``pairs``: a pairs file, or a folder of shards. ``arch``: `FROZEN` (patch method, exported as
    ONNX) or a network that is trained whole: ``method`` dense, of ``patch_px`` the central
    ``pool_px`` are pooled and the rest is context; ``method`` patch, the network as it is.
    ``chip_px``: to which overhead images are stretched before windows are cut of them; null:
    ``patch_px``. ``init``: a file of initial weights, or a model with such a photo network.
    ``gsd``: smallest, preferred and largest m/px of the imagery it will be used on.
    ``hard``: share of a batch that is chosen for photos that are alike. ``photo_views``: views of
    each photo that are shown. ``select``: by what the best epoch is chosen.
    ``metric``: "within-group" gives the model the teacher's inverse within-group covariance as
    its distance; it suits ``l2`` and harms contrastive students.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    pairs: Path
    teacher: str
    out: Path
    name: str = Field(default="student", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    recipe: str = ""
    arch: str = FROZEN
    method: Literal["dense", "patch"] = "dense"
    patch_px: int = Field(default=160, ge=32, le=1024)
    chip_px: int | None = Field(default=None, ge=32, le=4096)
    pool_px: int = Field(default=96, ge=8)
    stride: int = Field(default=32, ge=4, le=32)
    init: str | None = None
    gsd: tuple[float, float, float] = (1.0, 1.6, 4.0)
    hidden: int = Field(default=512, ge=8)
    dropout: float = Field(default=0.3, ge=0, lt=1)
    views: int = Field(default=6, ge=1, description="views of each chip for a frozen trunk")
    batch: int = Field(default=256, ge=2)
    loss: LossSpec = LossSpec(kind="l2", photos=16)
    augment: Augmentation | StudyWindows = Augmentation()
    photo_views: PhotoViews = PhotoViews()
    hard: float = Field(default=0.0, ge=0, le=1)
    from_mean: bool = Field(default=True, description="begin near the teacher's mean vector")
    select: Literal["retrieval", "loss"] = "retrieval"
    metric: Literal["none", "within-group"] = "within-group"
    loop: LoopSpec = LoopSpec(epochs=60, lr=1e-3, schedule="cosine", weight_decay=1e-4)

    @property
    def side(self) -> int:
        """px to which chips are stretched."""
        return self.chip_px or self.patch_px

    def told(self) -> dict[str, Any]:
        """What the result depends on besides the data, JSON types."""
        return self.model_dump(mode="json", exclude={"pairs", "out", "teacher", "init"})


@dataclass(frozen=True)
class Trained:
    """The model directory, and its figures on the split "test" (None if that is empty)."""

    path: Path
    figures: Retrieval | None

    def test_json(self) -> dict[str, float] | None:
        """The figures, for JSON."""
        return self.figures.to_json() if self.figures else None


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


def run_folder(spec: TrainSpec) -> Path:
    """Where a run keeps its checkpoints, caches and logs: ``<out>.run``."""
    return spec.out.with_name(spec.out.name + ".run")


def train_student(
    spec: TrainSpec,
    progress: Progress | None = None,
    *,
    machine: Machine | None = None,
    stages: Stages = no_stages,
) -> Trained:
    """Train a student of ``spec.teacher`` and write a model directory to ``spec.out``.

    The folder ``<out>.run`` keeps checkpoints, caches and metrics; called again with the same
    specification and data, the training resumes. ``machine``: devices and processes. ``progress``:
    called after each epoch; ``stages``: with a title, then with how far that stage is. Raises
    UsageError for unusable pairs, ModelError for an unusable teacher, SpecMismatchError for a run
    of another specification or data.
    """
    machine = machine or Machine()
    machine.check_precision(spec.loop.precision)
    refuse_other_folder(spec.out)
    training = prepare(spec, machine, stages)
    step = stages(f"training {spec.out.name}")
    watch = Watch(
        progress,
        lambda done, of, loss: step(done, of, f"loss {loss:.4g}"),
        every=60 * machine.checkpoint_minutes,
        events=True,
    )
    with joined(machine, spec.loop.precision, spec.model_dump_json()) as engine:
        training.fit(engine, watch)
    return finish(training)


def share_training(spec: TrainSpec, machine: Machine, join: Callable[[], Engine]) -> None:
    """What another process does: the same, but that it writes nothing."""
    training = prepare(spec, machine, no_stages)
    watch = Watch(every=60 * machine.checkpoint_minutes)
    training.fit(join(), watch)


def finish(training: Training) -> Trained:
    """Measure the student and write its model directory."""
    test = training.splits.get("test")
    figures = training.task.measure(test) if test is not None else None
    write_student(training, figures)
    return Trained(training.spec.out, figures)


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
        train, splits.get("valid", train), loss=spec.loss, batch=spec.batch, seed=spec.loop.seed,
        metric=metric, hard=spec.hard, accumulate=spec.loop.accumulate, select=spec.select,
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
    if spec.arch == FROZEN:
        if init is not None or isinstance(views, StudyWindows):
            raise UsageError(
                f"arch {FROZEN} has a frozen trunk: init and study windows need another"
            )
        return FrozenTrunk(
            dim, run_folder(spec), size=size, hidden=spec.hidden, dropout=spec.dropout,
            views=spec.views, augment=views, seed=spec.loop.seed, device=device,
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
