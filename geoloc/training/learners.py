"""A student that is trained whole; one on a frozen trunk is in `frozen`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..encoders.formats.lite import NORMALIZATION
from ..encoders.formats.networks import (
    SplitNetwork,
    build_dense,
    build_network,
    dense_forward,
    is_lite,
    weights_bytes,
)
from ..models.spec import IMAGENET_MEAN, IMAGENET_STD
from .data import Chips, PairData
from .initial import last_linear, load_initial
from .student import StudentTask, Views, plain

_BATCH = 64  # chips at once in inference


class Learner(Protocol):
    """A student before, during and after its training."""

    def task(self, train: PairData, valid: PairData, **settings: Any) -> StudentTask:
        """What is trained; ``settings``: see `StudentTask`."""

    def predict(self, chips: Chips) -> NDArray[np.float32]:
        """Vectors ``(chip, feature)`` of chips ``(chip, 3, h, w)``."""

    def export(self) -> tuple[dict[str, Any], dict[str, bytes]]:
        """The network's part of a model's section "overhead", and its files."""

    @property
    def trunks(self) -> tuple[str, ...]:
        """Those of its trunks whose weights are not in its files (`models.trunks`)."""


class Normalized(nn.Module):
    """A network that takes RGB in [0, 1] and normalises it."""

    mean: Tensor
    std: Tensor

    def __init__(self, net: nn.Module, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("mean", torch.tensor(mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(std)[:, None, None], persistent=False)

    def forward(self, rgb: Tensor) -> Tensor:
        x = ((rgb - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        result: Tensor = self.net(x)
        return result


class Central(nn.Module):
    """A dense-native network: the vector of the centre of each window, context on all sides."""

    def __init__(self, split: SplitNetwork, pool_px: int) -> None:
        super().__init__()
        self.split, self.pool_px = split, pool_px

    def forward(self, x: Tensor) -> Tensor:
        return dense_forward(self.split, x, self.pool_px)


class WholeNetwork:
    """A network that is trained whole (`encoders.formats.networks`).

    ``pool``: px of the window's centre that are pooled, at a ``stride``: dense-native. None: the
    network as it is, over a patch without context. ``init``: file of initial weights, or None.
    ``from_mean``: the first predictions are near the teacher's mean vector.
    """

    def __init__(
        self,
        arch: str,
        dim: int,
        *,
        size: int,
        pool: int | None,
        stride: int,
        augment: Views,
        init: Path | None = None,
        from_mean: bool = False,
    ) -> None:
        self.from_mean = from_mean
        self.arch, self.size, self.pool, self.stride = arch, size, pool, stride
        self.augment = augment
        self.normalization = NORMALIZATION if is_lite(arch) else (IMAGENET_MEAN, IMAGENET_STD)
        self.network: nn.Module
        if pool is None:
            self.network = core = build_network(arch, dim)
        else:
            split = build_dense(arch, dim, stride, pool)
            core, self.network = split.network, Central(split, pool)
        if init is not None:
            load_initial(core, init, arch)
        self._core = core
        self.net = Normalized(self.network, *self.normalization)

    def task(self, train: PairData, valid: PairData, **settings: Any) -> StudentTask:
        """See `Learner`."""
        last = last_linear(self._core)
        if self.from_mean and last is not None and last.bias is not None:
            with torch.no_grad():
                last.bias.copy_(torch.from_numpy(train.targets[train.photos].mean(axis=0)))
        return StudentTask(self.net, train, valid, size=self.size, augment=self.augment, **settings)

    def predict(self, chips: Chips) -> NDArray[np.float32]:
        """See `Learner`."""
        parts = []
        device = next(self.net.parameters()).device
        self.net.eval()
        with torch.inference_mode():
            for start in range(0, len(chips), _BATCH):
                shown = plain(torch.from_numpy(chips[start : start + _BATCH]), self.size)
                parts.append(self.net(shown.to(device)).float().cpu().numpy())
        return np.concatenate(parts)

    def export(self) -> tuple[dict[str, Any], dict[str, bytes]]:
        """See `Learner`."""
        mean, std = self.normalization
        section: dict[str, Any] = {
            "format": "torchvision",
            "arch": self.arch,
            "weights": "overhead.safetensors",
            "mean": mean,
            "std": std,
            "patch_px": self.size,
            "methods": ["patch"],
        }
        if self.pool is not None:
            section["methods"] = ["dense", "patch"]
            section["dense"] = {
                "stride": self.stride,
                "pool_px": self.pool,
                "halo_px": (self.size - self.pool) // 2,
            }
        return section, {"overhead.safetensors": weights_bytes(self._core)}

    @property
    def trunks(self) -> tuple[str, ...]:
        """See `Learner`."""
        return ()
