"""One block's distances as work for whoever runs it: threads of this process, or a cluster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ..domain import Chunk, Grid, Index
from ..executors import Once
from ..models import FeatureSpace
from .distance import BlockKernel
from .kernels import F32, Codes
from .mask import PolygonMask

BLOCK = 256  # cells along a side: smaller reads are dominated by the store's cost per request


class Searchable(Protocol):
    """What search needs of a cube; `geoloc.cube.Cube` has it."""

    @property
    def features(self) -> FeatureSpace: ...

    @property
    def grid(self) -> Grid: ...

    def read(self, rows: slice, cols: slice) -> Codes:
        """int8 ``(y, x, feature)``, -128 where missing."""
        ...

    def read_norm(self, rows: slice, cols: slice) -> F32 | None:
        """float32 ``(y, x)``: `Distance.squared_norm` of the decoded cells, or None."""
        ...


@dataclass(frozen=True, eq=False)
class BlockScan:
    """Blocks -> values float32 ``(map, y, x)``, NaN where missing or outside of ``mask``."""

    cube: Once[Searchable]
    kernel: BlockKernel
    mask: PolygonMask | None

    def block(self, place: Index) -> Chunk:
        """The cells of a block."""
        return self.cube().grid.chunk(*place, size=BLOCK)

    def read(self, place: Index) -> tuple[Codes, F32 | None]:
        """Codes ``(cell, feature)``, and norms ``(cell,)`` where the kernel wants them."""
        slices = self.block(place).slices
        codes = np.ascontiguousarray(self.cube().read(*slices))
        norm = self.cube().read_norm(*slices) if self.kernel.stored else None
        flat = None if norm is None else np.ascontiguousarray(norm, np.float32).reshape(-1)
        return codes.reshape(-1, codes.shape[-1]), flat

    def finish(self, place: Index, data: tuple[Codes, F32 | None]) -> F32:
        """The values of all maps in the block."""
        block = self.block(place)
        values = self.kernel(*data).reshape(-1, *block.shape)
        if self.mask is not None:
            values[:, ~self.mask.cells(block)] = np.nan
        return values
