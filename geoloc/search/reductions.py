"""What is kept of a scan: reductions take in the values of chunks, in any order and place.

A `Reduction` is shared out: threads and workers of a cluster give an empty `part` of it the
values of a chunk, and only what that part keeps comes back, to be merged. So a search of a whole
country returns a few thousand cells of each chunk, and never holds a map of it in memory.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol, Self, TypeVar

import numpy as np

from ..arrays import F32, F64, I64
from ..domain import Chunk, Domain, Grid
from ..errors import UsageError
from .heatmaps import Heatmap, HeatmapFile, StoredHeatmap
from .regions import RegionMin, RegionMinima

Result_co = TypeVar("Result_co", covariant=True)

RADIUS = 150.0
"""Places of one answer lie at least so far apart, m: nearer cells see mostly the same ground."""

_TOUCH = 1e-9  # of a squared distance: what coordinates are rounded by; the radius apart is apart


class Reduction(Protocol[Result_co]):
    """What is kept of maps over a domain.

    Values are float32 ``(map, *chunk.shape)``, NaN where nothing is known; each chunk comes once.
    """

    def part(self) -> Self:
        """An empty one for other chunks, to be merged; what it keeps is small, and picklable."""
        ...

    def add(self, chunk: Chunk, values: F32) -> None:
        """Take in the values of a chunk."""
        ...

    def merge(self, other: Self) -> None:
        """Take in what another one kept of other chunks."""
        ...

    def result(self) -> Result_co:
        """What was found, once all chunks are in."""
        ...


@dataclass(frozen=True)
class Place:
    """A cell that is the best within a radius.

    index: its place in the domain, in row-major order; x, y: its centre, in CRS units;
    percentile: how many percent of the known cells are at most as far away.
    """

    index: int
    x: float
    y: float
    distance: float
    percentile: float


@dataclass(eq=False)
class BestCells:
    """The best cells of one map, enough of them for ``top`` places ``radius`` m apart.

    Each place rules out the cells nearer than ``radius`` to it, so the best ``top`` times as many
    cells as lie so near together contain every place, and the rank of each: ``capacity``.
    """

    domain: Domain
    top: int
    radius: float
    capacity: int
    valid: int = 0
    """Cells seen that are not missing."""
    limit: float = math.inf
    """No worse cell can matter."""
    _ties: int = 0  # cells at the limit that were not kept
    _distance: F32 = field(default_factory=lambda: np.empty(0, np.float32))
    _index: I64 = field(default_factory=lambda: np.empty(0, np.int64))

    @property
    def kept(self) -> int:
        """How many cells are held."""
        return len(self._distance)

    def add(self, chunk: Chunk, distances: F32) -> None:
        """Take in a chunk's distances, NaN where missing."""
        self.valid += int(np.count_nonzero(np.isfinite(distances)))
        cells = np.nonzero(distances <= np.float32(self.limit))  # NaN is not
        known = distances[cells]
        if not np.isfinite(known).all():
            cells = tuple(along[np.isfinite(known)] for along in cells)
        places = [along + start for along, start in zip(cells, chunk.start, strict=True)]
        self._keep(distances[cells], np.ravel_multi_index(places, chunk.domain.shape))

    def merge(self, other: BestCells) -> None:
        """Take in what was found elsewhere, in other chunks of the same domain."""
        self.valid += other.valid
        if other.limit < self.limit:
            self.limit, self._ties = other.limit, other._ties
        elif other.limit == self.limit:
            self._ties += other._ties
        within = other._distance <= np.float32(self.limit)
        self._keep(other._distance[within], other._index[within])

    def places(self) -> list[Place]:
        """At most ``top`` places, the best first; equal distances in order of the cells."""
        order = np.lexsort((self._index, self._distance))
        distance, index = self._distance[order], self._index[order]
        xy = self.domain.centres(index)
        return [
            Place(
                int(index[cell]),
                float(xy[cell, 0]),
                float(xy[cell, 1]),
                float(distance[cell]),
                100.0 * self._at_most(distance, distance[cell]) / self.valid,
            )
            for cell in _separate(self.domain.metres(index), self.top, self.radius)
        ]

    def _keep(self, distances: F32, index: I64) -> None:
        distance = np.concatenate([self._distance, distances])
        index = np.concatenate([self._index, index])
        if len(distance) > self.capacity:
            limit = float(np.partition(distance, self.capacity - 1)[self.capacity - 1])
            kept = np.flatnonzero(distance < limit)
            ties = np.flatnonzero(distance == limit)
            ties = ties[np.argsort(index[ties])]
            room = self.capacity - len(kept)
            self._ties = (self._ties if limit == self.limit else 0) + len(ties) - room
            self.limit = limit
            kept = np.concatenate([kept, ties[:room]])
            distance, index = distance[kept], index[kept]
        self._distance, self._index = distance, index

    def _at_most(self, distances: F32, distance: np.float32) -> int:
        """How many of all cells seen are at most so far away; ``distances`` ascend."""
        ties = self._ties if distance == self.limit else 0
        return int(np.searchsorted(distances, distance, side="right")) + ties


def _separate(xy: F64, top: int, radius: float) -> list[int]:
    """Greedy non-maximum suppression over cells ``(cell, axis)`` in m, the best first."""
    free = np.ones(len(xy), np.bool_)
    chosen: list[int] = []
    while free.any() and len(chosen) < top:
        best = int(np.argmax(free))
        square = ((xy - xy[best]) ** 2).sum(axis=1)
        free &= square >= radius**2 * (1 - _TOUCH)
        free[best] = False
        chosen.append(best)
    return chosen


