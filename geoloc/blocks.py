"""The unit of building: read a block's imagery, encode it, write it; samples of
blocks, and the account of them all.

Works are sent to whatever process runs them, once; then only blocks are.
"""

from __future__ import annotations

import functools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .cube import BlockWriter, ItemRecord, Provenance, Quantizer, Status, cells_inside
from .errors import CubeError
from .grid import Block, Grid
from .imagery import Source

if TYPE_CHECKING:
    from shapely import Geometry

_LOADING = threading.Lock()
_MOST_PARKED = 16  # blocks whose features wait on disk, 24 MB each, until the code is chosen
_MOST_SAMPLED = 64
_MOST_ERRORS = 100  # different messages that a report keeps


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
class Pixels:
    """A block's imagery; ``pixels`` is None where there is none at all."""

    window: Grid
    pixels: NDArray[np.uint8] | None
    valid: NDArray[np.bool_] | None
    provenance: Provenance
    seconds: float


@dataclass(frozen=True)
class Encoded:
    """A block's features, float32 ``(y, x, feature)``, NaN where missing or outside."""

    features: NDArray[np.float32]
    provenance: Provenance
    seconds: dict[str, float]


@dataclass(frozen=True)
class BlockResult:
    """What the client learns of a written block."""

    status: Status
    cells: int
    provenance: Provenance
    seconds: dict[str, float]


@dataclass(frozen=True)
class EncodeWork:
    """Cells of a block -> features. Sent to workers; the encoder is opened once in each."""

    grid: Grid
    source: Source
    open_encoder: Callable[[], Encoder]
    polygon: Geometry | None

    @property
    def encoder(self) -> Encoder:
        with _LOADING:  # threads that read ahead ask for it at the same time
            return self._encoder

    @functools.cached_property
    def _encoder(self) -> Encoder:
        return self.open_encoder()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_encoder"}

    def read(self, block: Block) -> Pixels:
        """The imagery under a block, margin included."""
        start = time.perf_counter()
        window = self.encoder.window(self.grid.window(*block.slices))
        provenance = Provenance(fingerprint=self.source.fingerprint(window))
        if not self.source.covers(window):
            return Pixels(window, None, None, provenance, time.perf_counter() - start)
        image = self.source.read(window)
        items = tuple(
            ItemRecord(id=i.id, href=i.href, date=i.datetime.isoformat() if i.datetime else None)
            for i in image.attrs["items"]
        )
        provenance = provenance.model_copy(update={"items": items, "errors": image.attrs["errors"]})
        valid = image.coords["valid"].values
        return Pixels(window, image.values, valid, provenance, time.perf_counter() - start)

    def finish(self, block: Block, read: Pixels) -> Encoded:
        """Encode what was read; cells outside of the polygon become missing."""
        start = time.perf_counter()
        cells = self.grid.window(*block.slices)
        if read.pixels is None or read.valid is None or not read.valid.any():
            features = np.full((*block.shape, self.encoder.dim), np.nan, np.float32)
        else:
            features = self.encoder.encode(read.pixels, read.valid, read.window, cells)
        inside = cells_inside(self.grid, block, self.polygon)
        lacking = ~np.isfinite(features).all(axis=-1)
        if inside is not None:
            features[~inside] = np.nan
            lacking &= inside
        provenance = read.provenance.model_copy(update={"missing": int(lacking.sum())})
        seconds = {"read": read.seconds, "encode": time.perf_counter() - start}
        return Encoded(features, provenance, seconds)


@dataclass(frozen=True)
class BuildWork:
    """Cells of a block -> written block."""

    encode: EncodeWork
    url: str
    generation: str

    @functools.cached_property
    def writer(self) -> BlockWriter:
        return BlockWriter(self.url, self.generation)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "writer"}

    def read(self, block: Block) -> Pixels:
        """The imagery under a block."""
        return self.encode.read(block)

    def finish(self, block: Block, read: Pixels) -> BlockResult:
        """Encode and write it."""
        return self.store(block, self.encode.finish(block, read))

    def store(self, block: Block, encoded: Encoded) -> BlockResult:
        """Write an encoded block and its provenance; the ledger is the client's to write."""
        start = time.perf_counter()
        written = self.writer.write(block, encoded.features)
        provenance = encoded.provenance.model_copy(update={"saturated": written.saturated})
        self.writer.record(block, provenance)
        status = Status.BROKEN if provenance.errors else Status.DONE
        seconds = {**encoded.seconds, "write": time.perf_counter() - start}
        return BlockResult(status, written.cells, provenance, seconds)


