"""The streaming pass over a cube: blocks are read ahead while others are measured."""

from __future__ import annotations

import os
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from ..errors import SpecMismatchError
from ..grid import Block, Grid
from ..scenes import find_class
from .kernels import Codes
from .measures import Measure, Surprise, distance_measure
from .ruler import F32, Query, Ruler
from .within import WGS84, Within

BLOCK = 256  # cells along a side: smaller reads are dominated by the store's cost per request
MEMORY = 2 << 30  # bytes of heatmaps beyond which they are kept in a file


class Searchable(Protocol):
    """What search needs of a cube; `geoloc.cube.Cube` has it."""

    classes: tuple[str, ...]
    scale: F32
    offset: F32
    metric: F32 | None
    weights: F32 | None

    @property
    def grid(self) -> Grid: ...

    def read(self, rows: slice, cols: slice) -> Codes:
        """int8 ``(y, x, feature)``, -128 where missing."""
        ...

    def read_norm(self, rows: slice, cols: slice) -> F32 | None:
        """float32 ``(y, x)``: `geoloc.cube.squared_norm` of the decoded cells, or None."""
        ...


Piece = tuple[Block, F32]
"""A block of cells and its values, float32 ``(map, y, x)``, NaN where missing or outside."""


def scan(
    cube: Searchable,
    query: Query,
    *,
    within: BaseGeometry | None = None,
    within_crs: str = WGS84,
    threads: int | None = None,
) -> Iterator[Piece]:
    """Distances of every cell to every photo of the query, block by block in row-major order.

    Memory is bounded by a few blocks whatever the size of the cube. Blocks wholly outside the
    polygon are neither read nor yielded. Raises SpecMismatchError where the query's vectors have
    another number of features than the cube; UsageError for weights on a cube with a metric.
    """
    measure = _distances(cube, query)
    return _stream(cube, measure, _mask(cube, within, within_crs), threads)


def scan_scenes(
    cube: Searchable,
    names: Sequence[str],
    *,
    within: BaseGeometry | None = None,
    within_crs: str = WGS84,
    threads: int | None = None,
) -> Iterator[Piece]:
    """`scan` for scene classes by name: ``-log p(scene | cell)``, small where the scene is.

    Raises UnknownClassError with the nearest names.
    """
    wanted = tuple(cube.classes.index(find_class(name, cube.classes)) for name in names)
    measure = Surprise(cube.scale, cube.offset, wanted)
    return _stream(cube, measure, _mask(cube, within, within_crs), threads)


def heatmaps(
    cube: Searchable,
    query: Query,
    within: BaseGeometry | None = None,
    *,
    within_crs: str = WGS84,
    threads: int | None = None,
    scratch: Path | None = None,
    memory: int = MEMORY,
    progress: Callable[[int, int], None] | None = None,
) -> F32:
    """Distances float32 ``(photo, y, x)`` of the whole cube, NaN where missing or outside.

    Larger than ``memory`` bytes they live in an unnamed file in ``scratch`` (default: the
    system's temporary folder). For a country use `scan` with `geoloc.candidates.BestCells`.
    """
    pieces = scan(cube, query, within=within, within_crs=within_crs, threads=threads)
    return _collect(pieces, len(query.vectors), cube.grid, scratch, memory, progress)


def scene_heatmaps(
    cube: Searchable,
    names: Sequence[str],
    within: BaseGeometry | None = None,
    *,
    within_crs: str = WGS84,
    threads: int | None = None,
    scratch: Path | None = None,
    memory: int = MEMORY,
    progress: Callable[[int, int], None] | None = None,
) -> F32:
    """`heatmaps` for scene classes by name ``(scene, y, x)``; see `scan_scenes`."""
    pieces = scan_scenes(cube, names, within=within, within_crs=within_crs, threads=threads)
    return _collect(pieces, len(names), cube.grid, scratch, memory, progress)


def scene_vector(classes: Sequence[str], names: Sequence[str]) -> F32:
    """Logits ``(feature,)`` whose softmax is shared by the named classes alone, for display."""
    vector = np.zeros(len(classes), np.float32)
    vector[[list(classes).index(find_class(name, classes)) for name in names]] = 20
    return vector


def _distances(cube: Searchable, query: Query) -> Measure:
    dim = len(cube.scale)
    if query.vectors.shape[1] != dim:
        raise SpecMismatchError(
            f"the photo has {query.vectors.shape[1]} features and the cube {dim}: "
            "encode the photo with the cube's model"
        )
    ruler = Ruler.of_cube(cube, query.weights)
    norms = query.weights is None and cube.read_norm(slice(0, 1), slice(0, 1)) is not None
    return distance_measure(query, ruler, cube.scale, cube.offset, norms)


def _mask(cube: Searchable, polygon: BaseGeometry | None, crs: str) -> Within | None:
    return None if polygon is None else Within.of(cube.grid, polygon, crs)


def _stream(
    cube: Searchable, measure: Measure, mask: Within | None, threads: int | None
) -> Iterator[Piece]:
    """Pieces in order; as many blocks as threads are in work, one more waits to be taken."""

    def work(block: Block) -> Piece:
        codes = np.ascontiguousarray(cube.read(*block.slices))
        norm = cube.read_norm(*block.slices) if measure.stored else None
        flat = None if norm is None else np.ascontiguousarray(norm, np.float32).reshape(-1)
        values = measure(codes.reshape(-1, codes.shape[-1]), flat).reshape(-1, *block.shape)
        if mask is not None:
            values[:, ~mask.cells(block)] = np.nan
        return block, values

    count = threads or len(os.sched_getaffinity(0))
    pending: deque[Future[Piece]] = deque()
    with ThreadPoolExecutor(count, thread_name_prefix="search") as pool:
        try:
            for block in cube.grid.blocks(BLOCK):
                if mask is None or mask.touches(block):
                    pending.append(pool.submit(work, block))
                if len(pending) > count:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def _collect(
    pieces: Iterator[Piece],
    maps: int,
    grid: Grid,
    scratch: Path | None,
    memory: int,
    progress: Callable[[int, int], None] | None,
) -> F32:
    result = _allocate((maps, *grid.shape), scratch, memory)
    total = int(np.prod(grid.block_shape(BLOCK)))
    for done, (block, values) in enumerate(pieces, start=1):
        result[:, *block.slices] = values
        if progress:
            progress(done, total)
    return result


def _allocate(shape: tuple[int, ...], scratch: Path | None, memory: int) -> F32:
    if 4 * int(np.prod(shape)) <= memory:
        result: NDArray[np.float32] = np.empty(shape, np.float32)
    else:
        with tempfile.TemporaryFile(dir=scratch) as file:
            result = np.memmap(file, np.float32, "w+", shape=shape)
    result.fill(np.nan)
    return result
