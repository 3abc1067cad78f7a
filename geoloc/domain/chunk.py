"""Domains, the places that feature vectors belong to, and chunks, the parts they are worked on in.

Pure arithmetic: no I/O, no imagery, no executor.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..arrays import F64, I64, Bools

if TYPE_CHECKING:
    from shapely import Geometry

CHUNK_SIZE = 128
"""Cells along each side of a cube's chunk: the unit of work, of storage and of resuming."""

Index = tuple[int, ...]
"""A chunk's place among the chunks of its domain, along each dimension."""


class Domain(ABC):
    """Cells in a coordinate reference system, in an array of one or more dimensions."""

    crs: str
    """An authority's code or WKT."""

    chunk_size: ClassVar[int] = CHUNK_SIZE
    """Cells along each side of a chunk where nothing else is said."""

    @property
    @abstractmethod
    def dims(self) -> tuple[str, ...]:
        """The names of the array's dimensions."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Cells along each dimension."""

    @abstractmethod
    def xy(self, chunk: Chunk) -> F64:
        """``(cell, 2)``: the centres of a chunk's cells in row-major order, in CRS units."""

    @abstractmethod
    def centres(self, index: I64) -> F64:
        """``(cell, 2)``: the centres of cells by their place in row-major order, in CRS units."""

    def metres(self, index: I64) -> F64:
        """The same in a space whose unit is the metre, whatever the CRS: to measure distances."""
        return self.centres(index)

    @abstractmethod
    def most_within(self, radius: float) -> int:
        """At most so many cells lie nearer than ``radius`` (m) to one of them, which counts."""

    @abstractmethod
    def touched(self, polygon: Geometry | None, size: int | None = None) -> Bools:
        """Which chunks may hold a cell inside ``polygon`` (in this CRS), or all without one.

        Of the shape of `chunk_grid`.
        """

    @property
    def size(self) -> int:
        """Number of cells."""
        return math.prod(self.shape)

    @property
    @abstractmethod
    def bounds(self) -> tuple[float, float, float, float]:
        """Outer edges: left, bottom, right, top, in CRS units."""

    def chunk_grid(self, size: int | None = None) -> tuple[int, ...]:
        """How many chunks of ``size`` cells a side cover the domain along each dimension."""
        return tuple(-(-count // (size or self.chunk_size)) for count in self.shape)

    def chunk(self, *index: int, size: int | None = None) -> Chunk:
        """The chunk at ``index``, counted in chunks along each dimension."""
        return Chunk(self, index, size or self.chunk_size)

    def chunks(self, polygon: Geometry | None = None, size: int | None = None) -> Iterator[Chunk]:
        """The chunks that ``polygon`` touches, or all, in row-major order, made one at a time."""
        if polygon is None:
            return (self.chunk(*index, size=size) for index in np.ndindex(*self.chunk_grid(size)))
        touched = np.argwhere(self.touched(polygon, size))
        return (self.chunk(*index, size=size) for index in touched.tolist())

    def handle(self) -> Callable[[], Domain]:
        """What a chunk that is sent elsewhere holds in its place: gives it again over there."""
        return partial(_itself, self)


@dataclass(frozen=True)
class Chunk:
    """The cells of a domain at ``index``, counted in chunks of ``size`` cells a side.

    Chunks at the end of a dimension may be smaller.
    """

    domain: Domain
    index: Index
    size: int

    def __reduce__(self) -> tuple[Any, ...]:
        return _chunk, (self.domain.handle(), self.index, self.size)

    @property
    def start(self) -> tuple[int, ...]:
        """The first cell, along each dimension."""
        return tuple(i * self.size for i in self.index)

    @property
    def stop(self) -> tuple[int, ...]:
        """The cell after the last one, along each dimension."""
        ends = zip(self.index, self.domain.shape, strict=True)
        return tuple(min((i + 1) * self.size, count) for i, count in ends)

    @property
    def slices(self) -> tuple[slice, ...]:
        """Where the chunk lies in an array of the whole domain."""
        return tuple(map(slice, self.start, self.stop))

    @property
    def shape(self) -> tuple[int, ...]:
        """Cells along each dimension."""
        return tuple(b - a for a, b in zip(self.start, self.stop, strict=True))

    @property
    def xy(self) -> F64:
        """``(cell, 2)``: the centres of the cells, in CRS units."""
        return self.domain.xy(self)

    def inside(self, polygon: Geometry | None) -> Bools | None:
        """Which cells have their centre in ``polygon``, of the chunk's shape; None without one."""
        if polygon is None:
            return None
        import shapely

        inside: Bools = shapely.contains_xy(polygon, self.xy)
        return inside.reshape(self.shape)


def _itself(domain: Domain) -> Domain:
    return domain


def _chunk(handle: Callable[[], Domain], index: Index, size: int) -> Chunk:
    return Chunk(handle(), index, size)
