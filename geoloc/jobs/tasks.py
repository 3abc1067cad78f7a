"""The unit of building: read a block's imagery, encode it, write it.

A task is sent to whatever process runs it, once; then only blocks are.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from concurrent.futures import CancelledError
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ..arrays import F32, U8, Bools
from ..cube import (
    BlockWriter,
    ItemRecord,
    Provenance,
    Status,
)
from ..domain import Chunk, Domain, Grid
from ..encoders.windows import Image, encode_chunk, windows
from ..errors import ImageryError
from ..executors import Lazy, still_wanted
from ..imagery import Source
from ..imagery.refusals import is_refusal
from ..imagery.sharing import sharing_reads
from .overview import Seen, part_of, shrunk

if TYPE_CHECKING:
    from shapely import Geometry


_GIVE_UP = 16  # windows of one block that fail one after the other: nobody answers
_MOST_LINES = 20  # different errors and notes that are kept of a block


class Encoder(Protocol):
    """What building needs of an overhead encoder."""

    @property
    def dim(self) -> int: ...

    def window(self, cells: Grid, /) -> Grid: ...

    def encode(
        self,
        pixels: U8,
        valid: Bools,
        window: Grid,
        cells: Grid,
    ) -> F32: ...

    def describe(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class StageStats:
    """Seconds and bytes by stage.

    ``read``: waiting for disk or network, and the bytes of imagery taken from there as the
    source counts them (``read_bytes`` of ``Source.read``): of web tiles those of their bodies,
    from the server or out of the cache; of a tiled copy all that was read of its store; of
    local files what Linux says. None where it is not known: files that GDAL fetches from a
    server, or reads with threads of its own. ``decode``: the reading thread's own processor
    time, and bytes of pixels; ``encode``: bytes of features; ``write``: bytes of codes and norms.
    """

    seconds: dict[str, float]
    bytes: dict[str, int | None]

    def and_then(self, stage: str, seconds: float, size: int) -> StageStats:
        """With one more stage."""
        return StageStats({**self.seconds, stage: seconds}, {**self.bytes, stage: size})


class _Meter:
    """What the calling thread spends on reading, from when this is made."""

    def __init__(self) -> None:
        self._wall, self._own = time.perf_counter(), time.thread_time()

    def spent(self, size: int | None, pixels: int) -> StageStats:
        own = time.thread_time() - self._own
        waited = max(time.perf_counter() - self._wall - own, 0.0)
        return StageStats({"read": waited, "decode": own}, {"read": size, "decode": pixels})


@dataclass(frozen=True)
class Pixels:
    """A block's imagery, one image for each of its windows.

    ``picture``: the same on the lattice of the area's overview.
    """

    images: tuple[Image, ...]
    provenance: Provenance
    spent: StageStats
    picture: Seen | None = None


@dataclass(frozen=True)
class Encoded:
    """A block's features, float32 ``(*cells, feature)``, NaN where missing or outside."""

    features: F32
    provenance: Provenance
    spent: StageStats
    picture: Seen | None = None


@dataclass(frozen=True)
class BlockResult:
    """What the client learns of a written block, ``cells`` being those with a vector.

    ``picture``: the block on the lattice of the area's overview, None without imagery.
    ``checks``: checksums of what was written of it.
    """

    cells: int
    provenance: Provenance
    spent: StageStats
    picture: Seen | None
    checks: tuple[int, ...]

    @property
    def status(self) -> Status:
        """What the ledger should say of the block."""
        return Status.BROKEN if self.provenance.errors else Status.DONE


