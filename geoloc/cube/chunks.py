"""Uncompressed chunks, read as they lie on the store: mapped into memory on this machine's disk."""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
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

from ..arrays import U8
from ..domain import Index
from .store import write_bytes

if TYPE_CHECKING:
    from zarr.abc.store import Store

_AT_ONCE = 16  # chunks fetched from an object store together


class Raw(NamedTuple):
    """A chunk's bytes ``(byte,)``; ``stamp`` tells a file from what it was or will be, or None."""

    content: U8
    stamp: tuple[int, int, int] | None = None


Guard = Callable[[Index, Raw | None], bool]
"""Whether a chunk counts; raises where it is not what it should be."""


@dataclass(frozen=True)
class PlainChunks:
    """Chunks of an array of cells, ``side`` cells along each of ``dims`` dimensions, plain bytes.

    The dimensions of a domain come first: ``(y, x)``, ``(y, x, feature)``, ``(point, feature)``.
    A mapped file stays as it is when another takes its name (chunks are replaced, never changed
    in place), so that nobody sees half of a block.
    """

    store: Store
    root: Path | None
    name: str
    shape: tuple[int, ...]
    dims: int
    side: int
    dtype: np.dtype[Any]
    fill: int | float

    @classmethod
    def of(cls, array: zarr.Array[Any], dims: int, root: Path | None) -> PlainChunks | None:
        """``root``: the store's folder. None where it is compressed, sharded or transposed."""
        about, side = array.metadata, array.chunks[0]
        if not isinstance(about, ArrayV3Metadata):
            return None
        plain = (
            array.dtype.newbyteorder("<") == array.dtype
            and [type(codec) for codec in about.codecs] == [BytesCodec]
            and isinstance(about.chunk_key_encoding, DefaultChunkKeyEncoding)
            and about.chunk_key_encoding.separator == "/"
            and array.chunks == (*[side] * dims, *array.shape[dims:])
        )
        if not plain:
            return None
        fill = array.fill_value
        return cls(array.store, root, array.path, array.shape, dims, side, array.dtype, fill)

    @property
    def nbytes(self) -> int:
        """Bytes of a chunk."""
        return math.prod(self._chunk_shape) * self.dtype.itemsize

    @property
    def _chunk_shape(self) -> tuple[int, ...]:
        return (*[self.side] * self.dims, *self.shape[self.dims :])

    def read(self, cells: tuple[slice, ...], guard: Guard | None = None) -> NDArray[Any]:
        """The cells of these slices (steps of 1 or more), writable.

        ``guard`` is asked of each chunk; those that do not count hold nothing.
        """
        spans = [part.indices(count) for part, count in zip(cells, self.shape, strict=False)]
        shape = [max(stop - start, 0) for start, stop, _ in spans]
        if 0 in shape:
            return np.empty((*shape, *self.shape[self.dims :]), self.dtype)
        steps = tuple(slice(None, None, step) for *_, step in spans)
        places = list(product(*(_chunks_of(span, self.side) for span in spans)))
        if len(places) == 1:
            chunk = self._cells(places[0], self.raw(places[0]), guard)
            chunk = chunk if chunk.flags.writeable else chunk.copy()
            return chunk[_overlap(spans, places[0], self.side)[0]][steps]
        out = np.empty((*shape, *self.shape[self.dims :]), self.dtype)
        for place, raw in self.raws(places):
            inside, target = _overlap(spans, place, self.side)
            out[target] = self._cells(place, raw, guard)[inside]
        return out[steps]

    def _cells(self, place: Index, raw: Raw | None, guard: Guard | None) -> NDArray[Any]:
        counts = guard is None or guard(place, raw)
        if raw is None or not counts:
            return np.full(self._chunk_shape, self.fill, self.dtype)
        return raw.content.view(self.dtype).reshape(self._chunk_shape)

    def key(self, place: Index) -> str:
        """A chunk's name on the store."""
        return f"{self.name}/{chunk_key(place, len(self.shape))}"

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
        content = await self.store.get(self.key(place), default_buffer_prototype())
        return None if content is None else Raw(content.as_numpy_array().view(np.uint8))

    def write(self, place: Index, cells: NDArray[Any]) -> U8 | None:
        """Replace a chunk by the cells of its block; its bytes as stored.

        None, and nothing is stored, where all cells are missing.
        """
        chunk = np.full(self._chunk_shape, self.fill, self.dtype)
        chunk[tuple(map(slice, cells.shape))] = cells
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


def chunk_key(place: Index, ndim: int) -> str:
    """Where a chunk lies below its array of ``ndim`` dimensions, the last of which are whole."""
    return "/".join(["c", *map(str, place), *["0"] * (ndim - len(place))])


def _chunks_of(span: tuple[int, int, int], side: int) -> range:
    return range(span[0] // side, (span[1] - 1) // side + 1)


def _overlap(
    spans: list[tuple[int, int, int]], place: Index, side: int
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """What spans have of a chunk: where it is in the chunk, and where in the spans."""
    ends = [
        (max(start, i * side), min(stop, (i + 1) * side))
        for (start, stop, _), i in zip(spans, place, strict=True)
    ]
    inside = tuple(slice(a - i * side, b - i * side) for (a, b), i in zip(ends, place, strict=True))
    target = (slice(a - span[0], b - span[0]) for (a, b), span in zip(ends, spans, strict=True))
    return inside, tuple(target)
