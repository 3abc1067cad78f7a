"""Colours by their ICC profiles, as sRGB: what screens show and encoders are trained on."""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

from ..arrays import F64

Chromaticities = Sequence[tuple[float, float]]
"""x, y (CIE 1931) of white, red, green and blue."""

D65 = (0.3127, 0.3290)
ADOBE_RGB: Chromaticities = (D65, (0.64, 0.33), (0.21, 0.71), (0.15, 0.06))
ADOBE_GAMMA = 563 / 256
"""Adobe RGB (1998), annex A."""

_SPACES: Mapping[str, str] = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK"}  # ICC's names, Pillow's
_SAME = 3  # levels of 255 that a profile may change and still count as sRGB
_D50 = np.array([0.9642, 1.0, 0.8249])  # of ICC's connection space
_BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)

ProfileErrors = (ImageCms.PyCMSError, OSError, TypeError, ValueError, KeyError)
"""Errors that unusable profiles raise."""


def to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """A picture (RGB, L or CMYK) as sRGB, in RGB; one already in sRGB is bit-identical.

    Raises ProfileErrors if the profile is damaged or for another kind of picture.
    """
    mode, transform = _transform(profile)
    if mode == "RGB" and image.mode == "L":
        image = image.convert("RGB")
    if image.mode != mode:
        raise ValueError(f"a profile for {mode} in a picture of {image.mode}")
    if transform is None:
        return image if image.mode == "RGB" else image.convert("RGB")
    done = ImageCms.applyTransform(image, transform)
    assert done is not None  # it is None only for in-place transforms
    return done


@lru_cache(maxsize=16)
def _transform(profile: bytes) -> tuple[str, ImageCms.ImageCmsTransform | None]:
    """The mode that a profile is for, and the transform to sRGB; None if that is the identity."""
    opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    mode = _SPACES[opened.profile.xcolor_space]
    transform = ImageCms.buildTransform(
        opened,
        ImageCms.createProfile("sRGB"),
        mode,
        "RGB",
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
        ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    return mode, None if _changes_nothing(mode, transform) else transform


def _changes_nothing(mode: str, transform: ImageCms.ImageCmsTransform) -> bool:
    """Whether colours from all over the RGB cube stay unchanged."""
    if mode == "CMYK":
        return False
    levels = np.linspace(0, 255, 18, dtype=np.uint8)
    cube = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, -1, 3)
    colours = Image.fromarray(cube if mode == "RGB" else np.arange(256, dtype=np.uint8)[None])
    after = ImageCms.applyTransform(colours, transform)
    before = np.asarray(colours.convert("RGB"), np.int16)
    return bool(np.abs(np.asarray(after, np.int16) - before).max() <= _SAME)


@lru_cache(maxsize=16)
def matrix_profile(chromaticities: tuple[tuple[float, float], ...], gamma: float) -> bytes:
    """An ICC profile (version 4.3) of an RGB space whose values to the power of ``gamma`` are
    light. Raises ValueError where the primaries span no colours."""
    try:
        colorants = _colorants(chromaticities)
    except (np.linalg.LinAlgError, ZeroDivisionError) as error:
        raise ValueError(str(error)) from None
    tags = {b"wtpt": _xyz(_D50)}
    for name, colorant in zip(b"rgb", colorants.T, strict=True):
        tags[bytes([name]) + b"XYZ"] = _xyz(colorant)
        tags[bytes([name]) + b"TRC"] = struct.pack(">4s4xHHi", b"para", 0, 0, _fixed(gamma))
    return _profile(tags)


def _colorants(chromaticities: Chromaticities) -> F64:
    """XYZ of the primaries in columns, adapted to D50 (Bradford, ICC.1:2010 annex E)."""
    white, *primaries = (np.array([x / y, 1.0, (1 - x - y) / y]) for x, y in chromaticities)
    columns = np.array(primaries).T
    columns = columns * np.linalg.solve(columns, white)
    cones = (_BRADFORD @ _D50) / (_BRADFORD @ white)
    adapted = np.linalg.solve(_BRADFORD, cones[:, None] * (_BRADFORD @ columns))
    return np.asarray(adapted, np.float64)


def _profile(tags: Mapping[bytes, bytes]) -> bytes:
    table, body, at = b"", b"", 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        content += bytes(-len(content) % 4)
        table += name + struct.pack(">II", at + len(body), len(content))
        body += content
    head = struct.pack(">I4sI4s4s4s12x4s28xiii48x", at + len(body), bytes(4), 0x04300000, b"mntr",
                       b"RGB ", b"XYZ ", b"acsp", *map(_fixed, _D50))  # fmt: skip
    return head + struct.pack(">I", len(tags)) + table + body


def _xyz(values: F64) -> bytes:
    return struct.pack(">4s4xiii", b"XYZ ", *map(_fixed, values))


def _fixed(value: float) -> int:
    """s15Fixed16Number."""
    return round(value * 65536)
