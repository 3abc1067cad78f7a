"""One training loop for every task: optimiser, schedule, validation, checkpoints, resume."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from ..errors import OutputError, SpecMismatchError
from ..files.whole import whole_file, write_whole

METRICS = "metrics.jsonl"
"""Name of the file in a run's folder with one JSON object per epoch."""


class LoopSpec(BaseModel):
    """Length and learning rate of a training; the cosine schedule counts optimiser steps."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(default=20, ge=1)
    lr: float = Field(default=1e-4, gt=0)
    schedule: str = Field(default="constant", pattern="^(constant|cosine)$")
    weight_decay: float = Field(default=0.0, ge=0)
    clip: float = Field(default=10.0, gt=0, description="largest norm of the gradient")
    bf16: bool = False
    seed: int = 0


class Task(Protocol):
    """What is trained. Batches of an epoch depend only on its number and the seed."""

    name: str

    @property
    def net(self) -> nn.Module:
        """The network to train; its whole state is saved."""

    def steps(self) -> int:
        """Batches in an epoch."""

    def batches(self, epoch: int) -> Iterable[Any]: ...

    def loss(self, batch: Any) -> Tensor: ...

    def validate(self) -> Mapping[str, float]:
        """Figures on held-out data; the epoch with the highest ``score`` is the best."""


@dataclass(frozen=True)
class Epoch:
    """One epoch, for the progress callback; ``figures``: of the validation."""

    task: str
    number: int
    of: int
    loss: float
    figures: dict[str, float]
    best: bool
    seconds: float


Progress = Callable[[Epoch], None]


def fit(
    task: Task, spec: LoopSpec, run: Path, progress: Progress | None = None, identity: str = ""
) -> dict[str, float]:
    """Train ``task.net`` in place to its best validated epoch and return that epoch's figures.

    The folder ``run`` receives ``last.pt`` (everything needed to resume), ``best.pt`` and
    `METRICS`. Called again with the same spec and ``identity`` it resumes after the last whole
    epoch; with different ones it raises SpecMismatchError rather than mix two trainings.
    """
    state = _State(task, spec, run, f"{task.name} {spec.model_dump_json()} {identity}")
    for number in range(state.resume(), spec.epochs):
        began = time.perf_counter()
        loss = _epoch(task, spec, state, number)
        task.net.eval()
        with torch.inference_mode():
            figures = dict(task.validate())
        best = figures["score"] > state.best.get("score", -math.inf)
        seconds = time.perf_counter() - began
        epoch = Epoch(task.name, number + 1, spec.epochs, loss, figures, best, seconds)
        state.save(epoch)
        if progress is not None:
            progress(epoch)
    task.net.load_state_dict(torch.load(run / "best.pt", weights_only=True))
    task.net.eval()
    return state.best


def _epoch(task: Task, spec: LoopSpec, state: _State, number: int) -> float:
    """Mean loss of one pass; a loss that is not finite raises at once."""
    task.net.train()
    torch.manual_seed(spec.seed * 1_000_003 + number)
    total, count = 0.0, 0
    for batch in _ahead(task.batches(number)):
        with torch.autocast("cpu", torch.bfloat16, enabled=spec.bf16):
            loss = task.loss(batch)
        state.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(task.net.parameters(), spec.clip, error_if_nonfinite=True)
        state.optimizer.step()
        state.schedule.step()
        total, count = total + float(loss.detach()), count + 1
    return total / max(count, 1)


def _ahead(batches: Iterable[Any]) -> Iterator[Any]:
    """The same batches, with the next one prepared in a thread during training on this one."""
    source = iter(batches)
    end = object()
    with ThreadPoolExecutor(1) as maker:
        coming = maker.submit(next, source, end)
        while (batch := coming.result()) is not end:
            coming = maker.submit(next, source, end)
            yield batch


class _State:
    """Optimiser, schedule and the two checkpoints of a run."""

    def __init__(self, task: Task, spec: LoopSpec, run: Path, identity: str) -> None:
        self.net, self.run, self.identity = task.net, run, identity
        parameters = [p for p in task.net.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            parameters, lr=spec.lr, weight_decay=spec.weight_decay
        )  # equals Adam if the decay is 0
        steps = max(task.steps() * spec.epochs, 1)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, lambda step: _factor(spec.schedule, step / steps)
        )
        self.best: dict[str, float] = {}
        try:
            run.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{run}: cannot make this folder ({error.strerror})") from error

    def resume(self) -> int:
        """Load the last checkpoint if there is one; the number of the first epoch to train."""
        path = self.run / "last.pt"
        if not path.exists():
            _cut_metrics(self.run / METRICS, 0)
            return 0
        saved = torch.load(path, weights_only=True)
        if saved["identity"] != self.identity:
            raise SpecMismatchError(
                f"{self.run} has another training: give another folder or delete this one"
            )
        self.net.load_state_dict(saved["net"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.schedule.load_state_dict(saved["schedule"])
        self.best = saved["best"]
        _cut_metrics(self.run / METRICS, int(saved["epoch"]))
        return int(saved["epoch"])

    def save(self, epoch: Epoch) -> None:
        """Write a line of metrics, then the checkpoints, each replaced atomically.

        Writing ``last.pt`` completes the epoch: after an earlier kill, `resume` removes the line
        and the epoch is trained again with the same result.
        """
        with (self.run / METRICS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(epoch)) + "\n")
        if epoch.best:
            self.best = epoch.figures
            _replace(self.net.state_dict(), self.run / "best.pt")
        last = {
            "identity": self.identity,
            "epoch": epoch.number,
            "net": self.net.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "best": self.best,
        }
        _replace(last, self.run / "last.pt")


def _cut_metrics(path: Path, epochs: int) -> None:
    """Keep the lines of completed epochs; drop others, also partial ones."""
    if not path.exists():
        return
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if _counts(line, epochs)]
    if kept != lines:
        write_whole(path, "".join(kept), alone=True)


def _counts(line: str, epochs: int) -> bool:
    try:
        return line.endswith("\n") and int(json.loads(line)["number"]) <= epochs
    except ValueError:
        return False


def _factor(schedule: str, done: float) -> float:
    return 1.0 if schedule == "constant" else 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


def _replace(value: object, path: Path) -> None:
    with whole_file(path, alone=True) as part:
        torch.save(value, part)
