"""From distances to places worth a look: separated minima, percentiles, explanations.

Nothing here needs a whole heatmap: `BestCells` takes blocks in any order and keeps only the
cells that can still become candidates, with results equal to those of the whole.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pyproj import Transformer

from .domain import Chunk, Grid
from .errors import UsageError
from .models import FeatureSpace, Term
from .search import Piece

F32 = NDArray[np.float32]

RADIUS = 150.0
"""Candidates lie at least so far apart, m: cells nearer than that see mostly the same ground."""

_TERMS = 8
_SHARED = 5
_STRIP = 1024  # cells a side of a heatmap looked at together


@dataclass(frozen=True)
class Candidate:
    """A cell that is the best within a radius.

    x, y: its centre in the grid's CRS; lon, lat: WGS84 degrees; percentile: how many percent of
    the known cells are at most as far away; explanation: the scenes that make most of the
    distance; shared: the scenes that both photo and place say, the strongest first.
    """

    rank: int
    row: int
    col: int
    x: float
    y: float
    lon: float
    lat: float
    distance: float
    percentile: float
    explanation: tuple[Term, ...] = ()
    shared: tuple[Term, ...] = ()


@dataclass
class BestCells:
    """The best cells of a stream of blocks, enough of them for ``top`` candidates.

    Each candidate rules out the cells within ``radius`` (m) of it, so the best ``top`` times as
    many cells as that disc holds contain every candidate, and the rank of each.
    """

    grid: Grid
    top: int = 20
    radius: float = RADIUS
    valid: int = 0
    """Cells seen that are not missing."""
    _distance: F32 = field(default_factory=lambda: np.empty(0, np.float32))
    _index: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    _limit: float = math.inf  # no worse cell can matter
    _ties: int = 0  # cells at the limit that were not kept

    def __post_init__(self) -> None:
        if self.top < 1 or not 0 <= self.radius < math.inf:
            raise UsageError(
                f"{self.top} candidates {self.radius:g} m apart: ask for at least one, "
                "and a radius from 0 m up"
            )

    @property
    def capacity(self) -> int:
        """How many cells are kept: no disc holds more centres than a disc wider by half a cell's
        diagonal has area."""
        disc = math.pi * (self.radius / self.grid.step + math.sqrt(0.5)) ** 2
        return min(self.top * math.ceil(disc), self.grid.size)

    def add(self, block: Chunk, distances: F32) -> None:
        """Take in a block's distances ``(y, x)``, NaN where missing."""
        known = np.isfinite(distances)
        self.valid += int(known.sum())
        rows, cols = np.nonzero(known & (distances <= self._limit))
        top, left = block.start
        index = (rows + top) * self.grid.nx + (cols + left)
        self._keep(distances[rows, cols], index.astype(np.int64))

    def merge(self, other: BestCells) -> None:
        """Take in what was found elsewhere, in other blocks of the same grid."""
        self.valid += other.valid
        if other._limit < self._limit:
            self._limit, self._ties = other._limit, other._ties
        elif other._limit == self._limit:
            self._ties += other._ties
        self._keep(other._distance, other._index)

    def candidates(self) -> list[Candidate]:
        """At most ``top`` candidates, the best first; equal distances in order of rows."""
        self._sort()
        kept = self._separate()
        rows, cols = np.divmod(self._index[kept], self.grid.nx)
        x, y = self.grid.x[cols], self.grid.y[rows]
        lon, lat = _to_wgs84(self.grid.crs).transform(x, y)
        return [
            Candidate(
                rank,
                int(rows[i]),
                int(cols[i]),
                float(x[i]),
                float(y[i]),
                float(lon[i]),
                float(lat[i]),
                float(self._distance[cell]),
                100.0 * self._count(float(self._distance[cell])) / self.valid,
            )
            for rank, (i, cell) in enumerate(enumerate(kept), start=1)
        ]

    def _keep(self, distances: F32, index: NDArray[np.int64]) -> None:
        distance = np.concatenate([self._distance, distances])
        index = np.concatenate([self._index, index])
        if len(distance) > self.capacity:
            limit = float(np.partition(distance, self.capacity - 1)[self.capacity - 1])
            kept = np.flatnonzero(distance < limit)
            ties = np.flatnonzero(distance == limit)
            ties = ties[np.argsort(index[ties])]
            room = self.capacity - len(kept)
            self._ties = (self._ties if limit == self._limit else 0) + len(ties) - room
            self._limit = limit
            kept = np.concatenate([kept, ties[:room]])
            distance, index = distance[kept], index[kept]
        self._distance, self._index = distance, index

    def _sort(self) -> None:
        order = np.lexsort((self._index, self._distance))
        self._distance, self._index = self._distance[order], self._index[order]

    def _separate(self) -> list[int]:
        """Greedy non-maximum suppression over the kept cells, which are sorted."""
        rows, cols = np.divmod(self._index, self.grid.nx)
        free = np.ones(len(rows), bool)
        chosen: list[int] = []
        while free.any() and len(chosen) < self.top:
            best = int(np.argmax(free))
            square = (rows - rows[best]) ** 2 + (cols - cols[best]) ** 2
            free &= square * self.grid.step**2 >= self.radius**2
            free[best] = False
            chosen.append(best)
        return chosen

    def _count(self, distance: float) -> int:
        """How many of all cells seen are at most so far away."""
        ties = self._ties if distance == self._limit else 0
        return int(np.searchsorted(self._distance, np.float32(distance), side="right")) + ties


