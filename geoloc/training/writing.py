"""A trained student as a model directory: networks, metric, code range, figures, card."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..encoders.figures import PairFigures, write_figures
from ..errors import ModelError, OutputError
from ..files.whole import write_whole
from ..models.load import load_model
from ..models.model import Model, write_model
from ..models.quantizer import code_range_of
from ..models.store import publish
from ..models.trunks import trunk_sha256
from ..pairs import Split
from .card import CARD, card_text
from .data import ArrayChips, Chips
from .preparing import Training
from .retrieval import Retrieval, own_distances

_HELD_OUT: tuple[Split, ...] = ("test", "valid")
_RANGED = 2048  # chips whose vectors give the range of the int8 code


def write_student(training: Training, figures: Retrieval | None) -> Model:
    """Write the model directory; an existing one stays whole until it is replaced in one step.

    It holds the teacher's ground encoder, the student, the metric, the range of the student's
    vectors of training chips, the distances of held-out photos to their own places, and a card.
    """
    section, files = training.learner.export()
    spec, teacher = training.spec, training.teacher
    if spec.side != spec.patch_px:
        section["chip_px"] = spec.side
    ground = teacher.spec.ground
    contents: dict[str, Path | bytes] = {**files, ground.weights: teacher.file(ground.weights)}
    if training.metric is not None:
        contents["metric.npy"] = _npy(training.metric)
    low, preferred, high = spec.gsd
    model: dict[str, Any] = {
        "name": spec.name,
        "classes": teacher.classes,
        "dim": teacher.dim,
        "ground": ground.model_dump(mode="json"),
        "overhead": {**section, "gsd": (low, high), "preferred_gsd": preferred},
        "distance": {"metric": "metric.npy"} if training.metric is not None else {},
        "code_range": code_range_of(training.learner.predict(some(training.splits["train"].chips))),
        "training": {
            "specification": spec.told(),
            "teacher": {"name": teacher.name, "digest": teacher.digest},
            "pairs": {name: len(data.chips) for name, data in training.splits.items()},
            "test": figures.to_json() if figures else None,
        },
    }
    if spec.init:
        model["training"]["initial_weights"] = {
            "name": Path(spec.init).name, "sha256": training.identity["initial weights"],
        }  # fmt: skip
    own = {name: trunk_sha256(name) for name in training.learner.trunks}
    if trunks := {**(teacher.spec.trunks or {}), **own}:
        model["trunks"] = trunks
    extras = _beside(training, figures)
    return put_model(spec.out, json.loads(json.dumps(model)), contents, extras)


def _beside(training: Training, figures: Retrieval | None) -> dict[str, PairFigures | str]:
    """What lies in the directory and changes no vector: the card, and the figures of pairs."""
    splits = training.splits
    held_out: Split | None = next((name for name in _HELD_OUT if name in splits), None)
    extras: dict[str, PairFigures | str] = {CARD: card_text(training, figures)}
    if held_out is not None:
        data = splits[held_out]
        apart = own_distances(data, training.learner.predict(data.chips), training.metric)
        if apart is not None:
            extras["figures"] = PairFigures.of(apart, f"the split {held_out} of its pairs")
    return extras


def some(chips: Chips) -> Chips:
    """At most `_RANGED` chips, drawn at random."""
    chosen = np.random.default_rng(0).permutation(len(chips))[:_RANGED]
    return ArrayChips(chips[chosen])


def put_model(
    out: Path,
    model: dict[str, Any],
    contents: dict[str, Path | bytes],
    extras: dict[str, PairFigures | str],
) -> Model:
    """Write a model; an existing one of the same content is left as it is. Raises OutputError."""
    draft = out.with_name(f".{out.name}.draft")
    try:
        shutil.rmtree(draft, ignore_errors=True)
        draft.parent.mkdir(parents=True, exist_ok=True)
        digest = write_model(draft, model, contents).digest
        for name, content in extras.items():
            if isinstance(content, PairFigures):
                write_figures(draft, content)
            else:
                write_whole(draft / name, content)
        if digest == _digest_of(out):
            shutil.rmtree(draft)
        else:
            publish(draft, out)
    except OSError as error:
        raise OutputError(
            f"{out}: the model cannot be written ({error.strerror}): free some space and run the "
            "same command again; the training itself is kept"
        ) from None
    return load_model(out)


def _digest_of(folder: Path) -> str | None:
    try:
        return load_model(folder).digest
    except ModelError:
        return None


def _npy(array: NDArray[np.float32]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()
