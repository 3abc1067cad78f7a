"""When two pictures are the same, and when they may show one place.

The same: nearly equal perceptual hashes and nearly equal colours, as after compression, scaling
or a caption bar that is removed; such a picture is not computed twice. One place: alike in what
they show, and near in time or alike in composition. Both are proposals for a person, and simple
enough to be explained in a sentence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..arrays import F32, F64, I64, Bools
from ..photos.likeness import BITS, Signature

_ALIKE_BITS = 72
_ALIKE = 0.9  # correlation of the scenes' logits
_VIDEO_SECONDS = 20.0
_MINUTES = 10.0
_SLACK = 1e-4  # far more than rounding: who is let through is compared exactly


@dataclass(frozen=True, eq=False)
class Picture:
    """What is known of a picture when places are compared.

    video, second: the file it is a frame of and when; taken: the camera's clock, s; posted: the
    chat and sender, and when, s.
    """

    number: int
    vector: F32
    signature: Signature
    video: str | None = None
    second: float = 0.0
    taken: float | None = None
    posted: tuple[str, float] | None = None


@dataclass(frozen=True)
class Cluster:
    """Pictures that may show one place, the first of them leads; and why, in words."""

    members: tuple[int, ...]
    reasons: tuple[str, ...]


def propose_clusters(pictures: Sequence[Picture]) -> list[Cluster]:
    """Clusters of two or more; each member is compared with the first one, so none drift.

    A picture goes to the first leader that shows the same place by `same_place`; it is asked
    only about those that may, so that tens of thousands of pictures take seconds.
    """
    traits, leads = _Traits.of(pictures), np.zeros(len(pictures), bool)
    members: dict[int, list[int]] = {}
    reasons: dict[int, dict[str, None]] = {}
    for place, picture in enumerate(pictures):
        for leader in traits.may_match(place, leads):
            if reason := same_place(pictures[leader], picture):
                members[leader].append(picture.number)
                reasons[leader][reason] = None
                break
        else:
            leads[place], members[place], reasons[place] = True, [picture.number], {}
    return [Cluster(tuple(members[n]), tuple(why)) for n, why in reasons.items() if why]


def same_place(a: Picture, b: Picture) -> str | None:
    """Why two pictures may show one place, or None."""
    reason = _near(a, b)
    return reason if reason and similarity(a.vector, b.vector) >= _ALIKE else None


def similarity(a: F32, b: F32) -> float:
    """Correlation of two vectors ``(feature,)`` over the scenes; 0 where one is constant."""
    return float(_unit(a) @ _unit(b))


@dataclass(frozen=True, eq=False)
class _Traits:
    """What `same_place` looks at, as one array over all pictures each.

    hashes: uint64 ``(n, 4)``; units: float32 ``(n, feature)``, so that products are similarities;
    videos, senders: equal numbers for equal ones, -1 for none; seconds, taken, posted: s, or NaN.
    """

    hashes: NDArray[np.uint64]
    units: F32
    videos: I64
    seconds: F64
    taken: F64
    senders: I64
    posted: F64

    @classmethod
    def of(cls, pictures: Sequence[Picture]) -> _Traits:
        hashes = [picture.signature.hash for picture in pictures]
        units = [_unit(picture.vector) for picture in pictures]
        posts = [picture.posted or (None, np.nan) for picture in pictures]
        return cls(
            np.array(hashes, np.uint8).reshape(-1, BITS // 8).view(np.uint64),
            np.array(units, np.float32),
            _numbered([picture.video for picture in pictures]),
            np.array([picture.second for picture in pictures]),
            np.array([np.nan if p.taken is None else p.taken for p in pictures]),
            _numbered([sender for sender, _ in posts]),
            np.array([moment for _, moment in posts]),
        )

    def may_match(self, place: int, among: Bools) -> list[int]:
        """Places before ``place``, in order, of those ``among`` that may show the same."""
        before = slice(0, place)
        one_video = (self.videos[before] == self.videos[place]) & (self.videos[place] >= 0)
        in_time = np.abs(self.seconds[before] - self.seconds[place]) <= _VIDEO_SECONDS
        bits = np.bitwise_count(self.hashes[before] ^ self.hashes[place]).sum(
            axis=1, dtype=np.int16
        )
        one_sender = self.senders[before] == self.senders[place]
        same_moment, posted = (
            np.abs(times[before] - times[place]) <= 60 * _MINUTES
            for times in (self.taken, self.posted)
        )
        otherwise = (bits <= _ALIKE_BITS) | same_moment | (one_sender & posted)
        near = np.flatnonzero(among[before] & np.where(one_video, in_time, otherwise))
        alike = self.units[near] @ self.units[place] >= _ALIKE - _SLACK
        return [int(n) for n in near[alike]]


def _numbered(names: Sequence[str | None]) -> I64:
    numbers: dict[str | None, int] = {None: -1}
    return np.array([numbers.setdefault(name, len(numbers)) for name in names], np.int64)


def _unit(vector: F32) -> F64:
    """Centred and of length 1; zeros where all values are equal."""
    centred = vector.astype(np.float64) - vector.mean(dtype=np.float64)
    norm = float(np.sqrt(centred @ centred))
    return np.asarray(centred / norm if norm > 0 else centred)


def _near(a: Picture, b: Picture) -> str | None:
    if a.video is not None and a.video == b.video:
        near = abs(a.second - b.second) <= _VIDEO_SECONDS
        return f"frames of one video within {_VIDEO_SECONDS:.0f} s" if near else None
    if a.taken is not None and b.taken is not None and _within(a.taken, b.taken):
        return f"taken within {_MINUTES:.0f} minutes"
    if a.posted and b.posted and a.posted[0] == b.posted[0] and _within(a.posted[1], b.posted[1]):
        return f"posted by one sender within {_MINUTES:.0f} minutes"
    alike = a.signature.differing_bits(b.signature) <= _ALIKE_BITS
    return "alike in composition" if alike else None


def _within(a: float, b: float) -> bool:
    return abs(a - b) <= 60 * _MINUTES