@dataclass(frozen=True)
class EncodeTask:
    """Cells of a block -> features.

    ``overview``: the lattice of the area's overview; None where none is made.
    """

    domain: Domain
    source: Source
    encoder: Lazy[Encoder]
    polygon: Geometry | None
    overview: Grid | None = None

    def windows(self, block: Chunk) -> Sequence[Grid]:
        """The pixels that a block needs, margin included."""
        return windows(self.encoder(), self.domain, block)

    def fingerprint(self, block: Chunk) -> str:
        """Of the imagery that the block would be made from now; sha256 in hex."""
        return self._fingerprint(self.windows(block))

    def read(self, block: Chunk) -> Pixels:
        """The imagery under a block, margin included.

        A window that cannot be read is an error of the block, as pixels are that cannot; raises
        ImageryError where that holds for all of its windows.
        """
        wanted, meter = self.windows(block), _Meter()
        provenance = Provenance(fingerprint=self._fingerprint(wanted))
        with ExitStack() as stack:
            if len(wanted) > 1:
                stack.enter_context(sharing_reads())
            parts = _read_each(self.source, wanted)
        items = dict.fromkeys(record for one in parts for record in one.items)
        facts = {
            name: tuple(dict.fromkeys(line for one in parts for line in getattr(one, name)))
            for name in ("errors", "notes")
        }
        if len(parts) > 1:
            facts = {name: lines[:_MOST_LINES] for name, lines in facts.items()}
        if items or any(facts.values()):
            provenance = provenance.model_copy(update={"items": tuple(items), **facts})
        images = tuple(one.image for one in parts)
        sizes = [one.size for one in parts]
        amount = None if None in sizes else sum(size or 0 for size in sizes)
        spent = meter.spent(amount, sum(i.pixels.nbytes for i in images if i.pixels is not None))
        return Pixels(images, provenance, spent, self._picture(block, images[0]))

    def _fingerprint(self, wanted: Sequence[Grid]) -> str:
        if len(wanted) == 1:
            return self.source.fingerprint(wanted[0])
        digest = hashlib.sha256()
        for window in wanted:
            digest.update(bytes.fromhex(self.source.fingerprint(window)))
        return digest.hexdigest()

    def _picture(self, block: Chunk, image: Image) -> Seen | None:
        """The block on the overview's lattice."""
        if self.overview is None or image.pixels is None or image.valid is None or image.is_empty:
            return None
        assert isinstance(self.domain, Grid)
        part = part_of(self.overview, self.domain, block)
        return shrunk(image.pixels, image.valid, image.window, self.overview.window(*part))

    def finish(self, block: Chunk, read: Pixels) -> Encoded:
        """Encode what was read; cells outside of the polygon become missing."""
        start = time.perf_counter()
        if all(image.is_empty for image in read.images):
            features = np.full((*block.shape, self.encoder().dim), np.nan, np.float32)
        else:
            flat = encode_chunk(self.encoder(), read.images, self.domain, block)
            features = flat.reshape(*block.shape, -1)
        inside = block.inside(self.polygon)
        lacking = ~np.isfinite(features).all(axis=-1)
        if inside is not None:
            features[~inside] = np.nan
            lacking &= inside
        provenance = read.provenance.model_copy(update={"missing": int(lacking.sum())})
        spent = read.spent.and_then("encode", time.perf_counter() - start, features.nbytes)
        return Encoded(features, provenance, spent, read.picture)


@dataclass(frozen=True)
class _Found:
    """What reading a window gave; ``size``: bytes taken, None where not known."""

    image: Image
    items: tuple[ItemRecord, ...] = ()
    errors: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    size: int | None = 0


def _read_each(source: Source, wanted: Sequence[Grid]) -> list[_Found]:
    """All windows, in their order. Raises ImageryError where the imagery as a whole fails."""
    parts: list[_Found] = []
    failed = 0  # one after the other
    for window in wanted:
        if not still_wanted():  # hundreds of windows of slow tiles take minutes
            raise CancelledError
        try:
            parts.append(_read(source, window))
            failed = 0
        except ImageryError as error:
            failed += 1
            if failed in (len(wanted), _GIVE_UP) or is_refusal(str(error)):
                raise
            parts.append(_Found(Image(window), errors=(str(error),)))
    return parts


def _read(source: Source, window: Grid) -> _Found:
    if not source.covers(window):
        return _Found(Image(window))
    image = source.read(window)
    attrs, valid = image.attrs, image.coords["valid"].values
    items = tuple(ItemRecord.model_validate(i.record) for i in attrs["items"])
    return _Found(
        Image(window, image.values, valid),
        items,
        tuple(attrs["errors"]),
        tuple(attrs.get("notes", ())),
        attrs["read_bytes"],
    )


@dataclass(frozen=True)
class BuildTask:
    """Cells of a block -> written block."""

    encode: EncodeTask
    writer: Lazy[BlockWriter]

    def read(self, block: Chunk) -> Pixels:
        """The imagery under a block."""
        return self.encode.read(block)

    def finish(self, block: Chunk, read: Pixels) -> BlockResult:
        """Encode and write it."""
        return self.store(block, self.encode.finish(block, read))

    def store(self, block: Chunk, encoded: Encoded) -> BlockResult:
        """Write an encoded block and its provenance; the ledger is the client's to write."""
        start = time.perf_counter()
        written = self.writer().write(block, encoded.features)
        provenance = encoded.provenance.model_copy(
            update={"saturated": written.saturated, "digests": written.digests}
        )
        checks = (*written.checks, self.writer().record(block, provenance))
        size = encoded.features.size + 4 * encoded.features[..., 0].size
        spent = encoded.spent.and_then("write", time.perf_counter() - start, size)
        return BlockResult(written.cells, provenance, spent, encoded.picture, checks)
