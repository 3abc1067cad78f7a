"""The task of a student: to predict the teacher's vectors of photos from overhead chips."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from ..evaluation import evaluate_classes
from .augment import NONE, Augmentation, windows
from .data import PairData
from .losses import cross_distance, infonce, l2_sum, paired_distance

_BATCH = 64  # chips at once in inference

Batch = tuple[Tensor, Tensor, Tensor]
"""Inputs of the network, targets ``(n, feature)``, groups ``(n,)``."""


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

    def value(self, predicted: Tensor, target: Tensor, groups: Tensor) -> Tensor:
        """The loss of a batch."""
        if self.kind == "l2":
            return l2_sum(predicted, target)
        same = groups[:, None] == groups[None]
        contrast = infonce(cross_distance(predicted, target), self.scale, same)
        return paired_distance(predicted, target).mean() + self.contrast * contrast


class StudentTask:
    """Train ``net`` on the pairs of ``train``; validate by class retrieval on ``valid``.

    ``forward`` maps windows ``(n, 3, size, size)`` in [0, 1] to vectors ``(n, feature)``.
    """

    name = "student"

    def __init__(
        self,
        net: nn.Module,
        forward: Callable[[Tensor], Tensor],
        train: PairData,
        valid: PairData,
        *,
        size: int,
        loss: LossSpec,
        augment: Augmentation,
        batch: int,
        seed: int,
        metric: NDArray[np.float32] | None = None,
    ) -> None:
        self.net, self.forward = net, forward
        self.train, self.valid = train, valid
        self.size, self.spec, self.augment = size, loss, augment
        self.batch, self.seed, self.metric = batch, seed, metric

    def steps(self) -> int:
        return max(len(self.train.groups) // self.batch, 1)

    def batches(self, epoch: int) -> Iterator[Batch]:
        rng = np.random.default_rng((self.seed, epoch))
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        order = rng.permutation(len(self.train.groups))
        for step in range(self.steps()):
            index = order[step * self.batch : (step + 1) * self.batch]
            yield (
                self.inputs(index, rng, generator),
                self.train.draw(index, self.spec.photos, rng),
                torch.from_numpy(self.train.groups[index]),
            )

    def inputs(
        self,
        index: NDArray[np.int64],
        rng: np.random.Generator,  # noqa: ARG002  # for tasks that draw among cached views
        generator: torch.Generator,
    ) -> Tensor:
        """The network's inputs for these chips: windows ``(n, 3, size, size)``."""
        chips = torch.from_numpy(self.train.chips[index])
        return windows(chips, self.size, self.augment, generator)

    def loss(self, batch: Batch) -> Tensor:
        inputs, target, groups = batch
        return self.spec.value(self.forward(inputs).float(), target, groups)

    def predict(self, data: PairData) -> NDArray[np.float32]:
        """Vectors ``(chip, feature)`` of unaltered chips."""
        generator = torch.Generator()
        parts = [
            self.forward(windows(torch.from_numpy(chips), self.size, NONE, generator))
            for chips in np.array_split(data.chips, max(len(data.chips) // _BATCH, 1))
        ]
        return np.concatenate([part.float().numpy() for part in parts])

    def validate(self) -> Mapping[str, float]:
        figures = evaluate_classes(
            distances(self.valid, self.predict(self.valid), self.metric), self.valid.relevant()
        )
        return {
            "score": figures.mean_average_precision,
            "right_in_best_1pct": figures.precision_best1pct,
        }


class HeadTask(StudentTask):
    """A student whose trunk is frozen: its features of several views of each chip are cached.

    ``views``: float32 ``(view, chip, channel)`` of the training chips, the first unaltered;
    ``valid_features``: ``(chip, channel)``.
    """

    name = "head"

    def __init__(
        self,
        head: nn.Module,
        train: PairData,
        valid: PairData,
        views: NDArray[np.float32],
        valid_features: NDArray[np.float32],
        *,
        loss: LossSpec,
        batch: int,
        seed: int,
        metric: NDArray[np.float32] | None = None,
    ) -> None:
        super().__init__(
            head, head, train, valid,
            size=0, loss=loss, augment=NONE, batch=batch, seed=seed, metric=metric,
        )  # fmt: skip
        self.views, self.valid_features = views, valid_features

    def inputs(
        self,
        index: NDArray[np.int64],
        rng: np.random.Generator,
        generator: torch.Generator,  # noqa: ARG002
    ) -> Tensor:
        """Cached features of a random view of each chip."""
        return torch.from_numpy(self.views[rng.integers(len(self.views), size=len(index)), index])

    def predict(self, data: PairData) -> NDArray[np.float32]:
        """Vectors ``(chip, feature)`` of the validation chips, from their cached features."""
        assert data is self.valid
        result: NDArray[np.float32] = self.net(torch.from_numpy(self.valid_features)).numpy()
        return result


def distances(
    data: PairData, predicted: NDArray[np.float32], metric: NDArray[np.float32] | None
) -> NDArray[np.float32]:
    """``(photo, chip)``: from the teacher's vector of each photo to each chip's prediction."""
    photos = torch.from_numpy(data.targets[data.photos])
    chips = torch.from_numpy(predicted)
    if metric is not None:
        photos, chips = photos @ torch.from_numpy(metric), chips @ torch.from_numpy(metric)
    result: NDArray[np.float32] = cross_distance(photos, chips).numpy()
    return result


def within_group_metric(data: PairData, shrink: float = 0.1) -> NDArray[np.float32]:
    """``L`` of ``d = |(a - b) L| / sqrt(D)``: differences within a group count less.

    The inverse square root of the teacher's covariance within groups of the training photos,
    shrunk towards a multiple of the identity (Ledoit & Wolf 2004), and scaled to keep the mean
    variance.
    """
    groups = {id(rows): rows for rows in data.photos_of}.values()
    residuals = np.concatenate(
        [data.targets[rows] - data.targets[rows].mean(axis=0) for rows in groups]
    ).astype(np.float64)
    covariance = residuals.T @ residuals / len(residuals)
    dim = len(covariance)
    mean = float(np.trace(covariance)) / dim
    values, vectors = np.linalg.eigh((1 - shrink) * covariance + shrink * mean * np.eye(dim))
    return np.asarray((vectors / np.sqrt(values / mean)) @ vectors.T, dtype=np.float32)
