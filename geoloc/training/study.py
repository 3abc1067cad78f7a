"""Overhead images as the study showed them to its network.

Each chip is resized to 800 px, cut to its central 364, turned by any angle, cut to the central 256
(no corner of the turned image is left in it), cropped at random to 80 to 100 % of that area and
resized to the network's 224 px, and mirrored or not.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from ..encoders.formats.vision import torchvision
from ..extras import extra
from .augment import Draws, central

_TRIES = 10  # of a crop, after which it is the largest of an allowed aspect
_RATIO = (3 / 4, 4 / 3)


class StudyWindows(BaseModel):
    """The study's transforms. ``resize``: px to which a chip is resized, which decides how much of
    it the network sees; ``crop``: of these are turned; ``middle``: of these are cropped."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["study"] = "study"
    resize: int = Field(default=800, ge=32)
    crop: int = Field(default=364, ge=32)
    middle: int = Field(default=256, ge=32)
    area: tuple[float, float] = (0.8, 1.0)
    flip: bool = True


HIGH = StudyWindows()
"""High resolution: the middle of the chip, in all its detail."""

LOW = StudyWindows(resize=400)
"""Low resolution: twice as much ground, at half the detail."""


def study_windows(chips: Tensor, size: int, spec: StudyWindows, draws: Draws) -> Tensor:
    """Windows ``(n, 3, size, size)`` in [0, 1] of uint8 chips ``(n, 3, resize, resize)``."""
    shown = zip(chips, draws.values, strict=True)
    return torch.stack([_window(chip, size, spec, numbers) for chip, numbers in shown])


def _window(chip: Tensor, size: int, spec: StudyWindows, numbers: Tensor) -> Tensor:
    """One chip ``(3, h, w)`` by the random ``numbers``: angle, flip, then the tries of a crop."""
    with extra("train", "the recipe study"):
        vision = torchvision("transforms.functional")

    given = [float(number) for number in numbers]
    bilinear = vision.InterpolationMode.BILINEAR
    turned = vision.rotate(central(chip, spec.crop), 360 * given[0], bilinear)
    box = crop_box(spec.middle, spec.area, given[2:])
    middle = central(turned, spec.middle)
    seen: Tensor = vision.resized_crop(middle, *box, [size, size], bilinear, antialias=True)
    if spec.flip and given[1] < 0.5:
        seen = seen.flip(-1)
    return seen.float() / 255


def crop_box(
    side: int, area: tuple[float, float], numbers: list[float]
) -> tuple[int, int, int, int]:
    """Top, left, height and width of a random crop of a square of ``side`` px.

    As torchvision's RandomResizedCrop: a share of the area, and an aspect drawn uniformly of its
    logarithm; what does not fit is drawn again.
    """
    low, high = (math.log(ratio) for ratio in _RATIO)
    rows, columns = numbers[:2]
    for attempt in range(1, _TRIES + 1):
        share, aspect = numbers[2 * attempt : 2 * attempt + 2]
        pixels = side * side * (area[0] + (area[1] - area[0]) * share)
        ratio = math.exp(low + (high - low) * aspect)
        width, height = round(math.sqrt(pixels * ratio)), round(math.sqrt(pixels / ratio))
        if width <= side and height <= side:
            top, left = int(rows * (side - height + 1)), int(columns * (side - width + 1))
            return top, left, height, width
    return 0, 0, side, side
