"""One training loop for every task: optimiser, schedule, validation, checkpoints, resume.

A run that was killed goes on from its last checkpoint and ends where it would have ended: batches
and random numbers depend only on the seed, the epoch and the step.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from ..errors import GeolocError, ModelError, OutputError, SpecMismatchError, UsageError, one_line
from ..files.whole import whole_file
from .engine import Engine, Forward, OneProcess, Precision
from .logs import METRICS, Logs

__all__ = ["METRICS", "Epoch", "LoopSpec", "Progress", "SharedTask", "Task", "Watch", "fit"]

LAST, BEST = "last.pt", "best.pt"


class LoopSpec(BaseModel):
    """Length and learning rate of a training; schedules count optimiser steps.

    ``warmup``: share of the steps in which the learning rate rises to ``lr``. ``accumulate``: parts
    of a batch that are computed one after another, for batches that do not fit into memory; a loss
    that contrasts pairs does so within a part. ``ema``: the weights that are validated and kept are
    a moving average with this decay; 0: they are the last ones.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(default=20, ge=1)
    lr: float = Field(default=1e-4, gt=0)
    schedule: str = Field(default="constant", pattern="^(constant|cosine)$")
    warmup: float = Field(default=0.0, ge=0, lt=1)
    weight_decay: float = Field(default=0.0, ge=0)
    clip: float | None = Field(default=10.0, gt=0, description="largest norm of the gradient")
    precision: Precision = "32"
    accumulate: int = Field(default=1, ge=1)
    ema: float = Field(default=0.0, ge=0, lt=1)
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


@runtime_checkable
class SharedTask(Protocol):
    """A task that several processes can share, and that can begin in the middle of an epoch."""

    def attach(self, forward: Forward, engine: Engine) -> None:
        """Use this forward of the network from now on, and prepare only the engine's share."""

    def batches_from(self, epoch: int, step: int) -> Iterable[Any]:
        """The batches of an epoch from a step on; each a sequence of parts to accumulate."""

    def weight(self, part: Any) -> float:
        """What a part's loss counts in that of its batch."""


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


@dataclass(frozen=True)
class Watch:
    """How a run is watched: ``epoch`` after each, ``step`` with steps done, of how many, and the
    mean loss of the epoch. ``every``: s between checkpoints. ``events``: of TensorBoard."""

    epoch: Progress | None = None
    step: Callable[[int, int, float], None] | None = None
    every: float = math.inf
    events: bool = False


@dataclass
class _Place:
    """How far a run has come: whole epochs, steps of the next, and the sum of their losses."""

    epoch: int = 0
    step: int = 0
    total: float = 0.0

    @property
    def loss(self) -> float:
        return self.total / max(self.step, 1)


def fit(
    task: Task,
    spec: LoopSpec,
    run: Path,
    progress: Progress | None = None,
    identity: str | Mapping[str, str] = "",
    *,
    engine: Engine | None = None,
    watch: Watch | None = None,
) -> dict[str, float]:
    """Train ``task.net`` in place to its best validated epoch and return that epoch's figures.

    The folder ``run`` receives ``last.pt`` (everything needed to resume), ``best.pt`` and the
    logs. Called again with the same spec and ``identity`` (what else the result depends on, by
    name) it resumes from the last checkpoint; with different ones it raises SpecMismatchError
    rather than mix two trainings. Raises OutputError if a file cannot be written, GeolocError for
    a loss that is not finite.
    """
    engine = engine or OneProcess(spec.precision)
    watch = watch or Watch(progress)
    known = dict(identity) if isinstance(identity, Mapping) else {"data": identity}
    state = _State(task, spec, run, engine, {"task": task.name, **known})
    place = state.resume()
    steps = task.steps()
    logs = _Silent() if engine.rank else Logs(
        run, place.epoch, place.epoch * steps + place.step, events=watch.events
    )  # fmt: skip
    try:
        while place.epoch < spec.epochs:
            _epoch(task, spec, state, place, watch, logs)
    finally:
        logs.close()
    engine.barrier()
    task.net.load_state_dict(state.read(run / BEST))
    task.net.eval()
    return state.best


