"""Ranks of true cells among the cells of a cube, of grids and of points, in two passes over it.

The first pass takes the scores of the true cells, the second counts the cells that are at least as
good. Both compute a cell's score in the same way, so equal cells are equal. No map is held: memory
is that of a few blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from ..arrays import F32, F64, I64
from ..domain import Chunk
from .normalisation import Normalisation

Scores = F32 | F64


class Scorer(Protocol):
    """Scores of cells ``(photo, cell)``, lower is better, of the values ``(map, cell)`` of a scan;
    NaN where those are."""

    def scores(self, chunk: Chunk, values: F32) -> Scores: ...


@dataclass(frozen=True)
class Normalised:
    """The first ``photos`` maps are distances of photos, those after them of a bank."""

    photos: int
    kind: Normalisation

    def scores(self, chunk: Chunk, values: F32) -> Scores:  # noqa: ARG002
        """By the kind of normalisation."""
        return self.kind.scores(values[: self.photos], values[self.photos :])


@dataclass(frozen=True, eq=False)
class Columns:
    """The map ``(photo,)`` that counts for each photo."""

    maps: I64

    def scores(self, chunk: Chunk, values: F32) -> Scores:  # noqa: ARG002
        """As they are."""
        return values[self.maps]


@dataclass(frozen=True, eq=False)
class Centre:
    """How far a cell is from the middle of the domain: a guess that knows nothing of the photo."""

    photos: int
    middle: tuple[float, float]

    def scores(self, chunk: Chunk, values: F32) -> Scores:
        """The same for each photo, in CRS units."""
        off = np.hypot(*(chunk.xy - self.middle).T)
        off[np.isnan(values[0])] = np.nan
        return np.broadcast_to(off, (self.photos, len(off)))


@dataclass(eq=False)
class AtCells:
    """The scores of each photo's true cell: float64 ``(scorer, photo)``, NaN where not known.

    cells: int64 ``(photo,)``, places in the domain in row-major order, -1 for none.
    """

    scorers: Sequence[Scorer]
    cells: I64
    found: F64 = field(init=False)

    def __post_init__(self) -> None:
        self.found = np.full((len(self.scorers), len(self.cells)), np.nan)

    def part(self) -> AtCells:
        """An empty one."""
        return AtCells(self.scorers, self.cells)

    def add(self, chunk: Chunk, values: F32) -> None:
        """Take those of the chunk."""
        photos, places = _inside(chunk, self.cells)
        if len(photos):
            flat = values.reshape(len(values), -1)
            for row, scorer in enumerate(self.scorers):
                self.found[row, photos] = scorer.scores(chunk, flat)[photos, places]

    def merge(self, other: AtCells) -> None:
        """Take in those of other chunks."""
        self.found = np.where(np.isnan(other.found), self.found, other.found)

    def result(self) -> F64:
        """All of them."""
        return self.found


@dataclass(eq=False)
class Standings:
    """How many cells are better than each photo's own, equal to it, and known at all.

    own: float64 ``(scorer, photo)`` of `AtCells`; counts: int64 ``(3, scorer, photo)``.
    """

    scorers: Sequence[Scorer]
    own: F64
    counts: I64 = field(init=False)

    def __post_init__(self) -> None:
        self.counts = np.zeros((3, *self.own.shape), np.int64)

    def part(self) -> Standings:
        """An empty one."""
        return Standings(self.scorers, self.own)

    def add(self, chunk: Chunk, values: F32) -> None:
        """Count those of the chunk."""
        flat = values.reshape(len(values), -1)
        for row, scorer in enumerate(self.scorers):
            for photo, scores in enumerate(scorer.scores(chunk, flat)):
                own = self.own[row, photo]
                tests = (scores < own, scores == own, np.isfinite(scores))
                self.counts[:, row, photo] += [np.count_nonzero(test) for test in tests]

    def merge(self, other: Standings) -> None:
        """Add those of other chunks."""
        self.counts += other.counts

    def result(self) -> I64:
        """The counts."""
        return self.counts


@dataclass(eq=False)
class Together:
    """Several reductions of the same pass: each gets the first ``maps`` of the values, or all."""

    parts: Sequence[Any]
    maps: Sequence[int | None]

    def part(self) -> Together:
        """Empty ones."""
        return Together([one.part() for one in self.parts], self.maps)

    def add(self, chunk: Chunk, values: F32) -> None:
        """To each."""
        for one, maps in zip(self.parts, self.maps, strict=True):
            one.add(chunk, values[:maps])

    def merge(self, other: Together) -> None:
        """Each its own."""
        for one, more in zip(self.parts, other.parts, strict=True):
            one.merge(more)

    def result(self) -> list[Any]:
        """The results of each."""
        return [one.result() for one in self.parts]


def _inside(chunk: Chunk, cells: I64) -> tuple[I64, I64]:
    """Which photos have their cell in a chunk, and that cell's place in it."""
    photos = np.flatnonzero(cells >= 0)
    at = np.array(np.unravel_index(cells[photos], chunk.domain.shape))
    start, stop = np.array(chunk.start)[:, None], np.array(chunk.stop)[:, None]
    within = ((at >= start) & (at < stop)).all(axis=0)
    places = np.ravel_multi_index(tuple((at - start)[:, within]), chunk.shape)
    return photos[within], np.asarray(places, np.int64)
