"""The task of a student: to predict the teacher's vectors of photos from overhead chips.

Several processes share each batch: every one prepares its rows of it and predicts them; the loss is
that of the predictions of all, so sums, means and contrasts are those of the whole batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from ..errors import UsageError
from .augment import NONE, Augmentation, Draws, central, windows
from .data import Chips, PairData
from .engine import Engine, Forward, OneProcess
from .hard import hard_order
from .losses import cross_distance, infonce, l2_sum, paired_distance
from .retrieval import Retrieval, retrieve
from .study import StudyWindows, study_windows

_BATCH = 64  # chips at once in inference
_NO_VARIANCE = 1e-12  # within groups, relative to the mean square: rounding alone

Views = Augmentation | StudyWindows
"""How windows are cut of chips."""

Part = tuple[Tensor, Tensor, Tensor]
"""Inputs of the network, of this process's share; targets ``(n, feature)`` and groups ``(n,)`` of
the whole part of a batch."""


class LossSpec(BaseModel):
    """``l2``: the batch sum of the distance to the teacher's vector (the study's loss).

    ``l2+infonce`` uses its mean and adds ``contrast`` times the InfoNCE of the same distance.
    ``photos``: how many photos of a chip's group are averaged for its target; more of them
    represent the class better and single photos less.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["l2", "l2+infonce"] = "l2"
    contrast: float = Field(default=1.0, ge=0)
    scale: float = Field(default=3.0, gt=0, description="distances times this are InfoNCE's logits")
    photos: int = Field(default=1, ge=1)

    @property
    def summed(self) -> bool:
        """Whether it is a sum over the batch, not a mean."""
        return self.kind == "l2"

    def value(self, predicted: Tensor, target: Tensor, groups: Tensor) -> Tensor:
        """The loss of a batch."""
        if self.kind == "l2":
            return l2_sum(predicted, target)
        same = groups[:, None] == groups[None]
        contrast = infonce(cross_distance(predicted, target), self.scale, same)
        return paired_distance(predicted, target).mean() + self.contrast * contrast