def _epoch(
    task: Task, spec: LoopSpec, state: _State, place: _Place, watch: Watch, logs: Logs | _Silent
) -> None:
    """Train and validate one epoch, or the rest of it, and keep it."""
    began = time.perf_counter()
    _train(task, spec, state, place, watch, logs)
    loss = place.loss
    with state.averaged(), torch.inference_mode():
        task.net.eval()
        figures = dict(task.validate())
        best = figures["score"] > state.best.get("score", -math.inf)
        seconds = time.perf_counter() - began
        epoch = Epoch(task.name, place.epoch + 1, spec.epochs, loss, figures, best, seconds)
        logs.epoch(asdict(epoch), figures, epoch.number * task.steps())
        if best:
            state.best = figures
            state.write(task.net.state_dict(), BEST)
    place.epoch, place.step, place.total = epoch.number, 0, 0.0
    state.save(place)
    if watch.epoch is not None and not state.engine.rank:
        watch.epoch(epoch)


def _train(
    task: Task, spec: LoopSpec, state: _State, place: _Place, watch: Watch, logs: Logs | _Silent
) -> None:
    """The optimiser steps of an epoch that are not done yet."""
    task.net.train()
    steps, saved = task.steps(), time.monotonic()
    for batch in _ahead(_batches(task, place)):
        _seed(spec.seed, place.epoch, place.step, state.engine.rank)
        place.total += _optimise(task, spec, state, place, batch)
        place.step += 1
        done = place.epoch * steps + place.step
        logs.step(done, {"loss": place.loss, "lr": float(state.schedule.get_last_lr()[0])})
        if watch.step is not None and not state.engine.rank:
            watch.step(done, steps * spec.epochs, place.loss)
        if time.monotonic() - saved >= watch.every and place.step < steps:
            state.save(place)
            saved = time.monotonic()


def _optimise(task: Task, spec: LoopSpec, state: _State, place: _Place, batch: Any) -> float:
    """One optimiser step; the loss of the batch."""
    shared = isinstance(task, SharedTask)
    parts = list(batch) if shared else [batch]
    total = 0.0
    for number, part in enumerate(parts, start=1):
        with state.engine.autocast():
            loss = task.loss(part)
        if isinstance(task, SharedTask):
            loss = loss * task.weight(part)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise GeolocError(
                f"{task.name}: the loss of epoch {place.epoch + 1}, step {place.step + 1} is not "
                f"finite: lower loop.lr ({spec.lr:g}), or set loop.clip"
            )
        state.engine.backward(loss, last=number == len(parts))
        total += value
    state.engine.step(spec.clip)
    state.schedule.step()
    state.average()
    return total


def _batches(task: Task, place: _Place) -> Iterable[Any]:
    if isinstance(task, SharedTask):
        return task.batches_from(place.epoch, place.step)
    batches = iter(task.batches(place.epoch))
    for _ in range(place.step):
        next(batches)
    return batches


def _seed(seed: int, epoch: int, step: int, rank: int) -> None:
    """The global random numbers of a step (dropout): its own, so that a run can begin at it."""
    words = np.random.SeedSequence((abs(seed), epoch, step, rank)).generate_state(2)
    torch.manual_seed(int(words[0]) << 31 | int(words[1]) >> 1)


def _ahead(batches: Iterable[Any]) -> Iterator[Any]:
    """The same batches, with the next one prepared in a thread during training on this one."""
    source = iter(batches)
    end = object()
    with ThreadPoolExecutor(1) as maker:
        coming = maker.submit(next, source, end)
        while (batch := coming.result()) is not end:
            coming = maker.submit(next, source, end)
            yield batch


class _Silent:
    """The logs of processes that write none."""

    def step(self, number: int, values: Mapping[str, float]) -> None: ...
    def epoch(self, row: Any, figures: Mapping[str, float], steps: int) -> None: ...
    def close(self) -> None: ...


@dataclass
class _Average:
    """A moving average of a network's floating-point state; the rest is the latest."""

    decay: float
    values: dict[str, Tensor] = field(default_factory=dict)
    count: int = 0

    def add(self, net: nn.Module) -> None:
        """One more step; of the first ones it is nearly the mean."""
        self.count += 1
        share = 1 - min(self.decay, (1 + self.count) / (10 + self.count))
        for name, value in net.state_dict().items():
            known = self.values.get(name)
            if known is None or not value.is_floating_point():
                self.values[name] = value.detach().clone()
            else:
                known.lerp_(value.detach(), share)


