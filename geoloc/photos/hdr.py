"""Pictures of high dynamic range or wide gamut, as sRGB.

The curves are those of ITU-R BT.2100, the codes those of ITU-T H.273.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from ..arrays import F32, F64, U8

PQ, HLG = 16, 18
"""Transfer characteristics: of HDR10 and Dolby Vision; of broadcasts and phones."""

BT2020, DCI_P3, DISPLAY_P3 = 9, 11, 12
"""Primaries that are wider than sRGB's."""

_WHITE = 203.0  # nits of a white page in HDR (BT.2408)
_PEAK = 10_000.0  # nits
_HLG_PEAK, _HLG_GAMMA = 1000.0, 1.2  # of the display that HLG is made for
_KNEE = 0.75  # of white: darker pixels stay unchanged
_STEPS = 65_535
_TO_SRGB = {
    BT2020: [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]],
    DISPLAY_P3: [[1.2249, -0.2247, 0.0], [-0.0420, 1.0419, 0.0], [-0.0197, -0.0786, 1.0979]],
}  # linear light, D65 (BT.2407; P3 from its primaries)

Levels = NDArray[np.uint16]


def needs_mapping(primaries: int, transfer: int) -> bool:
    """Whether pixels must be mapped to sRGB."""
    return transfer in (PQ, HLG) or primaries in (BT2020, DCI_P3, DISPLAY_P3)


def tone_mapped(levels: Levels, primaries: int, transfer: int) -> U8:
    """RGB ``(h, w, 3)`` of 16 bits, full range, as sRGB of 8 bits.

    Reference white stays white, as in pictures of standard range; highlights are compressed.
    """
    rows = [
        _mapped(levels[top : top + 256], transfer, primaries)
        for top in range(0, len(levels), 256)  # a few MB at a time, for any frame
    ]
    return np.concatenate(rows)


def _mapped(levels: Levels, transfer: int, primaries: int) -> U8:
    light = _light(transfer)[levels]
    if transfer == HLG:
        luma = light @ np.array([0.2627, 0.6780, 0.0593], np.float32)
        light *= (luma ** (_HLG_GAMMA - 1.0))[..., None] * np.float32(_HLG_PEAK / _WHITE)
    if matrix := _TO_SRGB.get(DISPLAY_P3 if primaries == DCI_P3 else primaries):
        light = light @ np.array(matrix, np.float32).T
    share = np.sqrt(np.clip(light * np.float32(_WHITE / _PEAK), 0, 1))  # finer where it is dark
    table = _shown() if transfer in (PQ, HLG) else _encoded()
    return np.asarray(table[np.rint(share * _STEPS).astype(np.uint16)], np.uint8)


@cache
def _light(transfer: int) -> F32:
    """Light by level: relative to white for PQ and standard range; scene light 0..1 for HLG."""
    value = np.arange(_STEPS + 1) / _STEPS
    if transfer == PQ:
        root = value ** (1 / 78.84375)
        nits = np.maximum(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)
        return np.asarray(nits ** (1 / 0.1593017578125) * _PEAK / _WHITE, np.float32)
    if transfer == HLG:
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        light = np.where(value <= 0.5, value**2 / 3, (np.exp((value - c) / a) + b) / 12)
        return np.asarray(light, np.float32)
    light = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    return np.asarray(light, np.float32)


@cache
def _encoded() -> U8:
    """sRGB by the square root of light, which is 1 at ``_PEAK`` nits."""
    light = (np.arange(_STEPS + 1) / _STEPS) ** 2 * _PEAK / _WHITE
    return _srgb(light)


@cache
def _shown() -> U8:
    """The same with compressed highlights: smooth at the knee, white at infinity."""
    light = (np.arange(_STEPS + 1) / _STEPS) ** 2 * _PEAK / _WHITE
    over = np.maximum(light - _KNEE, 0) / (1 - _KNEE)
    return _srgb(np.where(light < _KNEE, light, _KNEE + (1 - _KNEE) * (1 - np.exp(-over))))


def _srgb(light: F64) -> U8:
    light = light.clip(0, 1)
    value = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.asarray(np.rint(255 * value), np.uint8)
