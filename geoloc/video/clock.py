"""The time of a video's frames: it starts at 0 and never goes back.

Timestamps of recordings begin anywhere, and jump where recordings were joined or a receiver
lost its signal. Time continues where the previous part ended; as that depends on packets alone,
a frame has the same time whichever others are decoded.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

_BACK = 0.1  # s that decoding timestamps may go back without a jump, as sloppy muxers write them
_AHEAD = 10.0  # s that they may leap, in streams whose clock may be reset at any time
_PERIOD = 0.04  # s between frames where the rate is unknown


@dataclass
class Clock:
    """Time by timestamps, s. ``start``: that of the stream; ``resets``: whether the format's
    clock may leap ahead; ``rate``: frames per second, if known."""

    start: float
    resets: bool = False
    rate: Fraction | None = None
    end: float = 0.0
    _offset: float = field(init=False)
    _last: float | None = None
    _shown: float | None = None

    def __post_init__(self) -> None:
        self._offset = -self.start

    @property
    def period(self) -> float:
        """s from one frame to the next."""
        return float(1 / self.rate) if self.rate else _PERIOD

    def jumps(self, packet: Any) -> bool:
        """Whether the recording continues with another clock at this packet, a key frame."""
        at = stamp(packet, packet.dts)
        if at is None or self._last is None or not packet.is_keyframe:
            return False
        ahead = at - self._last
        return ahead < -_BACK or (self.resets and ahead > _AHEAD)

    def restart(self, packet: Any) -> None:
        """Continue the time at a packet that `jumps`."""
        at = stamp(packet, packet.dts if packet.pts is None else packet.pts)
        self._offset = self.end - (at or 0.0)
        self._last = None

    def note(self, packet: Any) -> float | None:
        """Record a packet; the time of its frame, or None without a timestamp."""
        decoded = stamp(packet, packet.dts)
        if decoded is not None:
            self._last = decoded if self._last is None else max(self._last, decoded)
        at = stamp(packet, packet.dts if packet.pts is None else packet.pts)
        if at is None:
            return None
        time = max(0.0, at + self._offset)
        length = float((packet.duration or 0) * packet.time_base) or self.period
        self.end = max(self.end, time + length)
        return time

    def of(self, frame: Any) -> float:
        """The time of a decoded frame; frames must come in display order."""
        at = stamp(frame, frame.dts if frame.pts is None else frame.pts)
        after = 0.0 if self._shown is None else self._shown + (self.period if at is None else 0.0)
        self._shown = after if at is None else max(after, at + self._offset)
        return self._shown


def stamp(timed: Any, value: int | None) -> float | None:
    """A timestamp of a packet or frame in s."""
    return None if value is None or timed.time_base is None else float(value * timed.time_base)