class StudentTask:
    """Train ``net`` on the pairs of ``train``; validate on ``valid`` by retrieval, or by the loss.

    ``net`` maps windows ``(n, 3, size, size)`` in [0, 1] to vectors ``(n, feature)``. ``hard``:
    share of a batch that is chosen for photos alike to others in it (`hard_order`). ``accumulate``:
    parts of a batch. ``select``: by what the best epoch is chosen.
    """

    name = "student"

    def __init__(
        self,
        net: nn.Module,
        train: PairData,
        valid: PairData,
        *,
        size: int,
        loss: LossSpec,
        augment: Views,
        batch: int,
        seed: int,
        metric: NDArray[np.float32] | None = None,
        hard: float = 0.0,
        accumulate: int = 1,
        select: Literal["retrieval", "loss"] = "retrieval",
    ) -> None:
        self.net = net
        self.train, self.valid = train, valid
        self.size, self.spec, self.augment = size, loss, augment
        self.batch, self.seed, self.metric = min(batch, len(train.groups)), seed, metric
        self.hard, self.accumulate, self.select = hard, accumulate, select
        self._forward: Forward = net
        self._engine: Engine = OneProcess()

    def attach(self, forward: Forward, engine: Engine) -> None:
        """See `loop.SharedTask`. Raises UsageError for a batch that cannot be shared equally."""
        shares = self.accumulate * engine.world
        if self.batch % shares:
            raise UsageError(
                f"a batch of {self.batch} pairs cannot be shared by {engine.world} processes in "
                f"{self.accumulate} parts: use a multiple of {shares} (of {len(self.train.groups)} "
                "pairs there are)"
            )
        self._forward, self._engine = forward, engine

    def steps(self) -> int:
        return len(self.train.groups) // self.batch

    def batches(self, epoch: int) -> Iterator[list[Part]]:
        """All batches of an epoch."""
        return self.batches_from(epoch, 0)

    def batches_from(self, epoch: int, step: int) -> Iterator[list[Part]]:
        """See `loop.SharedTask`."""
        order = self._order(epoch)
        for number in range(step, self.steps()):
            rng = np.random.default_rng((abs(self.seed), epoch, number))
            index = order[number * self.batch : (number + 1) * self.batch]
            yield [self._part(rows, rng) for rows in np.split(index, self.accumulate)]

    def _order(self, epoch: int) -> NDArray[np.int64]:
        rng = np.random.default_rng((abs(self.seed), epoch))
        order = rng.permutation(len(self.train.groups))
        if not self.hard:
            return order
        return hard_order(order, self.train.middle, self.batch // self.accumulate, self.hard)

    def _part(self, index: NDArray[np.int64], rng: np.random.Generator) -> Part:
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        draws = Draws.of(len(index), generator)
        share = len(index) // self._engine.world
        own = slice(self._engine.rank * share, (self._engine.rank + 1) * share)
        target = self.train.draw(index, self.spec.photos, rng)
        groups = torch.from_numpy(self.train.groups[index])
        device = self._engine.device
        inputs = self.inputs(index[own], draws.rows(own))
        return inputs.to(device), target.to(device), groups.to(device)

    def inputs(self, index: NDArray[np.int64], draws: Draws) -> Tensor:
        """The network's inputs for these chips: windows ``(n, 3, size, size)``."""
        chips = torch.from_numpy(self.train.chips[index])
        if isinstance(self.augment, StudyWindows):
            return study_windows(chips, self.size, self.augment, draws)
        return windows(chips, self.size, self.augment, draws)

    def loss(self, batch: Part) -> Tensor:
        inputs, target, groups = batch
        predicted = self._engine.gather(self._forward(inputs).float())
        return self.spec.value(predicted, target, groups)

    def weight(self, part: Part) -> float:
        """See `loop.SharedTask`."""
        return 1.0 if self.spec.summed else len(part[1]) / self.batch

    def predict(self, data: PairData) -> NDArray[np.float32]:
        """Vectors ``(chip, feature)`` of unaltered chips, a share by each process."""
        shares = np.array_split(np.arange(len(data.chips)), self._engine.world)
        longest = len(shares[0])
        own = np.resize(shares[self._engine.rank], longest)  # rows more are cut off below
        predicted = torch.cat([
            self._vectors(data, rows) for rows in np.array_split(own, -(-longest // _BATCH))
        ])  # fmt: skip
        every = self._engine.gather(predicted).view(len(shares), longest, -1)
        parts = [part[: len(rows)] for part, rows in zip(every, shares, strict=True)]
        return np.asarray(torch.cat(parts).cpu().numpy())

    def _vectors(self, data: PairData, rows: NDArray[np.int64]) -> Tensor:
        shown = plain(torch.from_numpy(data.chips[rows]), self.size).to(self._engine.device)
        with self._engine.autocast():
            result: Tensor = self.net(shown)
        return result.float()

    def validate(self) -> Mapping[str, float]:
        predicted = self.predict(self.valid)
        found = retrieve(self.valid, predicted, self.metric)
        middle = self.valid.middle(np.arange(len(predicted)))
        apart = paired_distance(torch.from_numpy(predicted), torch.from_numpy(middle))
        loss = float(apart.mean())
        score = found.score if self.select == "retrieval" else -loss
        return {"score": score, "loss": loss, **found.brief}

    def measure(self, data: PairData) -> Retrieval:
        """How well photos find their chips among those of a split."""
        self.net.eval()
        with torch.inference_mode():
            return retrieve(data, self.predict(data), self.metric)


def plain(chips: Tensor, size: int) -> Tensor:
    """The central windows ``(n, 3, size, size)`` in [0, 1] of uint8 chips, as in inference."""
    return central(chips, size).float() / 255


class HeadTask(StudentTask):
    """A student whose trunk is frozen: its features of several views of each chip are cached.

    ``views``: float32 ``(view, chip, channel)`` of the training chips, the first unaltered;
    ``features``: ``(chips) -> (chip, channel)`` of others.
    """

    name = "head"

    def __init__(
        self,
        head: nn.Module,
        train: PairData,
        valid: PairData,
        views: NDArray[np.float32],
        features: Callable[[Chips], NDArray[np.float32]],
        **settings: Any,
    ) -> None:
        super().__init__(head, train, valid, size=0, augment=NONE, **settings)
        self.views, self._features = views, features
        self._kept = {id(valid.chips): features(valid.chips)}

    def inputs(self, index: NDArray[np.int64], draws: Draws) -> Tensor:
        """Cached features of a random view of each chip."""
        chosen = (draws.take(1)[:, 0] * len(self.views)).long().numpy()
        return torch.from_numpy(self.views[chosen, index])

    def _vectors(self, data: PairData, rows: NDArray[np.int64]) -> Tensor:
        if id(data.chips) not in self._kept:
            self._kept[id(data.chips)] = self._features(data.chips)
        features = torch.from_numpy(self._kept[id(data.chips)][rows])
        result: Tensor = self.net(features.to(self._engine.device))
        return result


def within_group_metric(data: PairData, shrink: float = 0.1) -> NDArray[np.float32] | None:
    """``L`` of ``d = |(a - b) L| / sqrt(D)``: differences within a group count less.

    The inverse square root of the teacher's covariance within groups of the training photos,
    shrunk towards a multiple of the identity (Ledoit & Wolf 2004), and scaled to keep the mean
    variance. None where no group has two photos that differ, as with a photo for each place:
    nothing is known of differences within groups then.
    """
    groups = {id(rows): rows for rows in data.photos_of}.values()
    residuals = np.concatenate(
        [data.targets[rows] - data.targets[rows].mean(axis=0) for rows in groups]
    ).astype(np.float64)
    covariance = residuals.T @ residuals / len(residuals)
    dim = len(covariance)
    mean = float(np.trace(covariance)) / dim
    if mean <= _NO_VARIANCE * float(np.square(data.targets, dtype=np.float64).mean()):
        return None
    values, vectors = np.linalg.eigh((1 - shrink) * covariance + shrink * mean * np.eye(dim))
    return np.asarray((vectors / np.sqrt(values / mean)) @ vectors.T, dtype=np.float32)