def find_candidates(
    heatmap: F32, grid: Grid, top: int = 20, radius: float = RADIUS
) -> list[Candidate]:
    """The best cells of a heatmap ``(y, x)``, at least ``radius`` m apart, the best first."""
    pieces = ((chunk, heatmap[None, *chunk.slices]) for chunk in grid.chunks(size=_STRIP))
    return stream_candidates(pieces, grid, 1, top, radius)[0]


def stream_candidates(
    pieces: Iterable[Piece], grid: Grid, maps: int, top: int = 20, radius: float = RADIUS
) -> list[list[Candidate]]:
    """`find_candidates` for each of ``maps`` maps that `geoloc.search.scan` yields in pieces."""
    best = [BestCells(grid, top, radius) for _ in range(maps)]
    for block, values in pieces:
        for cells, distances in zip(best, values, strict=True):
            cells.add(block, distances)
    return [cells.candidates() for cells in best]


def explain_candidates(
    candidates: Sequence[Candidate],
    cube: Explained,
    photo: ArrayLike,
    weights: ArrayLike | None = None,
    terms: int = _TERMS,
) -> list[Candidate]:
    """The candidates with their strongest terms, for the vector ``photo`` ``(feature,)``."""
    features, distance = cube.features, cube.features.distance(weights)
    explained = []
    for candidate in candidates:
        place = cube.vector(candidate.row, candidate.col)
        if place is not None:
            every = features.explain(photo, place, distance)
            shared = shared_scenes(every)
            candidate = replace(candidate, explanation=every[:terms], shared=shared)
        explained.append(candidate)
    return explained


def shared_scenes(terms: Sequence[Term], top: int = _SHARED) -> tuple[Term, ...]:
    """The scenes that both say, out of all terms: the words for why a distance is small.

    In both vectors their logit is at least a standard deviation above the vector's mean.
    """
    logits = np.array([(t.photo, t.place) for t in terms])
    spread = logits.std(axis=0)
    level = ((logits - logits.mean(axis=0)) / np.where(spread > 0, spread, 1)).min(axis=1)
    order = np.argsort(-level, kind="stable")[:top]
    return tuple(terms[i] for i in order if level[i] >= 1)


def percentile_of(heatmap: F32, row: int, col: int) -> float | None:
    """How many percent of the known cells are at most as far as this one; None where missing."""
    ny, nx = heatmap.shape
    if not (0 <= row < ny and 0 <= col < nx) or np.isnan(heatmap[row, col]):
        return None
    nearer = np.count_nonzero(heatmap <= heatmap[row, col])
    return 100.0 * nearer / int(np.count_nonzero(~np.isnan(heatmap)))


def good_candidates(distances: F32, share: float = 0.1) -> NDArray[np.bool_]:
    """Where ``d <= best + share * (worst - best)``, the study's rule; False where missing."""
    if np.isnan(distances).all():
        return np.zeros(distances.shape, bool)
    best, worst = float(np.nanmin(distances)), float(np.nanmax(distances))
    good: NDArray[np.bool_] = distances <= best + share * (worst - best)
    return good


class Explained(Protocol):
    """What an explanation needs of a cube; `geoloc.cube.Cube` has it."""

    @property
    def features(self) -> FeatureSpace: ...

    def vector(self, row: int, col: int) -> F32 | None:
        """Feature vector ``(feature,)`` of a cell, or None where missing."""
        ...


def _to_wgs84(crs: str) -> Transformer:
    return Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
