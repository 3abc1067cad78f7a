"""A decoded photo, and the part of it that is queried."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..arrays import U8
from ..errors import UsageError
from ..names import path_text

Crop = tuple[int, int, int, int]
"""left, top, right, bottom, px."""

SMALL = 96
"""Sides shorter than this (px) are reported: encoders see 224 x 224 px, and a smaller picture
shows them little."""


@dataclass(frozen=True, eq=False)
class Photo:
    """A photo as the encoder sees it, and as evidence.

    ``pixels`` uint8 ``(h, w, 3)``, RGB, upright, at most MAX_SIDE on its longest side; ``size``
    ``(w, h)`` before it was reduced; ``sha256`` of the file's bytes. ``exif`` holds ``time``
    (ISO 8601, of the camera's clock) and ``gps`` (``lon``, ``lat``) if the file claims them:
    evidence to report, never an answer. ``origin``: the part and source of the pixels, beyond the
    file itself: ``crop``, ``rotate``, ``frame`` of a video, ``messages`` of a chat,
    ``fetched_from`` and ``fetched_at`` of a photo from the web (JSON types only). ``notes``:
    what a reader of the answer must know about the file, one sentence each.
    """

    path: Path
    name: str
    sha256: str
    pixels: U8
    size: tuple[int, int]
    exif: Mapping[str, Any] = field(default_factory=dict)
    origin: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def file(self) -> str:
        """Its file name, as text that can be written anywhere."""
        return path_text(self.path.name)


@dataclass(frozen=True)
class PhotoView:
    """The part of a photo that is queried.

    crop: left, top, right, bottom in pixels of the upright photo at its full size; rotate:
    degrees clockwise, after the crop.
    """

    crop: Crop | None = None
    rotate: float = 0.0

    def __str__(self) -> str:
        words = [f"crop {','.join(map(str, self.crop))}"] if self.crop else []
        return ", ".join(words + ([f"rotated {self.rotate:g}°"] if self.rotate else []))

    def of(self, photo: Photo) -> Photo:
        """This part of ``photo``, upright; its ``origin`` records the part.

        After any rotation the picture is cut to the largest upright rectangle without blank
        corners. Raises UsageError for a crop that is empty or reaches outside, and for an angle
        that is not a number.
        """
        if not math.isfinite(self.rotate):
            raise UsageError(f"rotate {self.rotate}: give degrees, such as 90 or -2.5")
        image = Image.fromarray(photo.pixels)
        origin = dict(photo.origin)
        if self.crop:
            image = image.crop(_crop_box(photo, self.crop))
            origin["crop"] = list(self.crop)
        if self.rotate:
            image = turned(image, self.rotate)
            origin["rotate"] = self.rotate
        return replace(
            photo,
            pixels=np.asarray(image, np.uint8).copy(),
            origin=origin,
            notes=photo.notes + _part_notes(photo, image.size),
        )


def size_notes(name: str, size: tuple[int, int]) -> tuple[str, ...]:
    """The note on a picture of ``size`` (w, h) px: none unless it is small."""
    if min(size) >= SMALL:
        return ()
    return (
        f"{name} has only {size[0]} x {size[1]} px: too few to recognize a scene with any "
        "certainty; look for a larger copy",
    )


def _part_notes(photo: Photo, kept: tuple[int, int]) -> tuple[str, ...]:
    """Notes on a part of ``kept`` (w, h) px, in px of the photo before it was reduced."""
    if min(photo.size) < SMALL:
        return ()  # noted for the whole photo
    scale = photo.size[0] / photo.pixels.shape[1]
    width, height = (round(side * scale) for side in kept)
    return size_notes(f"the part of {photo.file} that was looked at", (width, height))


def turned(image: Image.Image, degrees: float) -> Image.Image:
    """The image turned clockwise, without blank corners; quarter turns resample nothing."""
    quarters, rest = divmod(degrees, 90)
    transpose = {1: Image.Transpose.ROTATE_270, 2: Image.Transpose.ROTATE_180,
                 3: Image.Transpose.ROTATE_90}.get(int(quarters) % 4)  # fmt: skip
    image = image if transpose is None else image.transpose(transpose)
    if not rest:
        return image
    width, height = inscribed(image.width, image.height, math.radians(rest))
    whole = image.rotate(-rest, Image.Resampling.BICUBIC, expand=True)
    left, top = (whole.width - width) // 2, (whole.height - height) // 2
    return whole.crop((left, top, left + width, top + height))


def inscribed(width: int, height: int, angle: float) -> tuple[int, int]:
    """Width and height of the largest upright rectangle inside one turned by ``angle`` (rad).

    At most a quarter turn. Either two opposite corners touch the long sides (a thin rectangle),
    or all four corners touch a side.
    """
    sin, cos = math.sin(angle), math.cos(angle)
    long, short = max(width, height), min(width, height)
    if short <= 2 * sin * cos * long or abs(sin - cos) < 1e-9:
        half = short / 2
        w, h = (half / sin, half / cos) if width >= height else (half / cos, half / sin)
    else:
        double = cos * cos - sin * sin
        w = (width * cos - height * sin) / double
        h = (height * cos - width * sin) / double
    return max(1, int(w)), max(1, int(h))


def _crop_box(photo: Photo, crop: Crop) -> Crop:
    """The crop in kept pixels, which are fewer than the photo's own if it was reduced."""
    left, top, right, bottom = crop
    width, height = photo.size
    if not (0 <= left < right <= width and 0 <= top < bottom <= height):
        raise UsageError(
            f"crop {','.join(map(str, crop))} is outside {photo.path.name}, which has "
            f"{width} x {height} px: give left,top,right,bottom"
        )
    sx, sy = photo.pixels.shape[1] / width, photo.pixels.shape[0] / height
    return int(left * sx), int(top * sy), math.ceil(right * sx), math.ceil(bottom * sy)
