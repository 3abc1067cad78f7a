"""The two kinds of student: a small head on a frozen trunk, or a whole network."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..encoders.formats.lite import CHANNELS, NORMALIZATION, pretrained
from ..encoders.formats.networks import build_dense, dense_forward, weights_bytes
from ..encoders.formats.to_onnx import onnx_bytes
from ..models.spec import IMAGENET_MEAN, IMAGENET_STD
from .augment import NONE, Augmentation, windows
from .data import Chips, PairData, fingerprint, save_array
from .loop import LoopSpec, Progress, fit
from .student import HeadTask, LossSpec, StudentTask

FROZEN = "efficientnet_lite0"
"""The architecture whose trunk keeps its ImageNet weights; only a small head is trained."""

_BATCH = 64  # chips at once in inference


class Learner(Protocol):
    """A student before, during and after its training."""

    def fit(
        self,
        train: PairData,
        valid: PairData,
        metric: NDArray[np.float32] | None,
        identity: str,
        progress: Progress | None,
    ) -> dict[str, float]:
        """Train; returns the figures of the best epoch."""

    def predict(self, chips: Chips) -> NDArray[np.float32]:
        """Vectors ``(chip, feature)`` of chips ``(chip, 3, h, w)``."""

    def export(self) -> tuple[dict[str, Any], dict[str, bytes]]:
        """The network's part of a model's section "overhead", and its files."""


class _Normalized(nn.Module):
    """A network that takes RGB in [0, 1] and normalises it."""

    mean: Tensor
    std: Tensor

    def __init__(self, net: nn.Module, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("mean", torch.tensor(mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(std)[:, None, None], persistent=False)

    def forward(self, rgb: Tensor) -> Tensor:
        result: Tensor = self.net((rgb - self.mean) / self.std)
        return result


class FrozenTrunk:
    """EfficientNet-Lite0 with ImageNet weights, and a perceptron on its pooled features.

    The trunk is applied to each training chip a few times, with different augmentation, before the
    actual training: that takes nearly all the time, so its features are cached in ``run``.
    """

    def __init__(
        self,
        dim: int,
        run: Path,
        *,
        size: int,
        hidden: int,
        dropout: float,
        views: int,
        augment: Augmentation,
        loss: LossSpec,
        batch: int,
        loop: LoopSpec,
    ) -> None:
        self.run, self.size, self.views, self.augment = run, size, views, augment
        self.loss, self.batch, self.loop = loss, batch, loop
        pool = nn.Sequential(pretrained(FROZEN), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.trunk = _Normalized(pool, *NORMALIZATION).eval().requires_grad_(False)
        self.last = nn.Linear(hidden, dim)
        self.head = nn.Sequential(
            nn.BatchNorm1d(CHANNELS),
            nn.Dropout(dropout),
            nn.Linear(CHANNELS, hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            self.last,
        )

    def fit(
        self,
        train: PairData,
        valid: PairData,
        metric: NDArray[np.float32] | None,
        identity: str,
        progress: Progress | None,
    ) -> dict[str, float]:
        with torch.no_grad():  # start from the teacher's mean vector
            self.last.bias.copy_(torch.from_numpy(train.targets[train.photos].mean(axis=0)))
        task = HeadTask(
            self.head, train, valid,
            self._views(train.chips), self._features(valid.chips, NONE, 0),
            loss=self.loss, batch=self.batch, seed=self.loop.seed, metric=metric,
        )  # fmt: skip
        return fit(task, self.loop, self.run, progress, identity)

    def _views(self, chips: Chips) -> NDArray[np.float32]:
        """Features ``(view, chip, channel)`` of the training chips, cached view by view."""
        name = fingerprint(self.size, self.augment, self.loop.seed, chips.tobytes())
        views = []
        for view in range(self.views):
            path = self.run / f"features-{name}-{view}.npy"
            if not path.exists():
                features = self._features(chips, self.augment if view else NONE, view)
                save_array(path, features)
            views.append(np.load(path))
        return np.stack(views)

    def _features(self, chips: Chips, augment: Augmentation, view: int) -> NDArray[np.float32]:
        generator = torch.Generator().manual_seed(self.loop.seed * 1000 + view)
        parts = []
        with torch.inference_mode():
            for start in range(0, len(chips), _BATCH):
                batch = torch.from_numpy(chips[start : start + _BATCH])
                augmented = windows(batch, self.size, augment, generator)
                parts.append(
                    self.trunk(augmented.contiguous(memory_format=torch.channels_last)).numpy()
                )
        return np.concatenate(parts)

    def predict(self, chips: Chips) -> NDArray[np.float32]:
        with torch.inference_mode():
            result: NDArray[np.float32] = self.head.eval()(
                torch.from_numpy(self._features(chips, NONE, 0))
            ).numpy()
        return result

    def export(self) -> tuple[dict[str, Any], dict[str, bytes]]:
        network = nn.Sequential(self.trunk, self.head).eval()
        section = {
            "format": "exported",
            "weights": "overhead.onnx",
            "mean": None,
            "std": None,
            "patch_px": self.size,
            "methods": ["patch"],
        }
        return section, {"overhead.onnx": onnx_bytes(network, self.size)}


class WholeNetwork:
    """A torchvision network trained whole and dense-native (`encoders.networks`)."""

    def __init__(
        self,
        arch: str,
        dim: int,
        run: Path,
        *,
        size: int,
        pool: int,
        stride: int,
        augment: Augmentation,
        loss: LossSpec,
        batch: int,
        loop: LoopSpec,
    ) -> None:
        self.arch, self.run, self.size, self.pool, self.stride = arch, run, size, pool, stride
        self.augment, self.loss, self.batch, self.loop = augment, loss, batch, loop
        self.net = build_dense(arch, dim, stride, pool)
        self.mean = torch.tensor(IMAGENET_MEAN)[:, None, None]
        self.std = torch.tensor(IMAGENET_STD)[:, None, None]

    def forward(self, rgb: Tensor) -> Tensor:
        """Windows ``(n, 3, size, size)`` in [0, 1] to vectors ``(n, feature)``."""
        x = ((rgb - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        return dense_forward(self.net, x, self.pool)

    def fit(
        self,
        train: PairData,
        valid: PairData,
        metric: NDArray[np.float32] | None,
        identity: str,
        progress: Progress | None,
    ) -> dict[str, float]:
        task = self._task(train, valid, metric)
        return fit(task, self.loop, self.run, progress, identity)

    def _task(
        self, train: PairData, valid: PairData, metric: NDArray[np.float32] | None
    ) -> StudentTask:
        return StudentTask(
            self.net, self.forward, train, valid,
            size=self.size, loss=self.loss, augment=self.augment, batch=self.batch,
            seed=self.loop.seed, metric=metric,
        )  # fmt: skip

    def predict(self, chips: Chips) -> NDArray[np.float32]:
        generator, parts = torch.Generator(), []
        with torch.inference_mode():
            for start in range(0, len(chips), _BATCH):
                batch = torch.from_numpy(chips[start : start + _BATCH])
                self.net.eval()
                parts.append(self.forward(windows(batch, self.size, NONE, generator)).numpy())
        return np.concatenate(parts)

    def export(self) -> tuple[dict[str, Any], dict[str, bytes]]:
        context = (self.size - self.pool) // 2
        section = {
            "format": "torchvision",
            "arch": self.arch,
            "weights": "overhead.safetensors",
            "mean": IMAGENET_MEAN,
            "std": IMAGENET_STD,
            "patch_px": self.size,
            "methods": ["dense", "patch"],
            "dense": {"stride": self.stride, "pool_px": self.pool, "halo_px": context},
        }
        return section, {"overhead.safetensors": weights_bytes(self.net)}
