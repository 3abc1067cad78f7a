"""Domains, the places that feature vectors belong to, and chunks, the parts they are worked on in.

Pure arithmetic: no I/O, no imagery, no executor.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from shapely import Geometry

CHUNK_SIZE = 128
"""Cells along each side of a cube's chunk: the unit of work, of storage and of resuming."""

Index = tuple[int, ...]
"""A chunk's place among the chunks of its domain, along each dimension."""


class Domain(ABC):
    """Cells in a coordinate reference system, in an array of one or more dimensions."""

    crs: str
    """An authority's code or WKT; its units are metres."""

    @property
    @abstractmethod
    def dims(self) -> tuple[str, ...]:
        """The names of the array's dimensions."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Cells along each dimension."""

    @abstractmethod
    def xy(self, chunk: Chunk) -> NDArray[np.float64]:
        """``(cell, 2)``: the centres of a chunk's cells in row-major order, in CRS units."""

    @abstractmethod
    def touched(self, polygon: Geometry | None, size: int = CHUNK_SIZE) -> NDArray[np.bool_]:
        """Which chunks may hold a cell inside ``polygon`` (in this CRS), or all without one.

        Of the shape of `chunk_grid`.
        """

    @property
    def size(self) -> int:
        """Number of cells."""
        return math.prod(self.shape)

    def chunk_grid(self, size: int = CHUNK_SIZE) -> tuple[int, ...]:
        """How many chunks of ``size`` cells a side cover the domain along each dimension."""
        return tuple(-(-count // size) for count in self.shape)

    def chunk(self, *index: int, size: int = CHUNK_SIZE) -> Chunk:
        """The chunk at ``index``, counted in chunks along each dimension."""
        return Chunk(self, index, size)

    def chunks(self, polygon: Geometry | None = None, size: int = CHUNK_SIZE) -> Iterator[Chunk]:
        """The chunks that ``polygon`` touches, or all, in row-major order, made one at a time."""
        if polygon is None:
            return (Chunk(self, index, size) for index in np.ndindex(*self.chunk_grid(size)))
        touched = np.argwhere(self.touched(polygon, size))
        return (Chunk(self, tuple(index), size) for index in touched.tolist())


@dataclass(frozen=True)
class Chunk:
    """The cells of a domain at ``index``, counted in chunks of ``size`` cells a side.

    Chunks at the end of a dimension may be smaller.
    """

    domain: Domain
    index: Index
    size: int = CHUNK_SIZE

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
    def xy(self) -> NDArray[np.float64]:
        """``(cell, 2)``: the centres of the cells, in CRS units."""
        return self.domain.xy(self)

    def inside(self, polygon: Geometry | None) -> NDArray[np.bool_] | None:
        """Which cells have their centre in ``polygon``, of the chunk's shape; None without one."""
        if polygon is None:
            return None
        import shapely

        inside: NDArray[np.bool_] = shapely.contains_xy(polygon, self.xy)
        return inside.reshape(self.shape)
