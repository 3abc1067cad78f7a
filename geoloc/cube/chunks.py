"""Uncompressed chunks on this machine's disk, mapped into memory instead of decoded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BytesCodec
from zarr.core.chunk_key_encodings import DefaultChunkKeyEncoding
from zarr.core.metadata import ArrayV3Metadata


@dataclass(frozen=True)
class PlainChunks:
    """The chunks of an int8 array ``(y, x, feature)``: plain files of ``side`` x ``side`` cells.

    A mapped file stays as it is when another takes its name (chunks are replaced, never changed
    in place), so that nobody sees half of a block.
    """

    folder: Path
    shape: tuple[int, int, int]
    side: int
    fill: int

    @classmethod
    def of(cls, array: zarr.Array[Any], root: Path | None) -> PlainChunks | None:
        """None where the array is not stored so: elsewhere, compressed, sharded, transposed."""
        about = array.metadata
        if root is None or not isinstance(about, ArrayV3Metadata) or array.ndim != 3:
            return None
        side, cols, depth = array.chunks
        plain = (
            array.dtype == np.int8
            and [type(codec) for codec in about.codecs] == [BytesCodec]
            and isinstance(about.chunk_key_encoding, DefaultChunkKeyEncoding)
            and about.chunk_key_encoding.separator == "/"
            and side == cols
            and depth == array.shape[2]
        )
        if not plain:
            return None
        ny, nx, dim = array.shape
        return cls(root / array.path / "c", (ny, nx, dim), side, int(array.fill_value))

    def read(self, rows: slice, cols: slice) -> NDArray[np.int8] | None:
        """The cells of these slices (steps of 1), writable; None for what zarr does better."""
        (y0, y1, dy), (x0, x1, dx) = rows.indices(self.shape[0]), cols.indices(self.shape[1])
        if dy != 1 or dx != 1 or y0 >= y1 or x0 >= x1:
            return None
        first, last = (
            (y0 // self.side, x0 // self.side),
            ((y1 - 1) // self.side, (x1 - 1) // self.side),
        )
        if first == last:
            return self._cells(*first, y0, y1, x0, x1)
        out = np.empty((y1 - y0, x1 - x0, self.shape[2]), np.int8)
        for row in range(first[0], last[0] + 1):
            top, bottom = max(y0, row * self.side), min(y1, (row + 1) * self.side)
            for col in range(first[1], last[1] + 1):
                left, right = max(x0, col * self.side), min(x1, (col + 1) * self.side)
                part = self._cells(row, col, top, bottom, left, right)
                out[top - y0 : bottom - y0, left - x0 : right - x0] = part
        return out

    def _cells(self, row: int, col: int, y0: int, y1: int, x0: int, x1: int) -> NDArray[np.int8]:
        """Cells ``[y0:y1, x0:x1]`` of one chunk; a chunk without a file holds nothing."""
        shape = (self.side, self.side, self.shape[2])
        try:
            # copy on write: whoever changes the cells has a page of their own
            chunk = np.memmap(self.folder / f"{row}/{col}/0", np.int8, "c", shape=shape)
        except FileNotFoundError:
            return np.full((y1 - y0, x1 - x0, shape[2]), self.fill, np.int8)
        top, left = row * self.side, col * self.side
        cells: NDArray[np.int8] = np.asarray(chunk)[y0 - top : y1 - top, x0 - left : x1 - left]
        return cells
