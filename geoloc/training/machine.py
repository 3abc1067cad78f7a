"""On what a training runs: the devices of this machine, through Lightning Fabric.

How many processes share the work changes nothing of what is learnt but the last digits: each
prepares its share of the same batches, and losses are those of whole batches.
"""

from __future__ import annotations

import logging
import warnings
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from ..encoders.heap import keep_freed_memory
from ..errors import UsageError
from ..extras import extra
from .batchnorm import share_batchnorm, total_of
from .engine import Forward, Precision, require_finite

if TYPE_CHECKING:
    from lightning_fabric import Fabric

_PATIENCE = timedelta(hours=24)  # of one process that waits for another to validate


class Machine(BaseModel):
    """Devices and processes; nothing of it is part of what is trained, so a run may go on with
    others. ``devices``: how many; on the CPU, processes. ``checkpoint_minutes``: between
    checkpoints within an epoch."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    accelerator: Literal["auto", "cpu", "cuda"] = "auto"
    devices: int | Literal["auto"] = Field(default="auto")
    strategy: Literal["auto", "ddp"] = "auto"
    checkpoint_minutes: float = Field(default=10, ge=0)

    def kind(self) -> Literal["cpu", "cuda"]:
        """The accelerator. Raises UsageError where there is none of that kind."""
        present = torch.cuda.device_count()
        if self.accelerator == "cuda" and not present:
            raise UsageError("accelerator cuda: no CUDA device is here: use cpu or auto")
        return "cuda" if present and self.accelerator != "cpu" else "cpu"

    def processes(self) -> int:
        """One a device. Raises UsageError for more than there are."""
        present = torch.cuda.device_count() if self.kind() == "cuda" else None
        if self.devices == "auto":
            return present or 1
        if self.devices < 1 or (present is not None and self.devices > present):
            least = f"1 to {present}" if present else "1 or more"
            raise UsageError(f"devices {self.devices}: use {least} or auto")
        return self.devices

    def check(self, precision: Precision) -> None:
        """Before any work: raises UsageError for devices or a precision that are not there,
        NotInstalledError without Fabric."""
        with extra("train", "a training"):
            import lightning_fabric  # noqa: F401

        self.processes()
        if precision == "16-mixed" and self.kind() == "cpu":
            raise UsageError("precision 16-mixed needs a GPU: use bf16-mixed or 32 on the CPU")


class FabricEngine:
    """See `engine.Engine`. ``rank`` of ``world`` processes that meet at ``port`` of this machine;
    port 0: there is one."""

    def __init__(
        self, machine: Machine, precision: Precision, *, rank: int = 0, world: int = 1,
        port: int = 0,
    ) -> None:  # fmt: skip
        with extra("train", "a training"):
            from lightning_fabric import Fabric

        _quieten()
        machine.check(precision)
        kind = machine.kind()
        if kind == "cpu":
            keep_freed_memory()
        self.rank, self.world, self.precision = rank, world, precision
        strategy: Any = "auto"
        if world > 1 or machine.strategy == "ddp":
            strategy = _shared_work(rank, world, port)
        self.fabric: Fabric = Fabric(
            accelerator=kind, devices=world, strategy=strategy, precision=_PRECISIONS[precision]
        )
        self.fabric.launch()
        self.device = self.fabric.device

    def setup(self, net: nn.Module, optimizer: torch.optim.Optimizer) -> Forward:
        """See `Engine`."""
        if self.world > 1 and self.device.type == "cpu":
            share_batchnorm(net)
        elif self.world > 1:
            nn.SyncBatchNorm.convert_sync_batchnorm(net)  # type: ignore[no-untyped-call]
        self._module, self._optimizer = self.fabric.setup(net, optimizer)
        forward: Forward = self._module
        return forward

    def autocast(self) -> AbstractContextManager[Any]:
        """See `Engine`."""
        context: AbstractContextManager[Any] = self.fabric.autocast()
        return context

    def backward(self, loss: Tensor, *, last: bool) -> None:
        """See `Engine`."""
        alone = self.world > 1 and not last
        with self.fabric.no_backward_sync(self._module, enabled=alone):
            self.fabric.backward(loss)

    def step(self, most: float | None) -> None:
        """See `Engine`."""
        if most is not None:
            norm = self.fabric.clip_gradients(
                self._module, self._optimizer, max_norm=most, error_if_nonfinite=False
            )
            if self.precision != "16-mixed":  # whose scaler passes over such steps
                require_finite(norm)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)

    def gather(self, rows: Tensor) -> Tensor:
        """See `Engine`."""
        if self.world == 1:
            return rows
        every = rows.new_zeros(self.world, *rows.shape)
        every[self.rank] = rows
        return total_of(every).flatten(0, 1)

    def state(self) -> dict[str, Any]:
        """The scale of losses, in half precision."""
        state: dict[str, Any] = self.fabric.strategy.precision.state_dict()
        return state

    def restore(self, state: dict[str, Any]) -> None:
        """See `Engine`."""
        self.fabric.strategy.precision.load_state_dict(state)

    def save(self, value: dict[str, Any], path: Path) -> None:
        """By Fabric's checkpoint I/O, in this process alone: all have the same."""
        self.fabric.strategy.checkpoint_io.save_checkpoint(value, path)

    def load(self, path: Path) -> dict[str, Any]:
        """See `Engine`."""
        loaded: dict[str, Any] = self.fabric.strategy.checkpoint_io.load_checkpoint(
            path, map_location="cpu", weights_only=True
        )
        return loaded

    def barrier(self) -> None:
        """See `Engine`."""
        self.fabric.barrier()

    def close(self) -> None:
        """Leave the other processes."""
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


def _quieten() -> None:
    """What Fabric and torch report of their own workings is nothing that users can act on."""
    for name in ("lightning_fabric", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message="Grad strides do not match")


_PRECISIONS: dict[Precision, Any] = {
    "32": "32-true", "bf16-mixed": "bf16-mixed", "16-mixed": "16-mixed",
}  # fmt: skip


def _shared_work(rank: int, world: int, port: int) -> Any:
    """Fabric's data-parallel strategy among processes that are there already."""
    from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
    from lightning_fabric.strategies.ddp import DDPStrategy

    class Here(ClusterEnvironment):
        """Processes of this machine, which `processes` has started."""

        creates_processes_externally = True
        main_address = "127.0.0.1"
        main_port = port

        @staticmethod
        def detect() -> bool:
            return False

        def world_size(self) -> int:
            return world

        def set_world_size(self, size: int) -> None:
            assert size == world

        def global_rank(self) -> int:
            return rank

        def set_global_rank(self, rank: int) -> None: ...

        def local_rank(self) -> int:
            return rank

        def node_rank(self) -> int:
            return 0

    return DDPStrategy(cluster_environment=Here(), timeout=_PATIENCE)
