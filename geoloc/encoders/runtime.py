"""The device and number format of networks, and one callable for every kind of network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn

from ..arrays import U8
from ..errors import ModelError, UsageError
from ..models.formats import FORMATS
from ..models.model import Model
from ..models.spec import NetworkSpec
from .heap import keep_freed_memory
from .preprocess import as_tensor

Network = Callable[[Tensor], Tensor]
_Module = TypeVar("_Module", bound=nn.Module)
Precision = Literal["auto", "float32", "bfloat16"]


@dataclass(frozen=True)
class Engine:
    """A device and a number format; ``run`` calls a network there without gradients."""

    device: torch.device
    dtype: torch.dtype

    @property
    def precision(self) -> str:
        """``float32`` or ``bfloat16``."""
        return str(self.dtype).removeprefix("torch.")

    def place(self, network: _Module) -> _Module:
        """The network on the engine's device, in the memory layout that suits its kernels."""
        return network.to(self.device).to(memory_format=torch.channels_last).eval()

    def upload(self, pixels: U8) -> Tensor:
        """Pixels on the engine's device, shared with the array if that is the CPU.

        A GPU fetches them from page-locked memory (torch keeps and reuses it) by itself, while
        this thread prepares the work on them.
        """
        tensor = as_tensor(pixels)
        if self.device.type != "cuda":
            return tensor
        return tensor.pin_memory().to(self.device, non_blocking=True)

    def run(self, network: Network, x: Tensor) -> Tensor:
        """Float32 input on any device -> float32 output on the engine's device."""
        lower = self.dtype != torch.float32
        with torch.inference_mode(), torch.autocast(self.device.type, self.dtype, enabled=lower):
            x = x.to(self.device, memory_format=torch.channels_last)
            return network(x).float()


def open_engine(
    spec: NetworkSpec,
    device: str = "auto",
    precision: Precision = "auto",
    threads: int | None = None,
) -> Engine:
    """The engine for a network; ``auto``: CUDA if there is a GPU, bfloat16 if it is native.

    ONNX networks compute in the format that they were exported in. ``threads`` limits the CPU
    threads of this process (torch keeps one pool per process).
    Raises UsageError for a device that does not exist.
    """
    if spec.weights.endswith(".onnx"):
        precision = "float32"
    if threads is not None:
        torch.set_num_threads(max(1, threads))
    chosen = _device(device)
    if chosen.type == "cpu":
        keep_freed_memory()
    native = precision == "bfloat16" or (precision == "auto" and has_native_bfloat16(chosen))
    return Engine(chosen, torch.bfloat16 if native else torch.float32)


def has_native_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 is native; emulated, it is slower than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    flags = _cpu_flags()
    return "avx512_bf16" in flags or "amx_bf16" in flags


def open_network(model: Model, spec: NetworkSpec, engine: Engine) -> Network:
    """One of a model's two networks, loaded on the engine's device: (n, 3, h, w) -> (n, D).

    Raises ModelError if the file does not match the specification or is unsafe.
    """
    module, _, name = FORMATS[spec.format].opener.partition(":")
    opened: Network = getattr(import_module(module), name)(
        spec, model.file(spec.weights), model.dim, engine
    )
    return opened


def _device(device: str) -> torch.device:
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError:
        raise UsageError(f"device {device!r} is unknown: use auto, cpu or cuda") from None
    if chosen.type not in ("cpu", "cuda"):
        raise UsageError(f"device {device!r} is not supported: use auto, cpu or cuda")
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"device {device!r}: there is no usable CUDA GPU; use auto or cpu")
    return chosen


def _cpu_flags() -> set[str]:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="ignore")
    except OSError:
        return set()
    line = next((line for line in text.splitlines() if line.startswith("flags")), "")
    return set(line.split())


def check_output(y: Tensor, n: int, dim: int, where: str) -> Tensor:
    """The vectors, if they are ``(n, dim)``. Raises ModelError otherwise."""
    if tuple(y.shape) != (n, dim):
        raise ModelError(
            f"{where} returns {tuple(y.shape)} for {n} images, expected ({n}, {dim}): export it "
            "with a dynamic batch and one output per class"
        )
    return y
