"""A student whose trunk keeps its ImageNet weights: only a small head is trained, in minutes.

The trunk is applied to each training chip a few times, with different augmentation, before the
actual training: that takes nearly all the time, so its features are cached.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..encoders.formats.lite import CHANNELS, NORMALIZATION, pretrained
from ..encoders.formats.lite0 import PlaceLite0
from ..encoders.formats.networks import weights_bytes
from ..encoders.formats.to_onnx import onnx_bytes, onnx_session
from ..errors import UsageError
from .augment import NONE, Draws, windows
from .data import Chips, PairData, fingerprint, save_array
from .initial import last_linear
from .learners import Normalized
from .student import HeadTask, StudentTask, Views
from .study import StudyWindows, study_windows

POOLED, MIDDLE = "efficientnet_lite0", "place_lite0"
FROZEN = (POOLED, MIDDLE)
"""The architectures with a frozen trunk: the patch method alone, and dense-native."""

_BATCH = 64  # chips at once
_PART = 16  # windows at once: of more, their maps do not stay in a processor's cache


class Body(Protocol):
    """A frozen ``trunk``, images ``(n, 3, h, w)`` to features ``(n, channel)``, and a ``head``."""

    trunk: nn.Module
    head: nn.Module

    def begin(self, features: NDArray[np.float32]) -> None:
        """Know the training's features ``(chip, channel)``."""

    def export(self, size: int) -> tuple[dict[str, Any], dict[str, bytes]]:
        """See `Learner`; ``size``: px of a window."""


class Pooled:
    """EfficientNet-Lite0, pooled over the whole patch, and a perceptron."""

    def __init__(self, dim: int, hidden: int, dropout: float) -> None:
        self.trunk: nn.Module = nn.Sequential(
            pretrained(POOLED), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        )
        self.head: nn.Module = nn.Sequential(
            nn.BatchNorm1d(CHANNELS),
            nn.Dropout(dropout),
            nn.Linear(CHANNELS, hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, dim),
        )

    def begin(self, features: NDArray[np.float32]) -> None:
        """Nothing: it normalises by batches."""

    def export(self, size: int) -> tuple[dict[str, Any], dict[str, bytes]]:
        """See `Body`."""
        trunk = Normalized(self.trunk, *NORMALIZATION)
        network = nn.Sequential(trunk, self.head).cpu().eval()
        section = {"format": "exported", "weights": "overhead.onnx", "mean": None, "std": None,
                   "methods": ["patch"]}  # fmt: skip
        return section, {"overhead.onnx": onnx_bytes(network, size)}


class _Middle(nn.Module):
    def __init__(self, network: PlaceLite0) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return self.network.middle(x)


class Middle:
    """The sandbox's network: the early stages of EfficientNet-Lite0 around the middle of a window.

    ``dense``: the rest of the window is context, and it runs over whole tiles.
    """

    def __init__(self, dim: int, dense: bool) -> None:
        self._network, self._dense = PlaceLite0(dim).eval(), dense
        self.trunk: nn.Module = _Middle(self._network)
        self.head: nn.Module = self._network.head

    def begin(self, features: NDArray[np.float32]) -> None:
        """See `Body`: they are standardised."""
        self._network.head.standardise(torch.from_numpy(features))

    def export(self, size: int) -> tuple[dict[str, Any], dict[str, bytes]]:  # noqa: ARG002
        """See `Body`."""
        mean, std = NORMALIZATION
        section: dict[str, Any] = {
            "format": "torchvision", "arch": MIDDLE, "weights": "overhead.safetensors",
            "mean": mean, "std": std, "methods": ["patch"],
        }  # fmt: skip
        if self._dense:
            section["methods"] = ["dense", "patch"]
            section["dense"] = {"stride": PlaceLite0.STRIDE, "pool_px": PlaceLite0.POOL}
        return section, {"overhead.safetensors": weights_bytes(self._network)}


