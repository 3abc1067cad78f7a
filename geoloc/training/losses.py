"""Distances between feature vectors, and losses based on them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

_TINY = 1e-8  # the square root has no gradient at 0
EXCLUDED = -1e9
"""Logit of a pair that does not count as a negative."""


def paired_distance(a: Tensor, b: Tensor) -> Tensor:
    """RMS differences ``(n,)`` of rows: the distance of the search, unit weights."""
    return ((a - b).square().mean(dim=1) + _TINY).sqrt()


def cross_distance(a: Tensor, b: Tensor) -> Tensor:
    """RMS differences ``(n, m)`` of all rows ``(n, feature)`` and ``(m, feature)``."""
    squares = a.square().mean(1)[:, None] + b.square().mean(1)[None]
    return (squares - 2 / a.shape[1] * (a @ b.T)).clamp_min(_TINY).sqrt()


def l2_sum(predicted: Tensor, target: Tensor) -> Tensor:
    """Sum over the batch of the distance to the teacher's logits: the study's loss."""
    return paired_distance(predicted, target).sum()


def infonce(distance: Tensor, scale: Tensor | float, same: Tensor) -> Tensor:
    """Contrast of each pair with the other pairs of the batch, in both directions (InfoNCE).

    ``distance (n, n)``: between overhead i and photo j, with the pairs on the diagonal; ``scale``
    turns distances into logits; ``same (n, n)`` marks pairs that are not true negatives. Source:
    van den Oord et al. 2018.
    """
    logits = (-scale * distance).masked_fill(
        same & ~torch.eye(len(same), dtype=torch.bool, device=same.device), EXCLUDED
    )
    labels = torch.arange(len(logits), device=logits.device)
    to_photos = functional.cross_entropy(logits, labels)
    return (to_photos + functional.cross_entropy(logits.T, labels)) / 2


def soft_cross_entropy(logits: Tensor, shares: Tensor) -> Tensor:
    """Cross entropy with soft labels ``(n, class)`` that sum to 1."""
    return -(shares * logits.log_softmax(dim=1)).sum(dim=1).mean()
