"""Devices that are not there are refused; Fabric's engine does what one process does."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from geoloc.errors import UsageError
from geoloc.training.engine import OneProcess
from geoloc.training.loop import LoopSpec, fit
from geoloc.training.machine import FabricEngine, Machine
from tests.test_training_loop import Line, weights

CPU = Machine(accelerator="cpu")


def test_what_the_machine_does_not_have_is_refused() -> None:
    assert CPU.processes() == 1 and Machine(accelerator="cpu", devices=3).processes() == 3
    with pytest.raises(UsageError, match="devices 0"):
        Machine(accelerator="cpu", devices=0).processes()
    with pytest.raises(UsageError, match="16-mixed needs a GPU"):
        CPU.check("16-mixed")
    if not torch.cuda.is_available():
        with pytest.raises(UsageError, match="no CUDA device"):
            Machine(accelerator="cuda").kind()


@pytest.mark.parametrize("precision", ["32", "bf16-mixed"])
def test_fabric_learns_what_one_process_learns(tmp_path: Path, precision: str) -> None:
    spec = LoopSpec(epochs=3, lr=0.05, precision=precision)  # type: ignore[arg-type]
    plain, fabric = Line(), Line()
    fit(plain, spec, tmp_path / "plain", engine=OneProcess(spec.precision))
    fit(fabric, spec, tmp_path / "fabric", engine=FabricEngine(CPU, spec.precision))
    assert weights(plain) == weights(fabric)
    again = Line()  # each reads the other's checkpoints
    fit(again, spec, tmp_path / "fabric")
    assert weights(again) == weights(fabric)
