"""Heatmaps on disk: distances of a whole grid, written and read in parts, never held as a whole."""

from __future__ import annotations

import os
import tempfile
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..arrays import F32, Bools
from ..domain import Chunk, Grid
from ..errors import OutputError

BLOCK = 256
"""Cells along a side of what is read at a time: smaller reads are dominated by the store's cost
per request."""

_VALUE = 4  # bytes
_STRIP_BYTES = 8 << 20  # of a heatmap, read at a time


@dataclass(frozen=True, eq=False)
class HeatmapFile:
    """``maps`` heatmaps of a grid in an unnamed file, block by block: nothing stays if killed.

    Read and written by position, from any thread; no memory map, so that it takes no memory.
    """

    grid: Grid
    maps: int
    file: BinaryIO
    written: Bools = field(repr=False)
    """Of the shape of the grid's blocks: others are NaN."""

    @classmethod
    def create(cls, grid: Grid, maps: int, scratch: Path | None = None) -> HeatmapFile:
        """An empty file in ``scratch`` (default: the system's folder for temporary files)."""
        file = tempfile.TemporaryFile(dir=scratch, buffering=0)  # noqa: SIM115 closed with its maps
        store = cls(grid, maps, file, np.zeros(grid.chunk_grid(BLOCK), np.bool_))
        weakref.finalize(store, file.close)
        return store

    def write(self, chunk: Chunk, values: F32) -> None:
        """Keep the values ``(map, y, x)`` of a block. Raises OutputError where the disk is full."""
        for number, part in enumerate(values):
            content, at = np.asarray(part, np.float32).tobytes(), self._place(chunk, number)
            try:
                while content:
                    count = os.pwrite(self.file.fileno(), content, at)
                    content, at = content[count:], at + count
            except OSError as error:
                raise OutputError(
                    f"no room for the heatmaps while they are computed: {error.strerror}; "
                    "choose another --out"
                ) from None
        self.written[chunk.index] = True

    def read(self, number: int, rows: slice, cols: slice) -> F32:
        """A window ``(y, x)`` of one of the heatmaps."""
        window = np.full((rows.stop - rows.start, cols.stop - cols.start), np.nan, np.float32)
        for row in range(rows.start // BLOCK, -(-rows.stop // BLOCK)):
            for col in range(cols.start // BLOCK, -(-cols.stop // BLOCK)):
                if self.written[row, col]:
                    chunk = self.grid.chunk(row, col, size=BLOCK)
                    self._fill(window, number, chunk, rows, cols)
        return window

    def _fill(self, window: F32, number: int, chunk: Chunk, rows: slice, cols: slice) -> None:
        """Put into the window what one block has of it: its rows lie one after the other."""
        (top, left), (bottom, right) = chunk.start, chunk.stop
        y0, y1 = max(top, rows.start), min(bottom, rows.stop)
        x0, x1 = max(left, cols.start), min(right, cols.stop)
        width = right - left
        at = self._place(chunk, number) + (y0 - top) * width * _VALUE
        content = os.pread(self.file.fileno(), (y1 - y0) * width * _VALUE, at)
        lines = np.frombuffer(content, np.float32).reshape(y1 - y0, width)
        target = window[y0 - rows.start : y1 - rows.start, x0 - cols.start : x1 - cols.start]
        target[:] = lines[:, x0 - left : x1 - left]

    def _place(self, chunk: Chunk, number: int) -> int:
        """The first byte of a block of one of the heatmaps."""
        rows, cols = self.grid.chunk_grid(BLOCK)
        block = (number * rows + chunk.index[0]) * cols + chunk.index[1]
        return block * BLOCK * BLOCK * _VALUE


@dataclass(frozen=True, eq=False)
class StoredHeatmap:
    """One heatmap ``(y, x)`` of a file: float32, NaN where nothing is known.

    Read like an array: by a cell, by rows, or by a window without steps. An array may take its
    place everywhere.
    """

    store: HeatmapFile
    number: int

    @property
    def shape(self) -> tuple[int, int]:
        """``(y, x)`` cells."""
        return self.store.grid.shape

    @property
    def size(self) -> int:
        """Number of cells."""
        return self.store.grid.size

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        """All of it in memory, for those who have room: ``np.asarray(heatmap)``."""
        if copy is False:
            raise ValueError("a heatmap in a file is copied into memory")
        return np.asarray(self[:], dtype)

    def __getitem__(self, index: int | slice | tuple[int | slice, int | slice]) -> F32:
        pair = index if isinstance(index, tuple) else (index, slice(None))
        spans = [_span(part, count) for part, count in zip(pair, self.shape, strict=True)]
        window = self.store.read(self.number, *spans)
        cells = tuple(0 if isinstance(part, int | np.integer) else slice(None) for part in pair)
        values: F32 = window[cells]
        return values


Heatmap = F32 | StoredHeatmap
"""Distances ``(y, x)``, NaN where nothing is known: in memory, or in a file."""


def strips(heatmap: Heatmap, most: int = _STRIP_BYTES) -> Iterator[tuple[slice, F32]]:
    """The rows of a heatmap from above, some at a time: at most ``most`` bytes, or one row."""
    ny, nx = heatmap.shape
    rows = max(1, most // (_VALUE * nx))
    rows -= rows % BLOCK if rows > BLOCK else 0
    for start in range(0, ny, rows):
        part = slice(start, min(start + rows, ny))
        yield part, np.asarray(heatmap[part], np.float32)


@dataclass(frozen=True)
class Standing:
    """How a value stands among the known cells: how many are smaller, equal, and known at all."""

    smaller: int
    equal: int
    known: int


def standing(heatmap: Heatmap, value: float) -> Standing:
    """How a value stands among the cells of a heatmap."""
    counts = np.zeros(3, np.int64)
    for _, part in strips(heatmap):
        tests = (part < value, part == value, np.isfinite(part))
        counts += [np.count_nonzero(test) for test in tests]
    return Standing(*counts.tolist())


def _span(part: int | slice, count: int) -> slice:
    if isinstance(part, slice):
        start, stop, _ = part.indices(count)
        return slice(start, max(start, stop))
    row = range(count)[part]  # raises IndexError, and counts from the end below 0
    return slice(row, row + 1)
