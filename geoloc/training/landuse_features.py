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
    """``(image, (rotations + 1) * PLACE_FEATURES)`` of RGB overhead images ``(h, w, 3)``: the whole
    in each rotation, then its middle."""
    trunks = cpu_session("reflect", halfway=True)
    whole = _features(images, INPUT_PX, place_views, trunks)
    closer = _features([middle(image) for image in images], INPUT_PX, lambda x: [x], trunks)
    return np.concatenate([whole, closer], axis=1)


def middle(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The middle ``(h - h // 4 * 2, w - w // 4 * 2, 3)`` of an image: as if seen from half as
    far."""
    top, left = (length // 4 for length in image.shape[:2])
    return image[top : len(image) - top, left : image.shape[1] - left]


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
    """One image at a time: a processor's cache holds no more, and 32 take a fifth longer each."""
    each = (image[None].contiguous().numpy() for image in view)
    maps = [trunks.run(None, {"rgb": image})[0] for image in each]
    return np.concatenate([one.mean((2, 3)) for one in maps]).astype(np.float32, copy=False)
