"""The best of each region of a scan: a reduction for cells and points alike.

Of each photo and region stay the smallest distance and its place, the second smallest, and where
it is asked for the next smallest ones, or the distances of a few places that stand for all of the
region: for all photos the same ones, drawn by a hash of their place, so that it does not matter in
which chunks they come.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..arrays import F32, I64
from ..domain import Chunk, Regions
from ..errors import UsageError
from .background import BINS, LOWEST, SHIFT, Background
from .kernels import compiled

I32 = NDArray[np.int32]
U64 = NDArray[np.uint64]

SAMPLE = 32
"""Places that stand for a region in a low quantile."""

MOST_NEAREST = 32
"""Of the smallest distances of a region, where they are kept."""

_NONE = np.uint64(2**64 - 1)  # the hash of no place
_FAR = np.float32(np.inf)
_MOST_BYTES = 2 << 30  # of memory for what is kept of all photos and regions


def maps_at_once(layout: Regions, sample: int = 0, nearest: int = 0) -> int:
    """How many photos' regions fit in the memory that is meant for them; one at least."""
    return max(1, _MOST_BYTES // (layout.count * (16 + 4 * (sample + nearest)) + 8 * BINS))


@dataclass(frozen=True, eq=False)
class RegionMinima:
    """What one photo found in the regions of a layout, in its order ``(region,)``.

    count: known places; best, second: the smallest and second smallest distance, NaN without;
    index: where in the domain the best one is, in row-major order, -1 without. sample ``(region,
    k)``: distances of places that stand for the region, NaN beyond its last one, or None. nearest
    ``(region, k)``: its smallest distances, ascending, NaN beyond its last one, or None.
    background: of the distances of all known places of regions. outside: known places of none.
    """

    layout: Regions
    count: I64
    best: F32
    second: F32
    index: I64
    background: Background
    sample: F32 | None = None
    outside: int = 0
    nearest: F32 | None = None


@dataclass(frozen=True, eq=False)
class _Piece:
    """What some chunks hold: ``ids`` of their regions ``(n,)``, and arrays of ``(…, n)``."""

    ids: I32
    count: I64
    best: F32
    second: F32
    index: I64
    histogram: I64 | I32
    hashes: U64
    sample: F32
    nearest: F32
    outside: int = 0


@dataclass(eq=False)
class RegionMin:
    """The best place of each region for each of ``maps`` maps; a `Reduction`.

    Values must be missing (NaN) in all maps or in none, as those of a scan are. ``sample``: how
    many places stand for a region, ``nearest``: how many of its smallest distances are kept; 0 for
    none. A part holds what its chunks have of regions, until it is merged into one that has all of
    them.
    """

    layout: Regions | None
    maps: int
    sample: int = 0
    nearest: int = 0
    whole: _Piece | None = None
    pieces: list[_Piece] = field(default_factory=list)

    @classmethod
    def of(cls, layout: Regions, maps: int, sample: int = 0, nearest: int = 0) -> RegionMin:
        """Of all regions of a layout, to be merged into.

        Raises UsageError where photos and regions together would fill the memory.
        """
        if maps > (most := maps_at_once(layout, sample, nearest)):
            raise UsageError(
                f"{maps:,} photos by {layout.count:,} regions take more memory than there is "
                f"for them: ask at most {most:,} photos at a time, or for larger --regions"
            )
        whole = _nothing(layout.count, maps, sample, nearest)
        return cls(layout, maps, sample, nearest, whole)

    def part(self) -> RegionMin:
        """An empty one for other chunks."""
        return RegionMin(self.layout, self.maps, self.sample, self.nearest)

    def __getstate__(self) -> dict[str, object]:
        """What travels back from a worker is what was found, not the border."""
        state = dict(self.__dict__)
        return {**state, "layout": None} if self.pieces and self.whole is None else state

    def add(self, chunk: Chunk, values: F32) -> None:
        """Take in the distances of a chunk."""
        assert self.layout is not None, "a part that has travelled is only merged"
        flat = np.ascontiguousarray(values, np.float32).reshape(len(values), -1)
        region = self.layout.index(chunk.xy)
        self._take([_piece(chunk, flat, region, self.sample, self.nearest)])

    def merge(self, other: RegionMin) -> None:
        """Take in what was found in other chunks."""
        self._take(other.pieces if other.whole is None else [other.whole])

    def result(self) -> list[RegionMinima]:
        """What each map found in the regions."""
        assert self.whole is not None and self.layout is not None, "a part has no result"
        all_of, known = self.whole, self.whole.count > 0
        return [
            RegionMinima(
                self.layout,
                all_of.count,
                np.where(known, all_of.best[m], np.float32(np.nan)),
                np.where(np.isfinite(all_of.second[m]), all_of.second[m], np.float32(np.nan)),
                all_of.index[m],
                Background(all_of.histogram[m].astype(np.int64)),
                all_of.sample[m] if self.sample else None,
                all_of.outside,
                _known(all_of.nearest[m]) if self.nearest else None,
            )
            for m in range(self.maps)
        ]

    def _take(self, pieces: Iterable[_Piece]) -> None:
        if self.whole is None:
            self.pieces.extend(pieces)
            return
        for piece in pieces:
            self.whole = _merged(self.whole, piece)


def _known(nearest: F32) -> F32:
    return np.where(np.isfinite(nearest), nearest, np.float32(np.nan))


def _nothing(regions: int, maps: int, sample: int, nearest: int, counts: type = np.int64) -> _Piece:
    return _Piece(
        np.arange(regions, dtype=np.int32),
        np.zeros(regions, np.int64),
        np.full((maps, regions), _FAR),
        np.full((maps, regions), _FAR),
        np.full((maps, regions), -1, np.int64),
        np.zeros((maps, BINS), counts),
        np.full((regions, sample), _NONE),
        np.full((maps, regions, sample), np.nan, np.float32),
        np.full((maps, regions, nearest), _FAR),
    )


def _piece(chunk: Chunk, values: F32, region: I32, sample: int, nearest: int) -> _Piece:
    """What a chunk has of the regions ``(cell,)`` of its cells; values ``(map, cell)``."""
    known = np.isfinite(values[0])
    outside = int(np.count_nonzero(known & (region < 0)))
    ids, inverse = np.unique(np.where(known, region, -1), return_inverse=True)
    none = int(len(ids) > 0 and ids[0] < 0)
    ids, local = ids[none:], inverse.reshape(-1).astype(np.int32) - np.int32(none)
    piece = _nothing(len(ids), len(values), sample, nearest, np.int32)
    at = np.full((len(values), len(ids)), -1, np.int64)
    bits = values.view(np.int32)
    kept = (piece.best, piece.second, at, piece.histogram)
    smallest(values, bits, local, SHIFT, LOWEST, *kept)
    cells = _numbers(chunk)
    if sample:
        _draw(cells, local, values, piece)
    if nearest:
        keep_nearest(values, local, piece.nearest)
    count = np.bincount(local[local >= 0], minlength=len(ids)).astype(np.int64)
    index = np.where(at >= 0, cells[at], -1)
    return _Piece(
        ids.astype(np.int32), count, piece.best, piece.second, index, piece.histogram,
        piece.hashes, piece.sample, piece.nearest, outside,
    )  # fmt: skip


def _numbers(chunk: Chunk) -> I64:
    """The cells of a chunk ``(cell,)`` by their place in the domain, in row-major order."""
    along = np.ogrid[chunk.slices]
    numbers = np.ravel_multi_index(np.broadcast_arrays(*along), chunk.domain.shape)
    return np.asarray(numbers, np.int64).reshape(-1)


def _draw(cells: I64, local: I32, values: F32, piece: _Piece) -> None:
    """Put the places with the smallest hashes of each region into its sample."""
    known = np.flatnonzero(local >= 0)
    hashes = _hashed(cells[known])
    order = np.lexsort((hashes, local[known]))
    region = local[known][order]
    number = np.arange(len(order)) - np.searchsorted(region, region)
    kept = number < piece.hashes.shape[1]
    region, number, order = region[kept], number[kept], order[kept]
    piece.hashes[region, number] = hashes[order]
    piece.sample[:, region, number] = values[:, known[order]]


def _hashed(cells: I64) -> U64:
    """A hash of each place that is as good as a draw: splitmix64 (Steele et al., 2014)."""
    z = cells.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(z ^ (z >> np.uint64(31)), np.uint64)


def _merged(whole: _Piece, piece: _Piece) -> _Piece:
    """All regions, and those of a piece with them: written into ``whole``, which is returned."""
    ids = piece.ids
    best, second, index = whole.best[:, ids], whole.second[:, ids], whole.index[:, ids]
    tie = (piece.best == best) & (piece.index >= 0) & ((piece.index < index) | (index < 0))
    better = (piece.best < best) | tie
    whole.second[:, ids] = np.where(
        better, np.minimum(best, piece.second), np.minimum(second, piece.best)
    )
    whole.best[:, ids] = np.where(better, piece.best, best)
    whole.index[:, ids] = np.where(better, piece.index, index)
    whole.count[ids] += piece.count
    np.add(whole.histogram, piece.histogram, out=whole.histogram)
    _merge_sample(whole, piece)
    _merge_nearest(whole, piece)
    return _Piece(
        whole.ids, whole.count, whole.best, whole.second, whole.index, whole.histogram,
        whole.hashes, whole.sample, whole.nearest, whole.outside + piece.outside,
    )  # fmt: skip


def _merge_sample(whole: _Piece, piece: _Piece) -> None:
    size = whole.hashes.shape[1]
    if not size:
        return
    hashes = np.concatenate([whole.hashes[piece.ids], piece.hashes], axis=1)
    sample = np.concatenate([whole.sample[:, piece.ids], piece.sample], axis=2)
    order = np.argsort(hashes, axis=1, kind="stable")[:, :size]
    whole.hashes[piece.ids] = np.take_along_axis(hashes, order, axis=1)
    whole.sample[:, piece.ids] = np.take_along_axis(sample, order[None], axis=2)


def _merge_nearest(whole: _Piece, piece: _Piece) -> None:
    size = whole.nearest.shape[2]
    if size:
        both = np.concatenate([whole.nearest[:, piece.ids], piece.nearest], axis=2)
        whole.nearest[:, piece.ids] = np.sort(both, axis=2)[..., :size]


@compiled
def keep_nearest(values: F32, region: I32, nearest: F32) -> None:
    """The smallest values of each region and map, ascending.

    values ``(map, cell)``; region ``(cell,)``, -1 for none; nearest ``(map, region, k)``: written
    over where a value is smaller.
    """
    last = nearest.shape[2] - 1
    for m in range(values.shape[0]):
        for i in range(region.size):
            r, value = region[i], values[m, i]
            if r < 0 or not value < nearest[m, r, last]:
                continue
            at = last
            while at > 0 and nearest[m, r, at - 1] > value:
                nearest[m, r, at] = nearest[m, r, at - 1]
                at -= 1
            nearest[m, r, at] = value


@compiled
def smallest(
    values: F32,
    bits: I32,
    region: I32,
    shift: int,
    lowest: int,
    best: F32,
    second: F32,
    at: I64,
    histogram: I64 | I32,
) -> None:
    """The two smallest values of each region and map, where the smallest is, and how many of
    the map lie in each bin.

    values ``(map, cell)``, bits: the same as int32, of which those above ``shift`` less ``lowest``
    are the bin; region ``(cell,)``, -1 for none; best, second, at ``(map, region)``: written;
    histogram ``(map, bin)``: added to.
    """
    last = histogram.shape[1] - 1
    for m in range(values.shape[0]):
        for i in range(region.size):
            r = region[i]
            if r < 0:
                continue
            value = values[m, i]
            level = (bits[m, i] >> shift) - lowest
            histogram[m, min(max(level, 0), last)] += 1
            if value < best[m, r]:
                second[m, r] = best[m, r]
                best[m, r] = value
                at[m, r] = i
            elif value < second[m, r]:
                second[m, r] = value
