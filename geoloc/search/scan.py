"""The streaming pass over a cube: blocks are read ahead while others are measured."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry
from threadpoolctl import threadpool_limits

from ..cube import Cube
from ..domain import Chunk, Grid
from ..errors import CubeError, SpecMismatchError, UsageError
from ..executors import Executor, InlineExecutor, Once
from ..stores import local_path
from .distance import BlockKernel, Query, distance_kernel, scene_kernel
from .kernels import F32
from .mask import WGS84, PolygonMask
from .work import BLOCK, BlockScan, Searchable

MEMORY = 2 << 30  # bytes of heatmaps beyond which they are kept in a file


Piece = tuple[Chunk, F32]
"""A block of cells and its values, float32 ``(map, y, x)``, NaN where missing or outside."""


def scan(
    cube: Searchable,
    query: Query,
    *,
    within: BaseGeometry | None = None,
    within_crs: str = WGS84,
    threads: int | None = None,
    executor: Executor | None = None,
) -> Iterator[Piece]:
    """Distances of every cell to every photo of the query, block by block in row-major order.

    Memory is bounded by a few blocks whatever the size of the cube. Blocks wholly outside the
    polygon are neither read nor yielded. Workers of an ``executor`` take the place of this
    process's threads: the same values, but block by block as they come. Raises SpecMismatchError
    where the query's vectors have another number of features than the cube; UsageError for
    weights on a cube with a metric; of an executor, CubeError that names a block it failed on,
    ClusterError where it is lost.
    """
    kernel = _distances(cube, query)
    return _stream(cube, kernel, _mask(cube, within, within_crs), threads, executor)


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
    kernel = scene_kernel(cube.features, tuple(map(cube.features.index, names)))
    return _stream(cube, kernel, _mask(cube, within, within_crs), threads)


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
    executor: Executor | None = None,
) -> F32:
    """Distances float32 ``(photo, y, x)`` of the whole cube, NaN where missing or outside.

    Larger than ``memory`` bytes they live in an unnamed file in ``scratch`` (default: the
    system's temporary folder). For a country use `scan` with `geoloc.candidates.BestCells`.
    ``executor``: see `scan`.
    """
    pieces = scan(
        cube, query, within=within, within_crs=within_crs, threads=threads, executor=executor
    )
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


def _distances(cube: Searchable, query: Query) -> BlockKernel:
    dim = cube.features.dim
    if query.vectors.shape[1] != dim:
        raise SpecMismatchError(
            f"the photo has {query.vectors.shape[1]} features and the cube {dim}: "
            "encode the photo with the cube's model"
        )
    distance = cube.features.distance(query.weights)
    norms = distance.own and cube.read_norm(slice(0, 1), slice(0, 1)) is not None
    return distance_kernel(query, distance, cube.features.stored_code, norms)


def _mask(cube: Searchable, polygon: BaseGeometry | None, crs: str) -> PolygonMask | None:
    return None if polygon is None else PolygonMask.of(cube.grid, polygon, crs)


def _stream(
    cube: Searchable,
    kernel: BlockKernel,
    mask: PolygonMask | None,
    threads: int | None,
    executor: Executor | None = None,
) -> Iterator[Piece]:
    blocks = (b for b in cube.grid.chunks(size=BLOCK) if mask is None or mask.touches(b))
    if executor is None or isinstance(executor, InlineExecutor):
        return _in_threads(BlockScan(Once(lambda: cube), kernel, mask), blocks, threads)
    return _on_workers(BlockScan(Once(_opener(cube)), kernel, mask), blocks, executor)


def _in_threads(work: BlockScan, blocks: Iterator[Chunk], threads: int | None) -> Iterator[Piece]:
    """Pieces in order; as many blocks as threads are in work, one more waits to be taken."""

    def piece(block: Chunk) -> Piece:
        place = block.index
        return block, work.finish(place, work.read(place))

    count = threads or len(os.sched_getaffinity(0))
    pending: deque[Future[Piece]] = deque()
    # the threads share the cores among themselves: BLAS threads of each would fight over them
    with (
        threadpool_limits(1, user_api="blas"),
        ThreadPoolExecutor(count, thread_name_prefix="search") as pool,
    ):
        try:
            for block in blocks:
                pending.append(pool.submit(piece, block))
                if len(pending) > count:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def _on_workers(work: BlockScan, blocks: Iterator[Chunk], executor: Executor) -> Iterator[Piece]:
    """Pieces as they come; only places of blocks go out, only values come back."""
    places = (block.index for block in blocks)
    with contextlib.closing(executor.stream(work, places)) as outcomes:
        for outcome in outcomes:
            block = work.block(outcome.item)
            if outcome.result is None:
                (top, left), (bottom, right) = block.start, block.stop
                raise CubeError(
                    f"rows {top}-{bottom - 1}, columns {left}-{right - 1} were not "
                    f"searched by {executor.description}: {outcome.error} "
                    "(every worker must reach the cube where it is here)"
                )
            yield block, outcome.result


def _opener(cube: Searchable) -> Callable[[], Cube]:
    """How workers, whatever folder they run in, open the same generation for themselves."""
    if not isinstance(cube, Cube):
        raise UsageError("only a cube in a store is searched by workers: leave the executor out")
    path = local_path(cube.url)
    url = cube.url if path is None else str(path.absolute())
    return partial(Cube, url, cube.generation, check_digests=cube.check_digests)


def _collect(
    pieces: Iterator[Piece],
    maps: int,
    grid: Grid,
    scratch: Path | None,
    memory: int,
    progress: Callable[[int, int], None] | None,
) -> F32:
    result = _allocate((maps, *grid.shape), scratch, memory)
    done, total = 0, int(np.prod(grid.chunk_grid(BLOCK)))
    for done, (block, values) in enumerate(pieces, start=1):
        result[:, *block.slices] = values
        if progress:
            progress(done, total)
    if progress and done < total:  # those outside of the polygon were passed over
        progress(total, total)
    return result


def _allocate(shape: tuple[int, ...], scratch: Path | None, memory: int) -> F32:
    if 4 * int(np.prod(shape)) <= memory:
        result: NDArray[np.float32] = np.empty(shape, np.float32)
    else:
        with tempfile.TemporaryFile(dir=scratch) as file:
            result = np.memmap(file, np.float32, "w+", shape=shape)
    result.fill(np.nan)
    return result
