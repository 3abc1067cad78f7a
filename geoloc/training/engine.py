"""What a training runs on: one process of the CPU, or what Fabric makes of devices.

The loop does its arithmetic through an `Engine`, of which it knows nothing else. `OneProcess` needs
no extra package; `fabric.FabricEngine` has devices, mixed precision and several processes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from ..errors import GeolocError

Precision = Literal["32", "bf16-mixed", "16-mixed"]
Forward = Callable[[Tensor], Tensor]


class Engine(Protocol):
    """``rank`` of ``world`` processes; each trains on its share of the same batches."""

    rank: int
    world: int
    device: torch.device

    def setup(self, net: nn.Module, optimizer: torch.optim.Optimizer) -> Forward:
        """Moves both to the device; the network's forward, by which gradients are shared."""

    def autocast(self) -> AbstractContextManager[Any]: ...

    def backward(self, loss: Tensor, *, last: bool) -> None:
        """Gradients of a part of a batch; shared among the processes after the ``last`` part."""

    def step(self, most: float | None) -> None:
        """An optimiser step; ``most``: the largest norm of the gradient, longer ones are cut."""

    def gather(self, rows: Tensor) -> Tensor:
        """The rows ``(n, feature)`` of all processes, in their order, with their gradients.

        A loss of what is gathered has the gradient that one process with all rows would have.
        """

    def state(self) -> dict[str, Any]:
        """What else a checkpoint must hold."""

    def restore(self, state: dict[str, Any]) -> None: ...

    def save(self, value: dict[str, Any], path: Path) -> None: ...

    def load(self, path: Path) -> dict[str, Any]:
        """What was saved, by tensors and plain values alone: nothing in a file is executed."""

    def barrier(self) -> None:
        """Wait for the other processes."""


def require_finite(norm: Tensor | None) -> None:
    """Raise GeolocError for the norm of a gradient that is not finite."""
    if norm is not None and not math.isfinite(float(norm)):
        raise GeolocError("the gradient is not finite: lower loop.lr or loop.clip")


class OneProcess:
    """This process, on the CPU if nothing else is said."""

    rank, world = 0, 1

    def __init__(self, precision: Precision = "32", device: torch.device | None = None) -> None:
        self.precision, self.device = precision, device or torch.device("cpu")

    def setup(self, net: nn.Module, optimizer: torch.optim.Optimizer) -> Forward:
        """The network's own forward."""
        self._net, self._optimizer = net, optimizer
        return net

    def autocast(self) -> AbstractContextManager[Any]:
        """bfloat16 if that was chosen."""
        kind = self.device.type
        return torch.autocast(kind, torch.bfloat16, enabled=self.precision != "32")

    def backward(self, loss: Tensor, *, last: bool) -> None:  # noqa: ARG002
        """See `Engine`."""
        loss.backward()  # type: ignore[no-untyped-call]

    def step(self, most: float | None) -> None:
        """See `Engine`."""
        if most is not None:
            require_finite(nn.utils.clip_grad_norm_(self._net.parameters(), most))
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)

    def gather(self, rows: Tensor) -> Tensor:
        """All there are."""
        return rows

    def state(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Nothing."""

    def save(self, value: dict[str, Any], path: Path) -> None:
        """See `Engine`."""
        torch.save(value, path)

    def load(self, path: Path) -> dict[str, Any]:
        """See `Engine`."""
        loaded: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        return loaded

    def barrier(self) -> None:
        """There are no others."""