class _State:
    """Optimiser, schedule, average and the two checkpoints of a run."""

    def __init__(
        self, task: Task, spec: LoopSpec, run: Path, engine: Engine, identity: dict[str, str]
    ) -> None:
        self.net, self.run, self.engine = task.net, run, engine
        self.identity = identity | {"loop": spec.model_dump_json()}
        parameters = [p for p in task.net.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            parameters, lr=spec.lr, weight_decay=spec.weight_decay
        )  # equals Adam if the decay is 0
        steps = max(task.steps() * spec.epochs, 1)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, lambda step: _factor(spec, step, steps)
        )
        self.best: dict[str, float] = {}
        self._average = _Average(spec.ema) if spec.ema else None
        forward = engine.setup(task.net, self.optimizer)
        if isinstance(task, SharedTask):
            task.attach(forward, engine)
        elif engine.world > 1:
            raise UsageError(f"{task.name} cannot be shared by {engine.world} processes: use one")
        try:
            run.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{run}: cannot make this folder ({error.strerror})") from error

    def average(self) -> None:
        """After an optimiser step."""
        if self._average is not None:
            self._average.add(self.net)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The network has its averaged weights for a while."""
        if self._average is None or not self._average.count:
            yield
            return
        own = {name: value.clone() for name, value in self.net.state_dict().items()}
        self.net.load_state_dict(self._average.values)
        try:
            yield
        finally:
            self.net.load_state_dict(own)

    def resume(self) -> _Place:
        """Load the last checkpoint if there is one; where the run goes on."""
        path = self.run / LAST
        place = _Place()
        if path.exists():
            saved = self.read(path)
            self._compare(saved.get("identity"))
            try:
                self._restore(saved)
                place = _Place(**saved["place"])
            except (KeyError, TypeError, ValueError, RuntimeError) as error:
                raise _damaged(path, error) from None
        self.engine.barrier()  # nobody writes before all have read
        return place

    def _compare(self, known: object) -> None:
        """Raise SpecMismatchError, which says in what another training differs."""
        if known == self.identity:
            return
        told = known if isinstance(known, dict) else {}
        different = [name for name, value in self.identity.items() if told.get(name) != value]
        where = ", ".join(_differences(name, told, self.identity) for name in different)
        raise SpecMismatchError(
            f"{self.run} has another training (it differs in {where or 'its kind'}): "
            "give another folder or delete this one"
        )

    def _restore(self, saved: dict[str, Any]) -> None:
        self.net.load_state_dict(saved["net"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.schedule.load_state_dict(saved["schedule"])
        self.engine.restore(saved["engine"])
        self.best = saved["best"]
        if self._average is not None:
            values = {k: v.to(self.engine.device) for k, v in saved["average"].items()}
            self._average.values, self._average.count = values, saved["averaged"]

    def save(self, place: _Place) -> None:
        """Write ``last.pt``: after a kill, what came later is done again with the same result."""
        average = self._average
        last = {
            "identity": self.identity,
            "place": asdict(place),
            "net": self.net.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "engine": self.engine.state(),
            "best": self.best,
            "average": average.values if average else {},
            "averaged": average.count if average else 0,
        }
        self.write(last, LAST)

    def write(self, value: dict[str, Any], name: str) -> None:
        """Replace a checkpoint in one step. Raises OutputError, and leaves the old one."""
        if self.engine.rank:
            return
        path = self.run / name
        try:
            with whole_file(path, alone=True) as part:
                self.engine.save(value, part)
        except (OSError, RuntimeError) as error:
            reason = getattr(error, "strerror", None) or one_line(error, 80)
            raise OutputError(
                f"{path}: this checkpoint cannot be written ({reason}): free some space and run "
                "the same command again, which goes on from the last one"
            ) from None

    def read(self, path: Path) -> dict[str, Any]:
        """A checkpoint. Raises ModelError for a damaged one."""
        try:
            return self.engine.load(path)
        except Exception as error:  # noqa: BLE001  # unpickling raises nearly anything
            raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> ModelError:
    return ModelError(
        f"{path}: this checkpoint cannot be read ({one_line(error, 80)}): delete {path.parent} to "
        "begin anew"
    )


def _differences(name: str, known: Mapping[str, Any], now: Mapping[str, str]) -> str:
    """What differs in a part of two identities: its fields, if it is JSON."""
    try:
        before, after = json.loads(known[name]), json.loads(now[name])
        fields = [key for key in after if before.get(key) != after[key]]
    except (KeyError, TypeError, ValueError, AttributeError):
        return name
    return ", ".join(f"{name}.{key}" for key in fields) or name


def _factor(spec: LoopSpec, step: int, steps: int) -> float:
    """Share of the learning rate at a step: it rises linearly, then stays or falls by a cosine."""
    rise = spec.warmup * steps
    if step < rise:
        return (step + 1) / (rise + 1)
    if spec.schedule == "constant":
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * min((step - rise) / max(steps - rise, 1), 1.0)))
