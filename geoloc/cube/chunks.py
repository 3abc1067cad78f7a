"""Uncompressed chunks, read as they lie on the store: mapped into memory on this machine's disk."""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BytesCodec
from zarr.core.buffer import default_buffer_prototype
from zarr.core.chunk_key_encodings import DefaultChunkKeyEncoding
from zarr.core.metadata import ArrayV3Metadata
from zarr.core.sync import sync

from ..domain import Index
from .store import write_bytes

if TYPE_CHECKING:
    from zarr.abc.store import Store

_AT_ONCE = 16  # chunks fetched from an object store together


class Raw(NamedTuple):
    """A chunk's bytes ``(byte,)``; ``stamp`` tells a file from what it was or will be, or None."""

    content: NDArray[np.uint8]
    stamp: tuple[int, int, int] | None = None


Guard = Callable[[Index, Raw | None], bool]
"""Whether a chunk counts; raises where it is not what it should be."""


@dataclass(frozen=True)
class PlainChunks:
    """Chunks of an array ``(y, x)`` or ``(y, x, feature)``: ``side`` x ``side`` cells, plain bytes.

    A mapped file stays as it is when another takes its name (chunks are replaced, never changed
    in place), so that nobody sees half of a block.
    """

    store: Store
    root: Path | None
    name: str
    shape: tuple[int, ...]
    side: int
    dtype: np.dtype[Any]
    fill: int | float

    @classmethod
    def of(cls, array: zarr.Array[Any], root: Path | None) -> PlainChunks | None:
        """``root``: the store's folder. None where it is compressed, sharded or transposed."""
        about = array.metadata
        if not isinstance(about, ArrayV3Metadata) or array.ndim not in (2, 3):
            return None
        side, cols, *depth = array.chunks
        plain = (
            array.dtype.newbyteorder("<") == array.dtype
            and [type(codec) for codec in about.codecs] == [BytesCodec]
            and isinstance(about.chunk_key_encoding, DefaultChunkKeyEncoding)
            and about.chunk_key_encoding.separator == "/"
            and side == cols
            and tuple(depth) == array.shape[2:]
        )
        if not plain:
            return None
        fill = array.fill_value
        return cls(array.store, root, array.path, array.shape, side, array.dtype, fill)

    @property
    def nbytes(self) -> int:
        """Bytes of a chunk."""
        return math.prod(self._chunk_shape) * self.dtype.itemsize

    @property
    def _chunk_shape(self) -> tuple[int, ...]:
        return (self.side, self.side, *self.shape[2:])

    def read(self, rows: slice, cols: slice, guard: Guard | None = None) -> NDArray[Any]:
        """The cells of these slices (steps of 1 or more), writable.

        ``guard`` is asked of each chunk; those that do not count hold nothing.
        """
        (y0, y1, dy), (x0, x1, dx) = rows.indices(self.shape[0]), cols.indices(self.shape[1])
        if y0 >= y1 or x0 >= x1:
            return np.empty((max(y1 - y0, 0), max(x1 - x0, 0), *self.shape[2:]), self.dtype)
        places: list[Index] = [
            (row, col)
            for row in range(y0 // self.side, (y1 - 1) // self.side + 1)
            for col in range(x0 // self.side, (x1 - 1) // self.side + 1)
        ]
        if len(places) == 1:
            chunk = self._cells(places[0], self.raw(places[0]), guard)
            chunk = chunk if chunk.flags.writeable else chunk.copy()
            top, left = places[0][0] * self.side, places[0][1] * self.side
            return chunk[y0 - top : y1 - top : dy, x0 - left : x1 - left : dx]
        out = np.empty((y1 - y0, x1 - x0, *self.shape[2:]), self.dtype)
        for (row, col), raw in self.raws(places):
            chunk = self._cells((row, col), raw, guard)
            top, bottom = max(y0, row * self.side), min(y1, (row + 1) * self.side)
            left, right = max(x0, col * self.side), min(x1, (col + 1) * self.side)
            down, over = row * self.side, col * self.side
            part = chunk[top - down : bottom - down, left - over : right - over]
            out[top - y0 : bottom - y0, left - x0 : right - x0] = part
        return out[::dy, ::dx]

    def _cells(self, place: Index, raw: Raw | None, guard: Guard | None) -> NDArray[Any]:
        counts = guard is None or guard(place, raw)
        if raw is None or not counts:
            return np.full(self._chunk_shape, self.fill, self.dtype)
        return raw.content.view(self.dtype).reshape(self._chunk_shape)

    def key(self, place: Index) -> str:
        """A chunk's name on the store."""
        zeros = "/0" * (len(self.shape) - 2)
        return f"{self.name}/c/{place[0]}/{place[1]}{zeros}"

    def raw(self, place: Index) -> Raw | None:
        """A chunk as it is stored, or None."""
        return next(self.raws([place]))[1]

    def raws(self, places: list[Index]) -> Iterator[tuple[Index, Raw | None]]:
        """The same of several, a few at a time."""
        if self.root is not None:
            for place in places:
                yield place, _mapped(self.root / self.key(place), self.nbytes)
            return
        for start in range(0, len(places), _AT_ONCE):
            some = places[start : start + _AT_ONCE]
            yield from zip(some, sync(self._fetch(some)), strict=True)

    async def _fetch(self, places: list[Index]) -> list[Raw | None]:
        return await asyncio.gather(*(self._get(place) for place in places))

    async def _get(self, place: Index) -> Raw | None:
        found = await self.store.get(self.key(place), default_buffer_prototype())
        return None if found is None else Raw(found.as_numpy_array().view(np.uint8))

    def write(self, place: Index, cells: NDArray[Any]) -> NDArray[np.uint8] | None:
        """Replace a chunk by the cells ``(y, x, …)`` of its block; its bytes as stored.

        None, and nothing is stored, where all cells are missing.
        """
        chunk = np.full(self._chunk_shape, self.fill, self.dtype)
        chunk[: cells.shape[0], : cells.shape[1]] = cells
        missing = np.isnan(chunk) if self.dtype.kind == "f" else chunk == self.fill
        if missing.all():
            sync(self.store.delete(self.key(place)))
            return None
        content = chunk.reshape(-1).view(np.uint8)
        write_bytes(self.store, self.key(place), content.tobytes())
        return content


def _mapped(path: Path, size: int) -> Raw | None:
    """A file of this size copied on write: whoever changes the cells has a page of their own.

    A file of another size is not mapped whole: it says no more than that.
    """
    try:
        with path.open("rb") as file:
            about = os.fstat(file.fileno())
            stamp = about.st_ino, about.st_mtime_ns, about.st_size
            if about.st_size != size:
                return Raw(np.empty(0, np.uint8), stamp)
            content = np.asarray(np.memmap(file, np.uint8, "c", shape=(size,)))
    except FileNotFoundError:
        return None
    return Raw(content, stamp)
