"""``geoloc train``: from pairs and a teacher to a model directory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..models.store import refuse_other_folder
from .engine import Engine
from .loop import Progress, Watch
from .machine import Machine
from .material import Stages, no_stages
from .preparing import Training, prepare
from .processes import joined
from .retrieval import Retrieval
from .spec import TrainSpec
from .writing import write_student


@dataclass(frozen=True)
class Trained:
    """The model directory, and its figures on the split "test" (None if that is empty)."""

    path: Path
    figures: Retrieval | None

    def test_json(self) -> dict[str, float] | None:
        """The figures, for JSON."""
        return self.figures.to_json() if self.figures else None


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
    machine.check(spec.loop.precision)
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
