"""The colours of regions, the same on the map and in the page: the better, the darker.

On paper and for all eyes the lightness alone tells better from worse. The scale is linear in the
score, as the rule of good regions is.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from ..arrays import F64, I64, U8

_ANCHORS = ("#6b0a23", "#a81b2f", "#d94a2f", "#f07f3f", "#f8b25c", "#fbd992", "#f8ebc6", "#f4f1e4")
"""Best first: lightness rises evenly (CIELAB L* 22 to 95) from dark red over orange to paper."""

LEVELS = 256
GAMMA = 0.75  # below 1 more of the colours are spent on the better half


@cache
def region_palette() -> U8:
    """RGB ``(LEVELS, 3)``, of the best first."""
    anchors = np.array([_rgb(text) for text in _ANCHORS], np.float64)
    at = np.linspace(0, len(anchors) - 1, LEVELS)
    bands = [np.interp(at, np.arange(len(anchors)), band) for band in anchors.T]
    return np.round(np.stack(bands, axis=1)).astype(np.uint8)


def region_levels(score: F64) -> I64:
    """The level (0 is best) of each score ``(region,)``; -1 where it is not known."""
    known = np.isfinite(score)
    levels = np.full(len(score), -1, np.int64)
    if known.any():
        low, high = score[known].min(), score[known].max()
        share = (score[known] - low) / (high - low) if high > low else np.zeros(known.sum())
        levels[known] = np.round(share**GAMMA * (LEVELS - 1))
    return levels


def region_colours(score: F64) -> list[str]:
    """``#rrggbb`` of each score, empty where it is not known."""
    palette = [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in region_palette().tolist()]
    return [palette[level] if level >= 0 else "" for level in region_levels(score).tolist()]


def _rgb(text: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(text[1:]))
