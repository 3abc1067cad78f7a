"""The unit of building: read a block's imagery, encode it, write it; and samples of blocks.

Works are sent to whatever process runs them, once; then only blocks are.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..cube import (
    BlockWriter,
    ItemRecord,
    Parked,
    Parking,
    Provenance,
    Status,
)
from ..domain import Chunk, Grid
from ..errors import ImageryError
from ..executors import Once
from ..imagery import Source
from ..models import Quantizer
from .overview import Seen, part_of, shrunk

if TYPE_CHECKING:
    from shapely import Geometry

_MOST_PARKED = 16  # blocks whose features wait until the code is chosen, 24 MB each
_MOST_SAMPLED = 64


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
class Spent:
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

    def and_then(self, stage: str, seconds: float, size: int) -> Spent:
        """With one more stage."""
        return Spent({**self.seconds, stage: seconds}, {**self.bytes, stage: size})


class _Meter:
    """What the calling thread spends on reading, from when this is made."""

    def __init__(self) -> None:
        self._wall, self._own = time.perf_counter(), time.thread_time()

    def spent(self, taken: int | None, pixels: int) -> Spent:
        own = time.thread_time() - self._own
        waited = max(time.perf_counter() - self._wall - own, 0.0)
        return Spent({"read": waited, "decode": own}, {"read": taken, "decode": pixels})


@dataclass(frozen=True)
class Pixels:
    """A block's imagery; ``pixels`` is None where there is none at all.

    ``picture``: the same on the lattice of the area's overview.
    """

    window: Grid
    pixels: NDArray[np.uint8] | None
    valid: NDArray[np.bool_] | None
    provenance: Provenance
    spent: Spent
    picture: Seen | None = None


@dataclass(frozen=True)
class Encoded:
    """A block's features, float32 ``(y, x, feature)``, NaN where missing or outside."""

    features: NDArray[np.float32]
    provenance: Provenance
    spent: Spent
    picture: Seen | None = None

    def result(self) -> BlockResult:
        """What there is to tell of it before it is written."""
        cells = int(np.isfinite(self.features).all(axis=-1).sum())
        return BlockResult(_status(self.provenance), cells, self.provenance, self.spent)


@dataclass(frozen=True)
class BlockResult:
    """What the client learns of a block, ``cells`` being those with a vector.

    ``picture``: the block on the lattice of the area's overview, None without imagery.
    ``checks``: of what was written of it, None where nothing was.
    """

    status: Status
    cells: int
    provenance: Provenance
    spent: Spent
    picture: Seen | None = None
    checks: tuple[int, ...] | None = None


def _status(provenance: Provenance) -> Status:
    return Status.BROKEN if provenance.errors else Status.DONE


@dataclass(frozen=True)
class EncodeWork:
    """Cells of a block -> features.

    ``overview``: the lattice of the area's overview; None where none is made.
    """

    grid: Grid
    source: Source
    encoder: Once[Encoder]
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
        items = tuple(
            ItemRecord(
                id=i.id,
                href=i.href,
                date=i.datetime.isoformat() if i.datetime else None,
                version=i.version,
            )
            for i in image.attrs["items"]
        )
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
class BuildWork:
    """Cells of a block -> written block."""

    encode: EncodeWork
    writer: Once[BlockWriter]

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
        return BlockResult(
            _status(provenance), written.cells, provenance, spent, encoded.picture, checks
        )


def sample_size(blocks: int) -> int:
    """How many of an area's blocks the code is chosen from: a quarter, at most 16 to 64."""
    return max(min(-(-blocks // 4), _MOST_PARKED), min(blocks // 40, _MOST_SAMPLED))


class Sample:
    """Encoded blocks drawn at random, from whose values the cube's int8 code is chosen.

    Their features wait in the cube's own place until it is, and then are stored like any others:
    nothing is computed twice, not by a run that goes on where another was killed either, but for
    what a very large area samples beyond the first few blocks: of these the range alone is kept.
    """

    def __init__(self, parking: Parking) -> None:
        self._parking = parking
        self._low: NDArray[np.float32] | None = None
        self._high: NDArray[np.float32] | None = None
        self._waiting: dict[Chunk, Spent] = {}
        self._recalled: set[Chunk] = set()

    def __contains__(self, block: Chunk) -> bool:
        """Whether its features wait, or did."""
        return block in self._waiting

    @property
    def left(self) -> set[tuple[int, int]]:
        """Rows and columns of blocks of which an earlier run left something."""
        return self._parking.places

    def recall(self, block: Chunk, work: EncodeWork) -> Provenance | None:
        """Take up a block that an earlier run left; None where it is to be computed again.

        So it is where it is damaged, lacks imagery that could not be read, or has other imagery
        today.
        """
        there = self._parking.get(block)
        if there is None or there.provenance.errors or not _is_of_today(there, block, work):
            return None
        self._reach(there.low, there.high)
        if there.features is not None:
            self._waiting[block] = Spent({}, {})
            self._recalled.add(block)
        return there.provenance

    def add(self, block: Chunk, encoded: Encoded) -> bool:
        """Take a block into the sample; False where it holds no cell with a vector.

        Raises CubeError where it cannot be kept.
        """
        cells = encoded.features[np.isfinite(encoded.features).all(axis=-1)]
        if not len(cells):
            return False
        low, high = cells.min(axis=0), cells.max(axis=0)
        kept = len(self._waiting) < _MOST_PARKED
        features = encoded.features if kept else None
        self._parking.put(block, Parked(encoded.provenance, low, high, features))
        self._reach(low, high)
        if kept:
            self._waiting[block] = encoded.spent
        return True

    def quantizer(self) -> Quantizer:
        """The code that fits the values seen."""
        assert self._low is not None
        assert self._high is not None
        return Quantizer.fit(self._low, self._high)

    def parked(self) -> Iterator[tuple[Chunk, Encoded]]:
        """The blocks whose features wait, one at a time."""
        for block, spent in list(self._waiting.items()):
            there = self._parking.get(block)
            if there is None or there.features is None:
                del self._waiting[block]  # spoilt meanwhile: computed again like any other
            else:
                yield block, Encoded(there.features, there.provenance, spent)

    def is_recalled(self, block: Chunk) -> bool:
        """Whether an earlier run encoded it."""
        return block in self._recalled

    def drop(self, block: Chunk) -> None:
        """Give back the room of a block that is stored."""
        self._parking.drop(block)

    def clear(self) -> None:
        """Give back all room."""
        self._parking.clear()

    def _reach(self, low: NDArray[np.float32], high: NDArray[np.float32]) -> None:
        self._low = low if self._low is None else np.minimum(low, self._low)
        self._high = high if self._high is None else np.maximum(high, self._high)


def _is_of_today(there: Parked, block: Chunk, work: EncodeWork) -> bool:
    try:
        return work.fingerprint(block) == there.provenance.fingerprint
    except ImageryError:  # told where it is computed again
        return False
