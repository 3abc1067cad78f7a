"""The unit of building: read a block's imagery, encode it, write it.

A task is sent to whatever process runs it, once; then only blocks are.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..cube import (
    BlockWriter,
    ItemRecord,
    Provenance,
    Status,
)
from ..domain import Chunk, Grid
from ..executors import Lazy
from ..imagery import Source
from .overview import Seen, part_of, shrunk

if TYPE_CHECKING:
    from shapely import Geometry


class Encoder(Protocol):
    """What building needs of an overhead encoder."""

    @property
    def dim(self) -> int: ...

    def window(self, cells: Grid, /) -> Grid: ...

    def encode(
        self,
        pixels: NDArray[np.uint8],
        valid: NDArray[np.bool_],
        window: Grid,
        cells: Grid,
    ) -> NDArray[np.float32]: ...

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

    def spent(self, taken: int | None, pixels: int) -> StageStats:
        own = time.thread_time() - self._own
        waited = max(time.perf_counter() - self._wall - own, 0.0)
        return StageStats({"read": waited, "decode": own}, {"read": taken, "decode": pixels})


@dataclass(frozen=True)
class Pixels:
    """A block's imagery; ``pixels`` is None where there is none at all.

    ``picture``: the same on the lattice of the area's overview.
    """

    window: Grid
    pixels: NDArray[np.uint8] | None
    valid: NDArray[np.bool_] | None
    provenance: Provenance
    spent: StageStats
    picture: Seen | None = None


@dataclass(frozen=True)
class Encoded:
    """A block's features, float32 ``(y, x, feature)``, NaN where missing or outside."""

    features: NDArray[np.float32]
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

    grid: Grid
    source: Source
    encoder: Lazy[Encoder]
    polygon: Geometry | None
    overview: Grid | None = None

    def window(self, block: Chunk) -> Grid:
        """The pixels that a block needs, margin included."""
        return self.encoder().window(self.grid.window(*block.slices))

    def fingerprint(self, block: Chunk) -> str:
        """Of the imagery that the block would be made from now; sha256 in hex."""
        return self.source.fingerprint(self.window(block))

    def read(self, block: Chunk) -> Pixels:
        """The imagery under a block, margin included."""
        window, meter = self.window(block), _Meter()
        provenance = Provenance(fingerprint=self.source.fingerprint(window))
        if not self.source.covers(window):
            return Pixels(window, None, None, provenance, meter.spent(0, 0))
        image = self.source.read(window)
        items = tuple(ItemRecord.model_validate(i.record) for i in image.attrs["items"])
        facts = {"errors": image.attrs["errors"], "notes": image.attrs.get("notes", ())}
        provenance = provenance.model_copy(update={"items": items, **facts})
        valid = image.coords["valid"].values
        spent = meter.spent(image.attrs["read_bytes"], image.nbytes)
        picture = self._picture(block, image.values, valid, window)
        return Pixels(window, image.values, valid, provenance, spent, picture)

    def _picture(
        self, block: Chunk, pixels: NDArray[np.uint8], valid: NDArray[np.bool_], window: Grid
    ) -> Seen | None:
        """The block on the overview's lattice."""
        if self.overview is None or not valid.any():
            return None
        part = part_of(self.overview, self.grid, block)
        return shrunk(pixels, valid, window, self.overview.window(*part))

    def finish(self, block: Chunk, read: Pixels) -> Encoded:
        """Encode what was read; cells outside of the polygon become missing."""
        start = time.perf_counter()
        cells = self.grid.window(*block.slices)
        if read.pixels is None or read.valid is None or not read.valid.any():
            features = np.full((*block.shape, self.encoder().dim), np.nan, np.float32)
        else:
            features = self.encoder().encode(read.pixels, read.valid, read.window, cells)
        inside = block.inside(self.polygon)
        lacking = ~np.isfinite(features).all(axis=-1)
        if inside is not None:
            features[~inside] = np.nan
            lacking &= inside
        provenance = read.provenance.model_copy(update={"missing": int(lacking.sum())})
        spent = read.spent.and_then("encode", time.perf_counter() - start, features.nbytes)
        return Encoded(features, provenance, spent, read.picture)


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