class FrozenTrunk:
    """See `Learner`. ``views``: of each training chip, the first of them unaltered; their features
    are cached in ``run``."""

    def __init__(
        self, arch: str, body: Body, run: Path, *, size: int, views: int, augment: Views,
        seed: int, device: torch.device,
    ) -> None:  # fmt: skip
        self.arch, self.body = arch, body
        self.run, self.size, self.views, self.augment = run, size, views, augment
        self.seed, self.device = seed, device
        trunk = Normalized(body.trunk, *NORMALIZATION)
        self.trunk = trunk.eval().requires_grad_(False).to(device)

    def task(self, train: PairData, valid: PairData, **settings: Any) -> StudentTask:
        """See `Learner`."""
        views, last = self._views(train.chips), last_linear(self.body.head)
        self.body.begin(views.reshape(-1, views.shape[-1]))
        assert last is not None
        with torch.no_grad():  # start from the teacher's mean vector
            last.bias.copy_(torch.from_numpy(train.targets[train.photos].mean(axis=0)))
        self.body.head.requires_grad_(True)
        return HeadTask(self.body.head, train, valid, views, self._plain, **settings)

    def _plain(self, chips: Chips) -> NDArray[np.float32]:
        return self._features(chips, NONE, 0)

    def _views(self, chips: Chips) -> NDArray[np.float32]:
        """Features ``(view, chip, channel)`` of the training chips, cached view by view."""
        known = (self.size, self.augment, self.seed, chips.digest())
        name = fingerprint(*known if self.arch == POOLED else (self.arch, *known))
        views = []
        for view in range(self.views):
            path = self.run / f"features-{name}-{view}.npy"
            features = _kept(path, len(chips))
            if features is None:
                features = self._features(chips, self.augment if view else NONE, view)
                save_array(path, features)
            views.append(features)
        return np.stack(views)

    def _features(self, chips: Chips, augment: Views, view: int) -> NDArray[np.float32]:
        generator = torch.Generator().manual_seed(self.seed * 1000 + view)
        parts = []
        with torch.inference_mode():
            for start in range(0, len(chips), _BATCH):
                batch = torch.from_numpy(chips[start : start + _BATCH])
                parts.append(self._seen(_shown(batch, self.size, augment, generator)))
        return np.concatenate(parts)

    def _seen(self, shown: Tensor) -> NDArray[np.float32]:
        """Features of windows: on a CPU by ONNX Runtime, three times as fast as torch is."""
        if self.device.type != "cpu":
            return np.asarray(self.trunk(shown.to(self.device)).cpu().numpy())
        parts = [
            self._session.run(None, {"rgb": part.contiguous().numpy()})[0]
            for part in torch.split(shown, _PART)
        ]
        return np.concatenate(parts)

    @cached_property
    def _session(self) -> onnxruntime.InferenceSession:
        return onnx_session(self.trunk, self.size)

    def predict(self, chips: Chips) -> NDArray[np.float32]:
        """See `Learner`."""
        head = self.body.head.eval().cpu()
        with torch.inference_mode():
            result: NDArray[np.float32] = head(torch.from_numpy(self._plain(chips))).numpy()
        return result

    def export(self) -> tuple[dict[str, Any], dict[str, bytes]]:
        """See `Learner`."""
        self.trunk.cpu()
        section, files = self.body.export(self.size)
        return {**section, "patch_px": self.size}, files

    @property
    def trunks(self) -> tuple[str, ...]:
        """See `Learner`; those of an exported file are in it."""
        return () if self.arch == POOLED else (POOLED,)


def _kept(path: Path, chips: int) -> NDArray[np.float32] | None:
    """Features of an earlier run; None where there are none, or not whole ones."""
    try:
        features: NDArray[np.float32] = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return features if len(features) == chips else None


def frozen_body(
    arch: str, dim: int, *, hidden: int, dropout: float, dense: bool, window: tuple[int, int]
) -> Body:
    """The body of an architecture. ``window``: stride and px that are pooled, where ``dense``.

    Raises UsageError for another window than a dense-native one has.
    """
    if arch == POOLED:
        return Pooled(dim, hidden, dropout)
    own = PlaceLite0.STRIDE, PlaceLite0.POOL
    if dense and window != own:
        raise UsageError(f"arch {arch} needs stride {own[0]} and pool_px {own[1]}: set them")
    return Middle(dim, dense)


def _shown(batch: Tensor, size: int, augment: Views, generator: torch.Generator) -> Tensor:
    if isinstance(augment, StudyWindows):
        return study_windows(batch, size, augment, Draws.of(len(batch), generator))
    return windows(batch, size, augment, generator)
