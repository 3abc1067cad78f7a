"""The int8 code of a cube whose model brings none, from small windows of the area's imagery.

They are drawn at random and go the way of blocks, before the first block is written; of each
the range of its features is kept, and nothing else. The same area and the same imagery give the
same code, so that a build that was killed before its code was stored goes on to the same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..arrays import F32, U8
from ..domain import Chunk, Domain, Points, Status
from ..errors import ImageryError
from ..executors import Executor
from ..models import Quantizer
from .tasks import EncodeTask, Pixels

if TYPE_CHECKING:
    from shapely import Geometry

WINDOWS = 64
"""Windows with imagery that a code is chosen from, where the area has as many."""

SIDE = 4
"""Cells along a side of a window: most of what it costs is its margin."""

_MOST = 1024  # windows that are read for it, where most of them hold no imagery
_TOGETHER = 64  # points that are looked at together
_FEW = WINDOWS // 4  # with fewer, whole blocks are looked at: imagery may be in few places
_HOPELESS = 16  # windows that fail before any is encoded
_SEED = 0


@dataclass(frozen=True)
class Span:
    """Smallest and largest value ``(feature,)`` in a chunk; None where no cell has a vector.

    ``error``: what of its imagery could not be read, empty for nothing.
    """

    low: F32 | None
    high: F32 | None
    error: str


@dataclass(frozen=True)
class SpanTask:
    """Cells of a chunk -> the span of their features."""

    encode: EncodeTask

    def read(self, chunk: Chunk) -> Pixels:
        """The imagery under the chunk."""
        return self.encode.read(chunk)

    def finish(self, chunk: Chunk, read: Pixels) -> Span:
        """Encode it, and keep the span alone."""
        features = self.encode.finish(chunk, read).features
        cells = features[np.isfinite(features).all(axis=-1)]
        error = next(iter(read.provenance.errors), "")
        if not len(cells):
            return Span(None, None, error)
        return Span(cells.min(axis=0), cells.max(axis=0), error)


@dataclass
class _Seen:
    """What the windows so far have shown."""

    spans: list[Span] = field(default_factory=list)
    failed: int = 0
    error: str = ""

    def add(self, span: Span | None, error: str) -> None:
        self.failed += span is None
        self.error = self.error or error or (span.error if span else "")
        if span is not None and span.low is not None:
            self.spans.append(span)

    @property
    def hopeless(self) -> bool:
        return not self.spans and self.failed >= _HOPELESS


def calibrate(
    task: EncodeTask, status: U8, executor: Executor, order: NDArray[np.integer[Any]] | None = None
) -> Quantizer | str:
    """The code for an area whose ledger ``status`` is new, or why nothing could be encoded.

    ``order`` ``(point,)``: which of their sequence points are; the first of it are looked at then,
    so that the code is the same however many of a sequence are built at first.
    Raises ImageryError where no cell of the area has imagery.
    """
    blocks, seen = np.argwhere(status == Status.MISSING), _Seen()
    if order is None:
        passes = _passes(task, blocks)
    else:
        task, passes = _firsts(task, order)
    for chunks, enough in passes:
        while (
            len(seen.spans) < enough
            and not seen.hopeless
            and (some := list(islice(chunks, enough)))
        ):
            _look(SpanTask(task), some, executor, seen)
        if seen.error:
            break
    if seen.spans:
        lows, highs = zip(*((span.low, span.high) for span in seen.spans), strict=True)
        return Quantizer.fit(np.min(lows, axis=0), np.max(highs, axis=0))
    if seen.error:
        return seen.error
    raise ImageryError("no cell of the area has enough imagery under it to be encoded")


def _passes(task: EncodeTask, blocks: NDArray[np.intp]) -> Iterator[tuple[Iterator[Chunk], int]]:
    """Chunks to look at, and how many with imagery are enough; the next where there are fewer."""
    windows: Iterator[Chunk] = draw_windows(task.domain, blocks, task.polygon)
    order = np.random.default_rng(_SEED).permutation(blocks)
    whole: Iterator[Chunk] = (task.domain.chunk(*index) for index in order.tolist())
    if len(blocks) <= WINDOWS:  # a small area: with their margins windows may cost more than it
        some, all_of_it = list(islice(windows, WINDOWS)), list(whole)
        if _cost(task, all_of_it) <= _cost(task, some):
            yield iter(all_of_it), len(blocks)
            return
        windows, whole = chain(some, windows), iter(all_of_it)
    yield windows, WINDOWS
    yield whole, _FEW


def _firsts(
    task: EncodeTask, order: NDArray[np.integer[Any]]
) -> tuple[EncodeTask, Iterator[tuple[Iterator[Chunk], int]]]:
    """The same for the first points of a sequence alone, and their chunks."""
    first = np.argsort(order, kind="stable")[:_MOST]
    points = Points(task.domain.crs, task.domain.centres(first))
    passes = [(points.chunks(size=_TOGETHER), WINDOWS * SIDE // _TOGETHER)]
    return replace(task, domain=points), iter(passes)


def _cost(task: EncodeTask, chunks: list[Chunk]) -> int:
    """What encoding takes: cell by cell where patches are encoded alone, else pixel by pixel."""
    if task.encoder().describe().get("method") == "patch":
        return sum(math.prod(chunk.shape) for chunk in chunks)
    return sum(window.size for chunk in chunks for window in task.windows(chunk))


def _look(work: SpanTask, chunks: list[Chunk], executor: Executor, seen: _Seen) -> None:
    with closing(executor.stream(work, chunks)) as outcomes:
        for outcome in outcomes:
            seen.add(outcome.result, outcome.error)
            if seen.hopeless:
                return


def draw_windows(
    domain: Domain, blocks: NDArray[np.intp], polygon: Geometry | None
) -> Iterator[Chunk]:
    """Different windows in these blocks ``(n, dimension)`` with a cell inside of the polygon.

    Always the same ones, `_MOST` at most.
    """
    rng, drawn = np.random.default_rng(_SEED), set[Chunk]()
    for _ in range(4 * _MOST if len(blocks) else 0):
        block = domain.chunk(*blocks[rng.integers(len(blocks))].tolist())
        cell = rng.integers(block.start, block.stop)
        window = domain.chunk(*(cell // SIDE).tolist(), size=SIDE)
        inside = window.inside(polygon)
        if window in drawn or (inside is not None and not inside.any()):
            continue
        drawn.add(window)
        yield window
        if len(drawn) == _MOST:
            return