def sample_size(blocks: int) -> int:
    """How many of an area's blocks the code is chosen from: a quarter, at most 16 to 64."""
    return max(min(-(-blocks // 4), _MOST_PARKED), min(blocks // 40, _MOST_SAMPLED))


class Sample:
    """Encoded blocks drawn at random, from whose values the cube's int8 code is chosen.

    Their features wait on disk until it is, and then are stored like any others: nothing is
    computed twice, but for what a very large area samples beyond the first few blocks.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._low: NDArray[np.float32] | None = None
        self._high: NDArray[np.float32] | None = None
        self._parked: dict[Block, Encoded] = {}

    def __contains__(self, block: Block) -> bool:
        return block in self._parked

    def add(self, block: Block, encoded: Encoded) -> bool:
        """Take a block into the sample; False where it holds no cell with a vector."""
        cells = encoded.features[np.isfinite(encoded.features).all(axis=-1)]
        if not len(cells):
            return False
        low, high = cells.min(axis=0), cells.max(axis=0)
        self._low = low if self._low is None else np.minimum(low, self._low)
        self._high = high if self._high is None else np.maximum(high, self._high)
        if len(self._parked) < _MOST_PARKED:
            np.save(self._file(block), encoded.features)
            self._parked[block] = replace(encoded, features=np.empty((0, 0, 0), np.float32))
        return True

    def quantizer(self) -> Quantizer:
        """The code that fits the values seen."""
        assert self._low is not None
        assert self._high is not None
        return Quantizer.fit(self._low, self._high)

    def parked(self) -> Iterator[tuple[Block, Encoded]]:
        """The blocks whose features wait, one at a time."""
        for block, encoded in self._parked.items():
            yield block, replace(encoded, features=np.load(self._file(block)))

    def _file(self, block: Block) -> Path:
        return self.folder / f"{block.row}-{block.col}.npy"


@dataclass
class BuildReport:
    """What a run did. ``cells_encoded`` and ``missing_cells`` count this run's blocks alone.

    ``seconds`` is elapsed time; ``stage_seconds`` adds up over the workers.
    """

    url: str
    generation: str
    cluster: str = ""
    cells: int = 0
    cells_encoded: int = 0
    missing_cells: int = 0
    saturated_values: int = 0
    blocks_done: int = 0
    blocks_reused: int = 0
    blocks_broken: int = 0
    blocks_failed: int = 0
    blocks_outside: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    """Messages, and in how many blocks each came up."""
    stage_seconds: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def cells_per_second(self) -> float:
        return self.cells_encoded / self.seconds if self.seconds else 0.0

    def add(self, result: BlockResult) -> None:
        """Count a block that was written."""
        broken = result.status == Status.BROKEN
        self.blocks_broken += broken
        self.blocks_done += not broken
        self.cells_encoded += result.cells
        self.missing_cells += result.provenance.missing
        self.saturated_values += result.provenance.saturated
        self.stage_seconds = dict(Counter(self.stage_seconds) + Counter(result.seconds))
        for error in result.provenance.errors:
            self._note(error)

    def fail(self, error: str) -> None:
        """Count a block that could not be made."""
        self.blocks_failed += 1
        self._note(error)

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return {**asdict(self), "cells_per_second": self.cells_per_second}

    def summary(self) -> str:
        """For people, a few lines."""
        lines = [
            f"{self.url} {self.generation}: {self.blocks_done} blocks built, "
            f"{self.blocks_reused} already there, {self.blocks_broken + self.blocks_failed} "
            f"incomplete, {self.blocks_outside} outside; {self.cells_encoded:,} cells in "
            f"{self.seconds:.1f} s ({self.cells_per_second:,.0f} cells/s, {self.cluster})"
        ]
        if self.missing_cells or self.saturated_values:
            lines.append(
                f"{self.missing_cells:,} cells without imagery, "
                f"{self.saturated_values:,} values beyond the code's range"
            )
        lines += [f"{error} ({n} blocks)" for error, n in self.errors.items()]
        return "\n".join(lines)

    def raise_if_incomplete(self) -> None:
        """Raise CubeError where blocks failed or lack imagery that could not be read."""
        short = self.blocks_failed + self.blocks_broken
        if short:
            raise CubeError(
                f"{short} of {short + self.blocks_done + self.blocks_reused} blocks are "
                f"incomplete ({next(iter(self.errors), 'unknown error')}): mend the cause and "
                "run the same command again; only these are computed"
            )

    def _note(self, error: str) -> None:
        if error in self.errors or len(self.errors) < _MOST_ERRORS:
            self.errors[error] = self.errors.get(error, 0) + 1
