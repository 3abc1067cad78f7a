"""Any picture that Pillow opens, as upright 8-bit sRGB, by the file's own colour metadata."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms

from ..arrays import U8
from .hdr import HLG, PQ, needs_mapping, tone_mapped
from .profiles import (
    ADOBE_GAMMA,
    ADOBE_RGB,
    D65,
    ProfileErrors,
    matrix_profile,
    to_srgb,
)

_WHITE = (255, 255, 255, 255)
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_90,
}  # fmt: skip
"""The transpose that undoes each EXIF orientation."""

_BITS, _PHOTOMETRIC, _MAXIMUM, _COLOURS, _FORMAT = 258, 262, 281, 320, 339  # tags of TIFF 6.0
_WHITE_IS_ZERO, _SIGNED = 0, 2
_ADOBE_RGB_NAME = "R03"  # Adobe RGB without a profile, as cameras mark it (DCF 2.0)
_SRGB_PRIMARIES = (D65, (0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
_PRINTED_GAMMA = 1 / 2.2  # the gamma of PNGs in sRGB

Signal = tuple[int, int]
"""Primaries and transfer characteristics (ITU-T H.273) of a HEIF, AVIF or PNG."""


def to_rgb(image: Image.Image, signal: Signal | None = None) -> tuple[Image.Image, tuple[str, ...]]:
    """8-bit RGB, and what had to be assumed about its colours.

    Deep greys are scaled, not clipped; transparency is composited on white; inverted greys are
    corrected; a colour profile is applied. A picture already in sRGB stays unchanged.
    """
    flat = _flat(image)
    profile = image.info.get("icc_profile")
    if signal and (signal[1] in (PQ, HLG) or not profile) and needs_mapping(*signal):
        levels = np.asarray(flat.convert("RGB"), np.uint16) * np.uint16(257)
        return Image.fromarray(tone_mapped(levels, *signal)), ()
    profile = profile or _implied_profile(image)
    if not profile:
        return _rgb(flat), ()
    try:
        return to_srgb(flat, profile), ()
    except ProfileErrors:
        return _rgb(flat), (
            "its colour profile is damaged or for another kind of picture: it was ignored, and "
            "the colours were read as sRGB",
        )


def _rgb(image: Image.Image) -> Image.Image:
    return image if image.mode == "RGB" else image.convert("RGB")


def orientation_of(image: Image.Image) -> int | None:
    """The EXIF orientation, 1 to 8; None if damaged or absent."""
    try:
        value: Any = image.getexif().get(ExifTags.Base.Orientation)
        if isinstance(value, bytes | tuple | list):
            value = value[0]  # a wrong type, but readable
        orientation = int(value)
    except Exception:  # noqa: BLE001  (its tags may hold anything; the pixels are intact)
        return None
    return orientation if 1 <= orientation <= 8 else None


def upright(image: Image.Image, orientation: int) -> Image.Image:
    """The picture turned as its EXIF orientation demands."""
    turn = _TURNS.get(orientation)
    return image if turn is None else image.transpose(turn)


def _flat(image: Image.Image) -> Image.Image:
    """RGB, L or CMYK: no depth, no transparency, no palette."""
    if image.mode in ("F", "I") or image.mode.startswith("I;16"):
        return Image.fromarray(_to_8_bit(np.asarray(image), _tags(image)))
    if image.mode in ("P", "PA"):
        image = _with_true_palette(image)
    if image.mode in ("La", "RGBa"):
        image = image.convert(image.mode.upper())
    if image.mode == "LAB":
        return _from_lab(image)
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, _WHITE)
        laid = Image.alpha_composite(white, image.convert("RGBA"))
        return laid.getchannel(0) if image.mode == "LA" else laid.convert("RGB")
    if image.mode in ("1", "LA"):
        return image.convert("L")
    return image if image.mode in ("RGB", "L", "CMYK") else image.convert("RGB")


def _tags(image: Image.Image) -> Mapping[int, Any]:
    """The tags of a TIFF; empty for other formats."""
    tags: Mapping[int, Any] = getattr(image, "tag_v2", {})
    return tags


def _to_8_bit(values: NDArray[Any], tags: Mapping[int, Any]) -> U8:
    """8-bit greys of any depth, from black to the file's stated white, else the implied one."""
    grey = np.nan_to_num(values.astype(np.float64), posinf=0.0).clip(0)
    white = _white(values, float(grey.max(initial=0.0)), tags)
    share = (grey / white).clip(0, 1)
    if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        share = 1 - share
    return np.asarray(np.rint(share * 255), np.uint8)


