"""``geoloc train``: from a pairs file and a teacher to a model directory."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from ..encoders.ground import open_ground
from ..errors import ModelError, OutputError
from ..evaluation import ClassRetrieval, evaluate_classes
from ..models.load import load_model
from ..models.model import Model, write_model
from ..models.quantizer import code_range_of
from ..models.spec import SPEC_FILE
from ..models.store import publish
from ..pairs import Split, read_pairs
from ..photos import read_photo
from .augment import Augmentation
from .data import Chips, PairData, fingerprint, pair_data, save_array, unique_photos
from .learners import FROZEN, FrozenTrunk, Learner, WholeNetwork
from .loop import LoopSpec, Progress
from .student import LossSpec, distances, within_group_metric

_PHOTOS = 16  # at once through the teacher
_RANGED = 2048  # chips whose vectors give the range of the int8 code


class TrainSpec(BaseModel):
    """Everything that determines the result of a training.

    ``arch``: `FROZEN` (patch method, exported as ONNX) or a torchvision network that is trained
    whole and dense-native: of ``patch_px`` the central ``pool_px`` are pooled.
    ``gsd``: smallest, preferred and largest m/px of the imagery it will be used on.
    ``metric``: "within-group" gives the model the teacher's inverse within-group covariance as
    its distance; it suits ``l2`` and harms contrastive students.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    pairs: Path
    teacher: str
    out: Path
    name: str = Field(default="student", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    arch: str = FROZEN
    patch_px: int = Field(default=160, ge=32, le=1024)
    pool_px: int = Field(default=96, ge=8)
    stride: int = Field(default=32, ge=4, le=32)
    gsd: tuple[float, float, float] = (1.0, 1.6, 4.0)
    hidden: int = Field(default=512, ge=8)
    dropout: float = Field(default=0.3, ge=0, lt=1)
    views: int = Field(default=6, ge=1, description="views of each chip for a frozen trunk")
    batch: int = Field(default=256, ge=2)
    loss: LossSpec = LossSpec(kind="l2", photos=16)
    augment: Augmentation = Augmentation()
    metric: Literal["none", "within-group"] = "within-group"
    loop: LoopSpec = LoopSpec(epochs=60, lr=1e-3, schedule="cosine", weight_decay=1e-4)


@dataclass(frozen=True)
class Trained:
    """The model directory, and its figures on the split "test" (None if that is empty)."""

    path: Path
    figures: ClassRetrieval | None

    def test_json(self) -> dict[str, float] | None:
        """The figures, for JSON."""
        return asdict(self.figures) if self.figures else None


def train_student(spec: TrainSpec, progress: Progress | None = None) -> Trained:
    """Train a student of ``spec.teacher`` and write a model directory to ``spec.out``.

    The folder ``<out>.run`` keeps checkpoints, caches and metrics; called again with the same
    specification, the training resumes. Raises UsageError for unusable pairs, ModelError for an
    unusable teacher, SpecMismatchError for a run of another specification.
    """
    teacher = load_model(spec.teacher)
    run = spec.out.with_name(spec.out.name + ".run")
    splits = _load(spec, teacher, run)
    training = splits["train"]
    metric = within_group_metric(training) if spec.metric == "within-group" else None
    torch.manual_seed(spec.loop.seed)  # here, as a cached teacher draws no random numbers
    learner = _learner(spec, teacher.dim, run)
    identity = fingerprint(spec.model_dump_json(), teacher.digest, training.chips.tobytes())
    learner.fit(training, splits.get("valid", training), metric, identity, progress)
    figures = _test(learner, splits.get("test"), metric)
    _write(spec, teacher, learner, metric, figures, _some(training.chips))
    return Trained(spec.out, figures)


def _load(spec: TrainSpec, teacher: Model, run: Path) -> dict[Split, PairData]:
    """The data of every split that occurs, and always "train", which must not be empty."""
    pairs = read_pairs(spec.pairs)
    targets = teacher_vectors(teacher, unique_photos(pairs), run)
    names: list[Split] = ["train", *sorted({pair.split for pair in pairs} - {"train"})]
    return {name: pair_data(pairs, name, targets, spec.patch_px) for name in names}


def teacher_vectors(teacher: Model, photos: Sequence[Path], run: Path) -> NDArray[np.float32]:
    """The teacher's vectors ``(photo, feature)``, computed once and cached in ``run``."""
    path = run / f"teacher-{fingerprint(teacher.digest, *photos)}.npy"
    if path.exists():
        cached: NDArray[np.float32] = np.load(path)
        return cached
    encoder = open_ground(teacher)
    vectors = np.concatenate(
        [
            encoder.encode([read_photo(photo).pixels for photo in photos[start : start + _PHOTOS]])
            for start in range(0, len(photos), _PHOTOS)
        ]
    )
    try:
        run.mkdir(parents=True, exist_ok=True)
        save_array(path, vectors)
    except OSError as error:
        raise OutputError(f"{run}: cannot be written ({error.strerror})") from error
    return vectors


def _learner(spec: TrainSpec, dim: int, run: Path) -> Learner:
    if spec.arch == FROZEN:
        return FrozenTrunk(
            dim, run, size=spec.patch_px, hidden=spec.hidden, dropout=spec.dropout,
            views=spec.views, augment=spec.augment, loss=spec.loss, batch=spec.batch,
            loop=spec.loop,
        )  # fmt: skip
    return WholeNetwork(
        spec.arch, dim, run, size=spec.patch_px, pool=spec.pool_px, stride=spec.stride,
        augment=spec.augment, loss=spec.loss, batch=spec.batch, loop=spec.loop,
    )  # fmt: skip


def _test(
    learner: Learner, data: PairData | None, metric: NDArray[np.float32] | None
) -> ClassRetrieval | None:
    if data is None:
        return None
    to_chips = distances(data, learner.predict(data.chips), metric)
    return evaluate_classes(to_chips, data.relevant())


def _write(
    spec: TrainSpec,
    teacher: Model,
    learner: Learner,
    metric: NDArray[np.float32] | None,
    figures: ClassRetrieval | None,
    chips: Chips,
) -> None:
    """The model directory: the teacher's ground encoder, the student, the metric, and the range
    of the student's vectors of ``chips``."""
    section, files = learner.export()
    low, preferred, high = spec.gsd
    ground = teacher.spec.ground
    contents: dict[str, Path | bytes] = {**files, ground.weights: teacher.file(ground.weights)}
    if metric is not None:
        contents["metric.npy"] = _npy(metric)
    provenance = spec.model_dump(mode="json", exclude={"pairs", "out", "teacher"})
    model: dict[str, Any] = {
        "name": spec.name,
        "classes": teacher.classes,
        "dim": teacher.dim,
        "ground": ground.model_dump(mode="json"),
        "overhead": {**section, "gsd": (low, high), "preferred_gsd": preferred},
        "distance": {"metric": "metric.npy"} if metric is not None else {},
        "code_range": code_range_of(learner.predict(chips)),
        "training": {
            "specification": provenance,
            "teacher": {"name": teacher.name, "digest": teacher.digest},
            "test": Trained(spec.out, figures).test_json(),
        },
    }
    _put(spec.out, json.loads(json.dumps(model)), contents)


def _some(chips: Chips) -> Chips:
    """At most `_RANGED` chips, drawn at random."""
    return chips[np.random.default_rng(0).permutation(len(chips))[:_RANGED]]


def _put(out: Path, model: dict[str, Any], contents: dict[str, Path | bytes]) -> None:
    """Write the model; an existing one stays whole until it is replaced in one step."""
    if not (out / SPEC_FILE).is_file():
        write_model(out, model, contents)
        return
    draft = out.with_name(f".{out.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    if write_model(draft, model, contents).digest == _digest_of(out):
        shutil.rmtree(draft)
    else:
        publish(draft, out)


def _digest_of(folder: Path) -> str | None:
    try:
        return load_model(folder).digest
    except ModelError:
        return None


def _npy(array: NDArray[np.float32]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()
