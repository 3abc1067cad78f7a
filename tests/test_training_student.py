"""The task of a student: batches that depend on the seed alone, shared or in parts, and figures."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from geoloc.errors import UsageError
from geoloc.training.augment import Augmentation
from geoloc.training.data import ArrayChips, PairData
from geoloc.training.engine import OneProcess
from geoloc.training.losses import paired_distance
from geoloc.training.student import LossSpec, StudentTask, within_group_metric

SIDE, DIM = 8, 3


class Colour(nn.Module):
    """The mean colour of a window, and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.last = nn.Linear(3, DIM)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.last(x.mean((2, 3)))
        return result


class Process(OneProcess):
    """One of two, that hears nothing of the other."""

    world = 2

    def __init__(self, rank: int) -> None:
        super().__init__()
        self.rank = rank


def data(count: int = 12, views: int = 1) -> PairData:
    rng = np.random.default_rng(0)
    chips = rng.integers(0, 256, (count, 3, SIDE, SIDE), dtype=np.uint8)
    seen = rng.normal(0, 1, (count, views, DIM)).astype(np.float32)
    rows = tuple(np.array([i]) for i in range(count))
    return PairData(
        ArrayChips(chips), seen[:, 0], rows, np.arange(count), seen if views > 1 else None
    )


def task(pairs: PairData, **changes: object) -> StudentTask:
    settings = {
        "size": SIDE, "loss": LossSpec(), "augment": Augmentation(), "batch": 6, "seed": 3,
    }  # fmt: skip
    return StudentTask(Colour(), pairs, pairs, **(settings | changes))  # type: ignore[arg-type]


def test_two_processes_prepare_the_halves_of_what_one_does() -> None:
    whole, halves = task(data()), [task(data()) for _ in range(2)]
    for rank, half in enumerate(halves):
        half.attach(half.net, Process(rank))
    for epoch in range(2):
        batches = zip(whole.batches(epoch), *(half.batches(epoch) for half in halves), strict=True)
        for (one,), (first,), (second,) in batches:
            assert torch.equal(one[0], torch.cat([first[0], second[0]]))
            for other in (first, second):  # targets and groups are those of all
                assert torch.equal(one[1], other[1]) and torch.equal(one[2], other[2])


def test_an_epoch_can_begin_at_any_step() -> None:
    made = task(data(), hard=0.5)
    later = list(made.batches_from(4, 1))
    for (one,), (other,) in zip(list(made.batches(4))[1:], later, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("kind", ["l2", "l2+infonce"])
def test_parts_of_a_batch_add_up_to_its_regression(kind: str) -> None:
    spec = LossSpec(kind=kind, contrast=0.0)  # type: ignore[arg-type]
    gradients = []
    for parts in (1, 3):
        made = task(data(), loss=spec, accumulate=parts)
        batch = next(iter(made.batches(0)))
        assert len(batch) == parts
        total = sum((made.loss(part) * made.weight(part) for part in batch), torch.zeros(()))
        total.backward()  # type: ignore[no-untyped-call]
        gradients.append(made.net.last.weight.grad)
    # other parts draw other augmentations, so only the size of the sum is comparable
    assert torch.isclose(*(gradient.norm() for gradient in gradients), rtol=0.25)


def test_the_study_s_loss_is_the_sum_over_the_batch() -> None:
    a, b = torch.randn(4, DIM), torch.randn(4, DIM)
    value = LossSpec().value(a, b, torch.arange(4))
    assert torch.isclose(value, paired_distance(a, b).sum())
    assert LossSpec().summed and not LossSpec(kind="l2+infonce").summed


def test_every_pair_is_shown_once_an_epoch_by_any_of_its_views() -> None:
    pairs = data(views=5)
    made = task(pairs, augment=Augmentation(rotate=0))
    assert pairs.views is not None
    shown: set[tuple[int, int]] = set()
    for epoch in range(20):
        rows = []
        for (part,) in made.batches(epoch):
            for target in part[1].numpy():
                row, view = np.argwhere((pairs.views == target).all(axis=2))[0]
                rows.append(int(row))
                shown.add((int(row), int(view)))
        assert sorted(rows) == list(range(12))
    assert len(shown) > 50


def test_a_batch_that_cannot_be_shared_equally_is_refused() -> None:
    for changes in ({"batch": 5}, {"batch": 6, "accumulate": 2}):
        made = task(data(), **changes)
        with pytest.raises(UsageError, match="cannot be shared by 2 processes"):
            made.attach(made.net, Process(0))


def test_the_best_epoch_is_chosen_by_what_was_asked_for() -> None:
    by_loss, by_rank = task(data(), select="loss"), task(data())
    with torch.inference_mode():
        loss, rank = by_loss.validate(), by_rank.validate()
    assert loss["score"] == -loss["loss"]
    assert rank["score"] != loss["score"] and rank["loss"] == loss["loss"]


def test_the_metric_counts_what_varies_within_groups_less() -> None:
    rng = np.random.default_rng(2)
    targets = (rng.normal(0, 1, (60, 3)) * (10, 1, 1)).astype(np.float32)
    rows = tuple(np.arange(start, start + 20) for start in (0, 20, 40))
    groups = PairData(ArrayChips(np.zeros((3, 3, 8, 8), np.uint8)), targets, rows, np.arange(3))
    metric = within_group_metric(groups, shrink=0.0)
    assert metric is not None
    residuals = np.concatenate([targets[r] - targets[r].mean(0) for r in rows])
    spread = ((residuals @ metric) ** 2).mean(axis=0)
    assert np.allclose(spread, spread[0], rtol=0.02)
    assert np.isclose(spread.mean(), (residuals**2).mean(), rtol=0.02)
    whole = within_group_metric(groups, shrink=1.0)
    assert whole is not None and np.allclose(whole, np.eye(3), atol=1e-5)


@pytest.mark.parametrize("same", [1, 3])
def test_there_is_no_metric_where_no_group_has_two_photos_that_differ(same: int) -> None:
    targets = np.repeat(np.random.default_rng(2).normal(0, 1, (9, 4)), same, 0).astype(np.float32)
    rows = tuple(np.arange(start, start + same) for start in range(0, 9 * same, same))
    chips = ArrayChips(np.zeros((9, 3, 8, 8), np.uint8))
    assert within_group_metric(PairData(chips, targets, rows, np.arange(9))) is None
