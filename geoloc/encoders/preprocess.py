"""From uint8 pixels to a network's input; the same code for training and inference."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..arrays import U8, Bools
from ..models.spec import GroundSpec, NetworkSpec

MIDDLE_GREY = 128


def as_tensor(pixels: U8) -> Tensor:
    """The same pixels as a tensor; copied if torch cannot share them (read-only, flipped)."""
    return torch.from_numpy(np.require(pixels, requirements=["C", "W"]))


def to_input(pixels: Tensor, spec: NetworkSpec) -> Tensor:
    """uint8 RGB ``(n, 3, h, w)`` -> float32 as the network expects it (range, mean, std)."""
    x = pixels.float() * (spec.input_max / 255)
    if spec.mean is None or spec.std is None:
        return x
    mean, std = (torch.tensor(v, device=x.device).view(3, 1, 1) for v in (spec.mean, spec.std))
    return (x - mean) / std


def stretch(photo: U8, spec: GroundSpec) -> Tensor:
    """A photo ``(h, w, 3)`` -> uint8 ``(3, input_px, input_px)``.

    The whole photo is stretched to a square (aspect not kept, as in the training of scene
    classifiers), bilinear with antialiasing, then centre-cropped.
    """
    square = as_square(photo, spec.resize_px or spec.input_px)
    margin = (square.shape[-1] - spec.input_px) // 2
    return square[:, margin : margin + spec.input_px, margin : margin + spec.input_px]


def as_square(pixels: U8, side: int) -> Tensor:
    """An image ``(h, w, 3)`` stretched to uint8 ``(3, side, side)``, bilinear with antialiasing."""
    given = as_tensor(pixels).permute(2, 0, 1)[None]
    return functional.interpolate(given, (side, side), mode="bilinear", antialias=True)[0]


def fill_missing(pixels: U8, valid: Bools, spec: NetworkSpec) -> U8:
    """Pixels ``(3, y, x)`` with the network's mean colour where there is no imagery.

    A neutral colour (zero after normalisation, like a network's own padding) keeps the black of
    missing data from looking like an object.
    """
    if valid.all():
        return pixels
    colour = [MIDDLE_GREY] * 3
    if spec.mean is not None:
        colour = [round(255 * value / spec.input_max) for value in spec.mean]
    return np.where(valid, pixels, np.array(colour, dtype=np.uint8)[:, None, None])
