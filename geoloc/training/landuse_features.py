"""Images through the trunks of the land-use model: the features of each view, before any head.

By ONNX Runtime, which passes images through these trunks three times as fast as torch does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from onnxruntime import InferenceSession
from torch import Tensor

from ..encoders.formats.landuse import (
    INPUT_PX,
    PHOTO_VIEWS,
    PLACE_VIEWS,
    cpu_session,
    photo_views,
    place_views,
)
from ..encoders.formats.lite import NORMALIZATION
from ..encoders.preprocess import as_square

F32 = NDArray[np.float32]
Images = Sequence[NDArray[np.uint8]]
PHOTO_PX = 256
"""Side to which a photo is stretched: its corners then are as large as a trunk's input."""

__all__ = ["PHOTO_PX", "PHOTO_VIEWS", "PLACE_VIEWS", "photo_features", "place_features"]


def photo_features(photos: Images) -> F32:
    """``(photo, views * PHOTO_FEATURES)`` of RGB photos ``(h, w, 3)``."""
    return _features(photos, PHOTO_PX, photo_views, cpu_session("constant", halfway=False))


def place_features(images: Images) -> F32:
    """``(image, rotations * PLACE_FEATURES)`` of RGB overhead images ``(h, w, 3)``."""
    return _features(images, INPUT_PX, place_views, cpu_session("reflect", halfway=True))


def _features(
    images: Images,
    side: int,
    views: Callable[[Tensor], Iterable[Tensor]],
    trunks: InferenceSession,
) -> F32:
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in NORMALIZATION)
    x = torch.stack([as_square(image, side) for image in images]).float() / 255
    seen = [_seen(view, trunks) for view in views((x - mean) / std)]
    return np.concatenate(seen, axis=1)


def _seen(view: Tensor, trunks: InferenceSession) -> F32:
    (maps,) = trunks.run(None, {"rgb": view.contiguous().numpy()})
    return np.asarray(maps.mean((2, 3)), np.float32)
