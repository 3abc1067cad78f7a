"""Sums over processes, and batch normalisation over the batches of all of them, on the CPU.

torch's `SyncBatchNorm` needs a GPU. Without it two processes would normalise by half of a batch
each, and not learn what one learns.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class _Total(torch.autograd.Function):
    """The sum over processes, and of their gradients."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:  # noqa: ARG004
        total = value.clone(memory_format=torch.contiguous_format)
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _Total.forward(ctx, gradient)


def total_of(value: Tensor) -> Tensor:
    """The sum of a tensor over all processes, with its gradient.

    Each process computes the loss of the whole batch, so gradients are those of the sum of equal
    losses; data-parallel training divides them by the number of processes again.
    """
    total: Tensor = _Total.apply(value)
    return total


class SharedBatchNorm(nn.BatchNorm2d):
    """A batch normalisation ``(n, c, …)`` whose mean and variance are those of all processes."""

    def _check_input_dim(self, input: Tensor) -> None:
        """Any number of dimensions."""

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return super().forward(input)
        across = [0, *range(2, input.dim())]
        mean = _mean(input.mean(across))
        variance = _mean((input - _spread(mean, input)).square().mean(across))
        self._remember(mean.detach(), variance.detach(), input)
        weight, bias = self.weight, self.bias
        scale = weight / (variance + self.eps).sqrt()
        return input * _spread(scale, input) + _spread(bias - mean * scale, input)

    def _remember(self, mean: Tensor, variance: Tensor, input: Tensor) -> None:
        """Running statistics, as torch keeps them: with the unbiased variance."""
        assert self.running_mean is not None and self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        share = self.momentum or 1 / float(self.num_batches_tracked)
        count = input.numel() // input.shape[1] * torch.distributed.get_world_size()
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance * count / max(count - 1, 1), share)


def share_batchnorm(net: nn.Module) -> None:
    """Make every batch normalisation of a network, in place, one over all processes."""
    for name, child in net.named_children():
        if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d) and child.track_running_stats:
            setattr(net, name, _shared(child))
        else:
            share_batchnorm(child)


def _shared(norm: nn.BatchNorm1d | nn.BatchNorm2d) -> SharedBatchNorm:
    """With the very parameters and buffers of another."""
    shared = SharedBatchNorm(norm.num_features, norm.eps, norm.momentum, norm.affine)
    shared._parameters, shared._buffers = norm._parameters, norm._buffers
    shared.train(norm.training)
    return shared


def _mean(value: Tensor) -> Tensor:
    """The mean over processes, which have equal shares of a batch."""
    return total_of(value) / torch.distributed.get_world_size()


def _spread(value: Tensor, like: Tensor) -> Tensor:
    return value.view(1, -1, *[1] * (like.dim() - 2))
