"""Which frames are worth analysing: one after each cut, and at least one every few seconds.

Frames are judged on small copies: one that is nearly black, flat, blurred or a title card is
skipped, and the next usable one takes its place.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from ..arrays import F32, U8

Reason = Literal["first", "cut", "gap"]

SMALL = (96, 54)
"""w, h of the copies on which frames are judged."""

_DARK, _FLAT = 24.0, 6.0  # grey levels
_BLURRED = 36.0  # `sharpness` of small copies: photos have 100 and more, out of focus 12 to 35
_CUT = 26.0  # mean change of a px of the small copy, grey levels
_ONE_COLOR = 0.6  # share of the upper and of the lower half that a title card's background covers


@dataclass(frozen=True)
class Sampling:
    """Which frames are kept.

    gap: longest time between two frames, s; apart: shortest, even at cuts, s; most: frames per
    video; pixels: limit per frame; every: how often a frame is judged, s; long: in longer videos
    (s) only key frames are decoded, if they are close enough together.
    """

    gap: float = 4.0
    apart: float = 1.0
    most: int = 60
    pixels: int = 40_000_000
    every: float = 0.2
    long: float = 180.0


@dataclass
class Picker:
    """Decides, frame by frame, from small copies ``(54, 96, 3)``."""

    sampling: Sampling
    apart: float = 0.0
    _seen: float | None = None
    _last_kept: float | None = None
    _previous: F32 | None = None
    _wanted: Reason | None = "first"
    _sharpness: deque[float] = field(default_factory=lambda: deque(maxlen=40))

    def spread(self, duration: float) -> None:
        """Space frames so that their number suffices for the whole video."""
        self.apart = max(self.sampling.apart, duration / self.sampling.most)

    def due(self, time: float) -> bool:
        """Whether the frame at ``time`` is to be judged."""
        return self._seen is None or not 0 <= time - self._seen < self.sampling.every - 1e-6

    def look(self, time: float, small: U8) -> Reason | None:
        """Why this frame is kept, or None."""
        self._seen = time
        values = small.astype(np.float32)
        if self._previous is not None and is_cut(self._previous, values):
            self._wanted = self._wanted or "cut"
            self._sharpness.clear()
        self._previous = values
        since = np.inf if self._last_kept is None else time - self._last_kept
        if since >= max(self.sampling.gap, self.apart):
            self._wanted = self._wanted or "gap"
        if self._wanted is None or 0 <= since < self.apart or self._unusable(values):
            return None
        reason, self._wanted, self._last_kept = self._wanted, None, time
        return reason

    def _unusable(self, values: F32) -> bool:
        sharp = sharpness(values)
        usual = float(np.median(self._sharpness)) if self._sharpness else 0.0
        self._sharpness.append(sharp)
        return is_blank(values) or is_title(values) or sharp < max(_BLURRED, usual / 2)


def is_cut(before: F32, after: F32) -> bool:
    """Whether another shot begins: more than the brightness changed."""
    steady = after - (after.mean() - before.mean())
    return bool(np.abs(steady - before).mean() > _CUT)


def is_blank(values: F32) -> bool:
    """Nearly black, or of one grey."""
    return bool(np.percentile(values, 95) < _DARK or values.std() < _FLAT)


def is_title(values: F32) -> bool:
    """A card with text: one background colour fills both halves (a clear sky only the upper)."""
    codes = (values // 16).astype(np.int64) @ np.array([256, 16, 1])
    common = np.bincount(codes.ravel()).argmax()
    center = values[codes == common].mean(axis=0)
    ground = (np.abs(values - center) < 10).all(axis=-1)
    half = len(ground) // 2
    return bool(min(ground[:half].mean(), ground[half:].mean()) > _ONE_COLOR)


def sharpness(values: F32) -> float:
    """The sharpest edges of the grey picture: the 99th percentile of its second differences
    between neighbouring px, % of its contrast. A picture with much sky has sharp edges too."""
    grey = values.mean(axis=-1)
    bends = np.concatenate([np.abs(np.diff(grey, 2, axis=axis)).ravel() for axis in (0, 1)])
    return float(100 * np.percentile(bends, 99) / max(float(grey.std()), 1.0))
