"""What a copy may keep, how its photo is shown, and how coarse its coordinates are."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from ..errors import UsageError

KEEP = {
    "captions": "texts of messages",
    "senders": "who sent, forwarded or saved a message",
    "chat": "names of chats, the numbers of their messages, files of exports",
    "gps": "coordinates that files or messages claim",
    "time": "times that files or messages claim",
    "names": "names of the original files",
    "paths": "paths and addresses of photos, cube, model, polygon and imagery",
    "truth": "the true place, if it was given",
}
"""What is left out unless its keyword is given, by keyword."""

KINDS = {
    "text": "captions",
    **dict.fromkeys(("from", "forwarded_from", "forwarded_from_id", "saved_from"), "senders"),
    "chat": "chat",
    **dict.fromkeys(("gps", "place"), "gps"),
    **dict.fromkeys(("date", "edited", "forwarded_date", "time"), "time"),
    **dict.fromkeys(("file", "title"), "names"),
    **dict.fromkeys(("path", "href", "export", "fetched_from", "within", "cube"), "paths"),
}
"""The keyword that covers each key of a record."""

PhotoShown = Literal["blurred", "omitted", "shown"]
PHOTO: tuple[PhotoShown, ...] = ("blurred", "omitted", "shown")

_METRES_A_DEGREE = 111_320.0  # of latitude; of longitude it is less, so squares are coarser there
_ROUNDING = re.compile(r"(\d+\.?\d*|\.\d+)\s*(km|m|°|deg)?")
_MOST = 1_000_000.0  # m


@dataclass(frozen=True)
class Rounding:
    """Coordinates are those of squares of this size, m; ``digits``: decimals in degrees."""

    metres: float
    text: str

    @property
    def degrees(self) -> float:
        """The size in degrees of latitude."""
        return self.metres / _METRES_A_DEGREE

    @property
    def digits(self) -> int:
        """Enough decimals for the middle of a square."""
        return max(0, math.ceil(-math.log10(self.degrees) - 1e-9))


@dataclass(frozen=True)
class Options:
    """How answers are shared; ``keep``: words of KEEP. Raises UsageError for other values."""

    keep: frozenset[str] = frozenset()
    photo: PhotoShown = "blurred"
    rounding: Rounding | None = None
    imagery: bool = True

    def __post_init__(self) -> None:
        for word in sorted(self.keep - KEEP.keys()):
            raise UsageError(f"--keep {word} is unknown: choose from {', '.join(KEEP)}")
        if self.photo not in PHOTO:
            raise UsageError(f"--photo {self.photo}: write one of {', '.join(PHOTO)}")


def read_keep(texts: Iterable[str]) -> frozenset[str]:
    """Keywords of comma-separated lists; paths cannot be kept without names."""
    words = (word.strip() for text in texts for word in text.split(","))
    kept = frozenset(filter(None, words))
    return kept | {"names"} if "paths" in kept else kept  # a path ends in a name


def read_rounding(text: str | None) -> Rounding | None:
    """``0.01`` degrees, ``1km`` or ``500m``. Raises UsageError for anything else."""
    if text is None:
        return None
    match = _ROUNDING.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"--round {text}: write degrees or a length, such as 0.01, 1km or 500m")
    value, unit = float(match[1]), match[2]
    metres = value * {"km": 1000.0, "m": 1.0}.get(unit or "", _METRES_A_DEGREE)
    if not 0 < metres <= _MOST:
        raise UsageError(f"--round {text}: it must be more than 0 and at most 1000km")
    shown = f"{value:g} {unit}" if unit in ("km", "m") else f"{value:g}°"
    return Rounding(metres, shown)
