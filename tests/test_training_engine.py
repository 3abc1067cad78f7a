"""One process: gradients that are too long are cut, those that are no numbers are refused."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from geoloc.errors import GeolocError
from geoloc.training.engine import OneProcess


def engine(lr: float = 1.0) -> tuple[OneProcess, nn.Linear]:
    net = nn.Linear(2, 1, bias=False)
    made = OneProcess()
    made.setup(net, torch.optim.SGD(net.parameters(), lr=lr))
    return made, net


def test_a_step_is_at_most_as_long_as_it_may_be() -> None:
    for most, length in ((0.5, 0.5), (100.0, 50.0), (None, 50.0)):
        made, net = engine()
        before = net.weight.detach().clone()
        made.backward(net(torch.tensor([[30.0, 40.0]])).sum(), last=True)
        made.step(most)
        assert torch.isclose((net.weight - before).norm(), torch.tensor(length))
        assert net.weight.grad is None


def test_a_gradient_that_is_no_number_is_refused() -> None:
    made, net = engine()
    made.backward(net(torch.tensor([[float("nan"), 1.0]])).sum(), last=True)
    with pytest.raises(GeolocError, match="not finite: lower"):
        made.step(1.0)
