"""A decoded frame as it is meant to be shown: upright, of square pixels, in sRGB."""

from __future__ import annotations

import math
import struct
from fractions import Fraction
from typing import Any

import numpy as np
from PIL import Image

from ..arrays import U8
from ..photos import turned
from ..photos.hdr import BT2020, HLG, PQ, needs_mapping, tone_mapped

_MOST = 8  # pixels more oblong than 8 : 1 are a mistake
_UNSPECIFIED = (0, 2)  # ITU-T H.273
_FULL_RANGE = 2  # of FFmpeg's AVColorRange


def upright(frame: Any, aspect: Fraction | None = None) -> U8:
    """RGB ``(h, w, 3)`` of a decoded frame; ``aspect``: width by height of its pixels."""
    width, height = square_size(frame.width, frame.height, aspect)
    primaries, transfer = _signal(frame)
    if needs_mapping(primaries, transfer):
        space = BT2020 if frame.colorspace in _UNSPECIFIED and primaries == BT2020 else None
        deep = frame.reformat(width, height, "rgb48le", src_colorspace=space,
                              dst_color_range=_FULL_RANGE)  # fmt: skip
        pixels = tone_mapped(np.asarray(deep.to_ndarray()), primaries, transfer)
    elif (width, height) == (frame.width, frame.height):
        pixels = np.asarray(frame.to_ndarray(format="rgb24"))
    else:
        pixels = np.asarray(frame.reformat(width, height, "rgb24").to_ndarray())
    return np.ascontiguousarray(_oriented(pixels, frame))


def square_size(width: int, height: int, aspect: Fraction | None) -> tuple[int, int]:
    """w, h with square pixels: the squeezed side becomes longer, so nothing is lost."""
    if not aspect or not Fraction(1, _MOST) <= aspect <= _MOST:
        return width, height
    if aspect > 1:
        return round(width * aspect), height
    return width, round(height / aspect)


def _signal(frame: Any) -> tuple[int, int]:
    """Primaries and transfer characteristics; HDR without primaries has those of BT.2100."""
    primaries, transfer = int(frame.color_primaries), int(frame.color_trc)
    if transfer in (PQ, HLG) and primaries in _UNSPECIFIED:
        return BT2020, transfer
    return primaries, transfer


def _oriented(pixels: U8, frame: Any) -> U8:
    """Turned and mirrored by the display matrix (ISO 14496-12, 8.3.2), as FFmpeg does."""
    matrix = _matrix(frame)
    if matrix is None:
        return pixels
    a, b, c, d = matrix  # x' = a x + c y, y' = b x + d y
    angle = math.degrees(math.atan2(b, a))
    off = abs(angle - 90 * round(angle / 90))
    if a * d - b * c > 0 and off > 1:
        return np.asarray(turned(Image.fromarray(pixels), angle % 360))
    if abs(a) + abs(d) < abs(b) + abs(c):
        pixels, a, d = pixels.transpose(1, 0, 2), c, b
    return pixels[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]


def _matrix(frame: Any) -> tuple[int, int, int, int] | None:
    """a, b, c, d of a frame's display matrix; None without one, or for a singular one."""
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return None
    a, b, _, c, d = struct.unpack("=9i", bytes(data)[:36])[:5]
    return (a, b, c, d) if a * d != b * c else None
