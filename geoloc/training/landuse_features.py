"""Images through the trunks of the land-use model: the features of each view, before any head.

By ONNX Runtime, which passes images through these trunks three times as fast as torch does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..encoders.formats.landuse import INPUT_PX, PHOTO_VIEWS, Trunks, photo_views, turned
from ..encoders.formats.lite import NORMALIZATION
from ..encoders.preprocess import as_square
from .export import onnx_bytes

F32 = NDArray[np.float32]
Images = Sequence[NDArray[np.uint8]]
PHOTO_PX = 256
"""Side to which a photo is stretched: its corners then are as large as a trunk's input."""

PLACE_VIEWS = 4
__all__ = ["PHOTO_PX", "PHOTO_VIEWS", "PLACE_VIEWS", "photo_features", "place_features"]


def photo_features(photos: Images) -> F32:
    """``(photo, views * FEATURES)`` of RGB photos ``(h, w, 3)``."""
    return _features(photos, PHOTO_PX, photo_views)


def place_features(images: Images) -> F32:
    """``(image, rotations * FEATURES)`` of RGB overhead images ``(h, w, 3)``."""
    return _features(images, INPUT_PX, lambda x: (turned(x, n) for n in range(PLACE_VIEWS)))


def _features(images: Images, side: int, views: Callable[[Tensor], Iterable[Tensor]]) -> F32:
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in NORMALIZATION)
    x = torch.stack([as_square(image, side) for image in images]).float() / 255
    seen = [
        _session().run(None, {"rgb": v.contiguous().numpy()})[0] for v in views((x - mean) / std)
    ]
    return np.concatenate(seen, axis=1)


class _Pooled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.trunks = Trunks()

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.trunks(x).mean((2, 3))
        return result


@cache
def _session() -> onnxruntime.InferenceSession:
    """Both trunks: normalised RGB ``(n, 3, INPUT_PX, INPUT_PX)`` -> mean features."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    # waiting threads must not take the cores of others
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(onnx_bytes(_Pooled(), INPUT_PX), options)