@dataclass(eq=False)
class TopK:
    """The ``top`` best places of each of ``maps`` maps, at least ``radius`` m apart.

    Raises UsageError for less than one, and for a radius that is no length.
    """

    domain: Domain
    maps: int
    top: int = 20
    radius: float = RADIUS
    best: list[BestCells] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.top < 1 or not 0 <= self.radius < math.inf:
            raise UsageError(
                f"{self.top} candidates {self.radius:g} m apart: ask for at least one, "
                "and a radius from 0 m up"
            )
        if not self.best:
            most = self.top * self.domain.most_within(self.radius)
            capacity = min(most, self.domain.size)
            one = (self.domain, self.top, self.radius, capacity)
            self.best = [BestCells(*one) for _ in range(self.maps)]

    def part(self) -> TopK:
        """An empty one, which knows how bad a cell is that cannot matter any more."""
        best = [
            BestCells(self.domain, self.top, self.radius, cells.capacity, limit=cells.limit)
            for cells in self.best
        ]
        return TopK(self.domain, self.maps, self.top, self.radius, best)

    def add(self, chunk: Chunk, values: F32) -> None:
        """Take in the distances of a chunk."""
        for cells, distances in zip(self.best, values, strict=True):
            cells.add(chunk, distances)

    def merge(self, other: TopK) -> None:
        """Take in what was found in other chunks."""
        for cells, others in zip(self.best, other.best, strict=True):
            cells.merge(others)

    def result(self) -> list[list[Place]]:
        """The places of each map, the best first."""
        return [cells.places() for cells in self.best]


@dataclass(eq=False)
class Heatmaps:
    """All distances, each map of a grid written block by block into a file.

    A part holds the values of its chunks until they are merged into the one that has the file.
    """

    store: HeatmapFile | None = None
    pieces: list[tuple[Chunk, F32]] = field(default_factory=list)

    @classmethod
    def of(cls, grid: Grid, maps: int, scratch: Path | None = None) -> Heatmaps:
        """Of ``maps`` maps; ``scratch``: the folder of the file, by default the system's."""
        return cls(HeatmapFile.create(grid, maps, scratch))

    def part(self) -> Heatmaps:
        """An empty one without a file."""
        return Heatmaps()

    def add(self, chunk: Chunk, values: F32) -> None:
        """Write the values of a chunk, or keep them until they are merged."""
        if self.store is None:
            self.pieces.append((chunk, values))
        else:
            self.store.write(chunk, values)

    def merge(self, other: Heatmaps) -> None:
        """Write what a part kept."""
        for chunk, values in other.pieces:
            self.add(chunk, values)

    def result(self) -> list[StoredHeatmap]:
        """The maps, in the file."""
        assert self.store is not None
        return [StoredHeatmap(self.store, number) for number in range(self.store.maps)]


@dataclass(eq=False)
class Ranked:
    """Heatmaps and their best places. A part holds the values alone: places come of them."""

    heatmaps: Heatmaps
    top: TopK | None = None

    def part(self) -> Ranked:
        """An empty one without a file."""
        return Ranked(self.heatmaps.part())

    def add(self, chunk: Chunk, values: F32) -> None:
        """Take in the values of a chunk."""
        self.heatmaps.add(chunk, values)
        if self.top is not None:
            self.top.add(chunk, values)

    def merge(self, other: Ranked) -> None:
        """Take in what a part kept."""
        for chunk, values in other.heatmaps.pieces:
            self.add(chunk, values)

    def result(self) -> list[RankedMap]:
        """Each map with its places."""
        assert self.top is not None
        maps = zip(self.heatmaps.result(), self.top.result(), strict=True)
        return [RankedMap(heatmap, places) for heatmap, places in maps]


@dataclass(frozen=True)
class RankedMap:
    """A heatmap and its best places, the best first.

    regions: what was found in the regions of a layout, where they were asked for. Of points the
    heatmap is that of the regions' smallest distances, and their places are the best.
    """

    heatmap: Heatmap
    places: Sequence[Place]
    regions: RegionMinima | None = None


@dataclass(eq=False)
class Regional:
    """The best of each region, and of a grid its heatmaps with their places too."""

    regions: RegionMin
    ranked: Ranked | None = None

    def part(self) -> Regional:
        """An empty one for other chunks."""
        return Regional(self.regions.part(), self.ranked and self.ranked.part())

    def add(self, chunk: Chunk, values: F32) -> None:
        """Take in the values of a chunk."""
        self.regions.add(chunk, values)
        if self.ranked is not None:
            self.ranked.add(chunk, values)

    def merge(self, other: Regional) -> None:
        """Take in what a part kept."""
        self.regions.merge(other.regions)
        if self.ranked is not None and other.ranked is not None:
            self.ranked.merge(other.ranked)

    def result(self) -> list[RankedMap]:
        """Each map with its regions."""
        minima = self.regions.result()
        if self.ranked is None:
            shape = [one.layout.grid.shape for one in minima]
            maps = zip(minima, shape, strict=True)
            return [RankedMap(one.best.reshape(size), (), one) for one, size in maps]
        both = zip(self.ranked.result(), minima, strict=True)
        return [replace(ranked, regions=one) for ranked, one in both]
