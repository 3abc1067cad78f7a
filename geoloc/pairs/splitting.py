"""Train, valid and test by place: blocks of ground, never photos, are dealt to the splits.

A network that has seen a place from above knows it again, and so do photos taken some metres
apart. A block (of 5 km, say) is therefore dealt as a whole, by a hash of where it is and a seed,
and pairs nearer than a buffer to a pair of another split are left out: across the border of a block
too, no place is in both halves.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from ..arrays import F64, I64, Bools
from ..domain.points import geocentric
from ..errors import UsageError
from .file import Split

DROPPED = -1
SPLITS: tuple[Split, ...] = get_args(Split)

BLOCK_M = 5000.0
BUFFER_M = 200.0
_DEGREE = 111_319.490793  # m of a degree along the equator of WGS 84: its longest
_FEWEST = 20  # blocks: fewer cannot be dealt in shares


@dataclass(frozen=True)
class SplitRule:
    """test, valid: shares of all blocks; block_m: their side (None: `BLOCK_M`, halved until the
    places touch 20 of them, or it is twice the buffer); buffer_m: least distance between pairs of
    two splits."""

    test: float = 0.2
    valid: float = 0.1
    block_m: float | None = None
    buffer_m: float = BUFFER_M
    seed: int = 0

    def __post_init__(self) -> None:
        if not (self.test >= 0 and self.valid >= 0 and self.test + self.valid < 1):
            raise UsageError(
                f"test {self.test:g} and valid {self.valid:g}: give shares that leave some to train"
            )
        if self.block_m is not None and not self.block_m > 0:
            raise UsageError(f"block {self.block_m:g} m: give the side of a block, such as 5000")
        if not self.buffer_m >= 0:
            raise UsageError(f"buffer {self.buffer_m:g} m: give metres, or 0 for none")


@dataclass(frozen=True, eq=False)
class Dealt:
    """splits: int8 ``(place,)``, the position in `SPLITS`, or `DROPPED`; block_m: as dealt."""

    splits: NDArray[np.int8]
    block_m: float

    def counts(self) -> Mapping[Split, int]:
        """Places by split."""
        return {name: int((self.splits == n).sum()) for n, name in enumerate(SPLITS)}

    @property
    def dropped(self) -> int:
        """Places that lie within the buffer of another split."""
        return int((self.splits == DROPPED).sum())


def split_by_place(lonlat: F64, rule: SplitRule, stated: NDArray[np.int8] | None = None) -> Dealt:
    """Deal places, degrees ``(place, 2)``: what a place gets depends on the others only where it is
    dropped, and on ``block_m`` where that is chosen.

    stated: int8 ``(place,)``, splits that are given, `DROPPED` where a place is to be dealt. Raises
    UsageError for what is no place.
    """
    places = np.ascontiguousarray(lonlat, np.float64).reshape(-1, 2)
    if not (np.abs(places) <= (180, 90)).all():
        raise UsageError("a place is not in degrees: longitude and latitude")
    size = rule.block_m or _fitting_block(places, rule.buffer_m)
    blocks, member = np.unique(block_of(places, size), axis=0, return_inverse=True)
    dealt = np.array([_deal(block, size, rule) for block in blocks.tolist()], np.int8)
    splits = dealt[member.reshape(-1)] if len(blocks) else np.empty(0, np.int8)
    if stated is not None:
        splits = np.where(stated == DROPPED, splits, stated)
    return Dealt(_apart(places, splits, rule.buffer_m), size)


def block_of(lonlat: F64, size_m: float) -> I64:
    """Row and column ``(place, 2)`` of the blocks that places lie in, ``size_m`` wide at most.

    Rows are bands of latitude; each is cut into a whole number of columns around the Earth, so that
    180 and -180 degrees are one place.
    """
    lon, lat = lonlat[:, 0] % 360.0, lonlat[:, 1]
    rows = np.floor((lat + 90.0) * _DEGREE / size_m).astype(np.int64)
    low = np.abs(rows * size_m / _DEGREE - 90.0)
    high = np.abs((rows + 1) * size_m / _DEGREE - 90.0)
    widest = np.cos(np.radians(np.minimum(low, high)))
    around = np.maximum(np.ceil(360.0 * _DEGREE * widest / size_m), 1.0)
    columns = np.minimum(np.floor(lon / 360.0 * around), around - 1)
    return np.stack([rows, columns.astype(np.int64)], axis=1)


def _fitting_block(places: F64, buffer_m: float) -> float:
    """A block small enough that there are some to deal, and large enough for the buffer."""
    size, least = BLOCK_M, max(2 * buffer_m, 50.0)
    while size > least and len(np.unique(block_of(places, size), axis=0)) < _FEWEST:
        size = max(size / 2, least)
    return size


def _deal(block: list[int], size_m: float, rule: SplitRule) -> int:
    """The split of a block, by a hash: the same whatever other blocks there are."""
    name = f"{rule.seed}/{size_m!r}/{block[0]}/{block[1]}"
    drawn = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) / 2.0**64
    if drawn < rule.test:
        return SPLITS.index("test")
    return SPLITS.index("valid" if drawn < rule.test + rule.valid else "train")


def _apart(places: F64, splits: NDArray[np.int8], buffer_m: float) -> NDArray[np.int8]:
    """Splits with those dropped that lie within the buffer of a rarer one: test stays whole, valid
    keeps clear of it, train of both."""
    kept = splits.copy()
    order = [SPLITS.index(name) for name in ("valid", "train")]
    for split in order:
        others = np.flatnonzero((kept != split) & (kept != DROPPED))
        if split == order[0]:
            others = others[kept[others] == SPLITS.index("test")]
        mine = np.flatnonzero(kept == split)
        kept[mine[near_any(places[mine], places[others], buffer_m)]] = DROPPED
    return kept


def near_any(places: F64, others: F64, radius_m: float) -> Bools:
    """``(place,)``: whether any of ``others`` lies within ``radius_m`` of a place, degrees both."""
    from scipy.spatial import cKDTree

    if not (len(places) and len(others)):
        return np.zeros(len(places), bool)
    reach = math.nextafter(radius_m, math.inf)
    distance, _ = cKDTree(geocentric(others)).query(
        geocentric(places), distance_upper_bound=max(reach, 1e-3)
    )
    return np.asarray(distance <= max(radius_m, 1e-3))
