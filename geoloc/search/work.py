"""One block's distances as work for threads of this process, or a cluster."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np

from ..arrays import F32
from ..domain import Chunk, Domain, Index
from ..executors import Lazy
from ..models import FeatureSpace
from .distance import BlockKernel
from .heatmaps import BLOCK
from .kernels import Codes
from .mask import PolygonMask
from .reductions import Reduction

Kept = TypeVar("Kept")


class Searchable(Protocol):
    """What search needs of a cube; `geoloc.cube.Cube` has it."""

    @property
    def features(self) -> FeatureSpace: ...

    @property
    def domain(self) -> Domain: ...

    def read(self, *cells: slice) -> Codes:
        """int8 ``(*cells, feature)``, -128 where missing."""
        ...

    def read_norm(self, *cells: slice) -> F32 | None:
        """float32: `Distance.squared_norm` of the decoded cells, or None."""
        ...


_MOST_VALUES, _UNIT = 1 << 24, 4096  # of a block of points: 64 MB of distances; points


def side_of(domain: Domain, maps: int = 1) -> int:
    """Cells along each side of what is read at a time, for so many maps.

    As many cells in any domain; of points fewer, where distances to many photos would fill the
    memory.
    """
    if len(domain.shape) == 2:
        return BLOCK
    return min(BLOCK * BLOCK, max(_UNIT, _MOST_VALUES // maps // _UNIT * _UNIT))


def whole(_chunk: Chunk, values: F32) -> F32:
    """All values of a block are kept."""
    return values


@dataclass(frozen=True, eq=False)
class PartOf(Generic[Kept]):
    """What a reduction keeps of a block: a part of it that saw this block alone."""

    reduction: Reduction[Kept]

    def __call__(self, chunk: Chunk, values: F32) -> Reduction[Kept]:
        part = self.reduction.part()
        part.add(chunk, values)
        return part


@dataclass(frozen=True, eq=False)
class BlockScan(Generic[Kept]):
    """Blocks -> what ``keep`` makes of their values: float32 ``(map, *cells)``, NaN where
    missing or outside of ``mask``."""

    cube: Lazy[Searchable]
    kernel: BlockKernel
    mask: PolygonMask | None
    keep: Callable[[Chunk, F32], Kept]

    def block(self, place: Index) -> Chunk:
        """The cells of a block."""
        domain = self.cube().domain
        return domain.chunk(*place, size=side_of(domain, self.kernel.maps))

    def read(self, place: Index) -> tuple[Codes, F32 | None]:
        """Codes ``(cell, feature)``, and norms ``(cell,)`` where the kernel wants them."""
        slices = self.block(place).slices
        codes = np.ascontiguousarray(self.cube().read(*slices))
        norm = self.cube().read_norm(*slices) if self.kernel.stored else None
        flat = None if norm is None else np.ascontiguousarray(norm, np.float32).reshape(-1)
        return codes.reshape(-1, codes.shape[-1]), flat

    def finish(self, place: Index, data: tuple[Codes, F32 | None]) -> Kept:
        """What is kept of the block."""
        block = self.block(place)
        values = self.kernel(*data).reshape(-1, *block.shape)
        if self.mask is not None:
            values[:, ~self.mask.cells(block)] = np.nan
        return self.keep(block, values)
