"""Engines: where pixels go, and in which way."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from geoloc.encoders.runtime import Engine

from .encoder_models import imagery


def test_on_a_cpu_pixels_are_not_copied() -> None:
    pixels = imagery(20, 30)
    tensor = Engine(torch.device("cpu"), torch.float32).upload(pixels)
    assert tensor.data_ptr() == pixels.ctypes.data
    np.testing.assert_array_equal(tensor.numpy(), pixels)


def test_a_gpu_fetches_pixels_from_locked_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """As far as that shows without one: what is asked of torch, in which order."""
    asked: list[Any] = []

    def pin(tensor: torch.Tensor) -> torch.Tensor:
        asked.append("pin")
        return tensor

    def to(tensor: torch.Tensor, device: torch.device, **how: bool) -> torch.Tensor:
        asked.append((device.type, how))
        return tensor

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    monkeypatch.setattr(torch.Tensor, "to", to)
    Engine(torch.device("cuda"), torch.bfloat16).upload(imagery(20, 30))
    assert asked == ["pin", ("cuda", {"non_blocking": True})]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_pixels_arrive_on_a_gpu() -> None:
    pixels = imagery(200, 300)
    tensor = Engine(torch.device("cuda"), torch.bfloat16).upload(pixels)
    assert tensor.device.type == "cuda"
    np.testing.assert_array_equal(tensor.cpu().numpy(), pixels)