def _white(values: NDArray[Any], largest: float, tags: Mapping[int, Any]) -> float:
    if values.dtype.kind == "f":
        return next((limit for limit in (1.0, 255.0, 65535.0) if largest <= limit), largest)
    bits = _first(tags.get(_BITS), 16)
    depth = (1 << (bits - 1 if _first(tags.get(_FORMAT), 1) == _SIGNED else bits)) - 1
    maximum = _first(tags.get(_MAXIMUM), 0)
    if 0 < maximum < depth and largest <= maximum:
        return float(maximum)  # a sensor of 12 bits in fields of 16
    return float(depth) if bits <= 16 else max(65535.0, largest)


def _first(value: Any, otherwise: int) -> int:
    first = value[0] if isinstance(value, tuple) and value else value
    return first if isinstance(first, int) else otherwise


def _with_true_palette(image: Image.Image) -> Image.Image:
    """A TIFF's palette has 16 bits per colour; some writers put 8-bit values there (libtiff
    accepts them), of which Pillow keeps only the upper, empty byte."""
    colours = _tags(image).get(_COLOURS, ())
    if not colours or not 0 < max(colours) < 256:
        return image
    image = image.copy()
    planes = np.array(colours, np.uint8).reshape(3, -1)
    image.putpalette(planes.T.tobytes(), "RGB")
    return image


def _from_lab(image: Image.Image) -> Image.Image:
    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    done = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
    assert done is not None  # it is None only for in-place transforms
    return done


def _implied_profile(image: Image.Image) -> bytes | None:
    """The profile that a file implies without embedding it: a camera's Adobe RGB, or a PNG's gamma
    and primaries."""
    if image.format == "PNG":
        return _png_profile(image.info)
    if image.format in ("JPEG", "MPO") and b"R03\x00" in image.info.get("exif", b""):
        try:
            name = image.getexif().get_ifd(ExifTags.IFD.Interop).get(1)
        except Exception:  # noqa: BLE001  (its offsets may point anywhere)
            return None
        return matrix_profile(ADOBE_RGB, ADOBE_GAMMA) if name == _ADOBE_RGB_NAME else None
    return None


def _png_profile(info: Mapping[Any, Any]) -> bytes | None:
    gamma, chromaticity = info.get("gamma"), info.get("chromaticity")
    if "srgb" in info or not (gamma or chromaticity):
        return None
    chromaticities = tuple(_pairs(chromaticity)) if chromaticity else _SRGB_PRIMARIES
    gamma = gamma or _PRINTED_GAMMA
    if _is_srgb(chromaticities, gamma):
        return None
    try:
        return matrix_profile(chromaticities, 1 / gamma)
    except (ValueError, ZeroDivisionError):
        return None


def _pairs(values: Any) -> Iterator[tuple[float, float]]:
    yield from zip(values[::2], values[1::2], strict=True)


def _is_srgb(chromaticities: tuple[tuple[float, float], ...], gamma: float) -> bool:
    """Whether these are sRGB's, to within the precision of writers."""
    off = np.abs(np.array(chromaticities) - np.array(_SRGB_PRIMARIES)).max()
    return bool(off < 0.01 and abs(gamma / _PRINTED_GAMMA - 1) < 0.05)
