"""Chips as the network may encounter them: rotated, mirrored, scaled, in other light and season.

Each chip is resampled once, by one affine map, so that rotation and cropping blur it only once.
"""

from __future__ import annotations

import math

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn import functional


class Augmentation(BaseModel):
    """Ranges to draw from. ``flip``: left to right; ``area``: share of the window that is shown."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rotate: float = Field(default=180.0, ge=0, le=180, description="largest turn, degrees")
    flip: bool = True
    area: tuple[float, float] = (0.8, 1.0)
    shift: float = Field(
        default=0.0, ge=0, description="largest shift of the window, px of the output"
    )
    brightness: float = Field(default=0.15, ge=0)
    contrast: float = Field(default=0.2, ge=0)
    saturation: float = Field(default=0.25, ge=0)
    tint: float = Field(
        default=0.06, ge=0, description="shift of single colours: seams of a mosaic"
    )
    haze: float = Field(default=0.25, ge=0, le=1, description="largest share of white")


class Draws:
    """Random numbers ``(n, column)`` in [0, 1) of a batch, taken column by column.

    They are drawn for the whole batch, so that a process that prepares some of its rows (`rows`)
    prepares them as one that prepares all.
    """

    COLUMNS = 40

    def __init__(self, values: Tensor) -> None:
        self.values, self.used = values, 0

    @classmethod
    def of(cls, count: int, generator: torch.Generator) -> Draws:
        """For a batch of ``count`` samples."""
        return cls(torch.rand(count, cls.COLUMNS, generator=generator))

    def rows(self, rows: slice) -> Draws:
        """Those of some samples, from the first column on."""
        return Draws(self.values[rows])

    def take(self, columns: int) -> Tensor:
        """The next columns ``(n, columns)``."""
        self.used += columns
        return self.values[:, self.used - columns : self.used]


Source = Draws | torch.Generator
"""Where random numbers come from."""


def uniform(source: Source, count: int, columns: int) -> Tensor:
    """Numbers ``(count, columns)`` in [0, 1)."""
    if isinstance(source, Draws):
        return source.take(columns)
    return torch.rand(count, columns, generator=source)


NONE = Augmentation(
    rotate=0, flip=False, area=(1, 1), brightness=0, contrast=0, saturation=0, tint=0, haze=0
)
"""No augmentation: the central window unchanged."""


def central(chips: Tensor, size: int) -> Tensor:
    """The central windows ``(n, c, size, size)`` of images ``(n, c, h, w)``."""
    top, left = ((side - size) // 2 for side in chips.shape[-2:])
    return chips[..., top : top + size, left : left + size]


def windows(chips: Tensor, size: int, spec: Augmentation, source: Source) -> Tensor:
    """Central windows ``(n, 3, size, size)`` in [0, 1] of uint8 chips ``(n, 3, h, w)``.

    Chips should be ``size * sqrt(2)`` wide, or corners of a rotated window are mirrored.
    """
    n, _, height, width = chips.shape
    if spec == NONE:
        return central(chips, size).float() / 255

    def draw(low: float, high: float) -> Tensor:
        return low + (high - low) * uniform(source, n, 1)[:, 0]

    angle = draw(-spec.rotate, spec.rotate) * (math.pi / 180)
    mirror = torch.where(draw(0, 1) < 0.5, -1.0, 1.0) if spec.flip else torch.ones(n)
    scale = draw(*spec.area).sqrt()
    cos, sin = angle.cos() * scale, angle.sin() * scale
    sx, sy = size / width, size / height
    shift = [2 * draw(-spec.shift, spec.shift) / side for side in (width, height)]
    theta = torch.stack(
        [
            torch.stack([cos * sx * mirror, -sin * sx, shift[0]], 1),
            torch.stack([sin * sy * mirror, cos * sy, shift[1]], 1),
        ],
        1,
    )
    lattice = functional.affine_grid(theta, [n, 3, size, size], align_corners=False)
    sampled = functional.grid_sample(
        chips.float() / 255, lattice, padding_mode="reflection", align_corners=False
    )
    return jitter(sampled, spec, source)


def jitter(images: Tensor, spec: Augmentation, source: Source) -> Tensor:
    """Other light, season and haze for images ``(n, 3, h, w)`` in [0, 1]."""
    n = len(images)

    def draw(spread: float, channels: int = 1) -> Tensor:
        return spread * (2 * uniform(source, n, channels)[:, :, None, None] - 1)

    grey = images.mean(dim=1, keepdim=True)
    images = grey + (images - grey) * (1 + draw(spec.saturation))
    middle = images.mean(dim=(1, 2, 3), keepdim=True)
    images = middle + (images - middle) * (1 + draw(spec.contrast))
    images = images * (1 + draw(spec.brightness)) + draw(spec.tint, 3)
    white = spec.haze * uniform(source, n, 1)[:, :, None, None] ** 2
    return (images + (0.9 - images) * white).clamp(0, 1)
