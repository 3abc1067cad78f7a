"""Losses against their formulas, pair by pair."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from geoloc.training.losses import (
    cross_distance,
    infonce,
    l2_sum,
    paired_distance,
    soft_cross_entropy,
)


@pytest.fixture
def vectors() -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(4)
    a, b = rng.normal(size=(5, 7)), rng.normal(2, 3, size=(5, 7))
    return torch.tensor(a, dtype=torch.float32), torch.tensor(b, dtype=torch.float32)


def rms(a: torch.Tensor, b: torch.Tensor) -> float:
    return math.sqrt(sum((x - y) ** 2 for x, y in zip(a.tolist(), b.tolist(), strict=True)) / 7)


def test_distances_are_rms_differences(vectors: tuple[torch.Tensor, torch.Tensor]) -> None:
    a, b = vectors
    expected = torch.tensor([[rms(x, y) for y in b] for x in a])
    assert torch.allclose(cross_distance(a, b), expected, atol=1e-4)
    assert torch.allclose(paired_distance(a, b), expected.diagonal(), atol=1e-4)
    assert float(l2_sum(a, b)) == pytest.approx(float(expected.diagonal().sum()), rel=1e-4)


def test_equal_vectors_have_a_gradient() -> None:
    a = torch.ones(3, 4, requires_grad=True)
    (l2_sum(a, torch.ones(3, 4)) + cross_distance(a, torch.ones(3, 4)).sum()).backward()
    assert torch.isfinite(a.grad).all()


def test_infonce_leaves_out_those_of_the_same_group() -> None:
    distance = torch.tensor([[1.0, 0.2, 3.0], [2.0, 1.0, 0.5], [0.3, 2.0, 1.0]])
    same = torch.tensor([[1, 1, 0], [1, 1, 0], [0, 0, 1]], dtype=torch.bool)

    def term(row: int, others: list[float]) -> float:
        own = math.exp(-2 * float(distance[row, row]))
        return -math.log(own / (own + sum(math.exp(-2 * value) for value in others)))

    rows = term(0, [3.0]) + term(1, [0.5]) + term(2, [0.3, 2.0])
    columns = term(0, [0.3]) + term(1, [2.0]) + term(2, [3.0, 0.5])
    expected = (rows / 3 + columns / 3) / 2
    assert float(infonce(distance, 2.0, same)) == pytest.approx(expected, rel=1e-5)


def test_soft_labels_weigh_the_log_probabilities() -> None:
    logits = torch.tensor([[0.0, 1.0, 3.0]])
    shares = torch.tensor([[0.25, 0.0, 0.75]])
    total = sum(math.exp(value) for value in (0, 1, 3))
    expected = -(0.25 * (0 - math.log(total)) + 0.75 * (3 - math.log(total)))
    assert float(soft_cross_entropy(logits, shares)) == pytest.approx(expected, rel=1e-5)
