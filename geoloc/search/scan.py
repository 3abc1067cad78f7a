"""The streaming pass over a cube: blocks are read ahead while others are measured."""

from __future__ import annotations

import contextlib
import math
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from shapely.geometry.base import BaseGeometry
from threadpoolctl import threadpool_limits

from ..arrays import F32
from ..cube import Cube
from ..domain import Chunk
from ..errors import CubeError, SpecMismatchError, UsageError
from ..executors import Executor, InlineExecutor, Lazy
from ..models import FeatureSpace
from ..progress import Progress
from ..stores import local_path
from .distance import BlockKernel, Query, distance_kernel, scene_kernel
from .mask import WGS84, PolygonMask
from .reductions import Reduction
from .work import BlockScan, Kept, PartOf, Searchable, side_of, whole

Result = TypeVar("Result")

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
    return _stream(cube, kernel, _mask(cube, within, within_crs), whole, threads, executor)


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
    kernel = _scenes(cube, names)
    return _stream(cube, kernel, _mask(cube, within, within_crs), whole, threads)


def reduce_scan(
    cube: Searchable,
    query: Query,
    reduction: Reduction[Result],
    *,
    within: BaseGeometry | None = None,
    within_crs: str = WGS84,
    threads: int | None = None,
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> Result:
    """What a reduction keeps of the distances of every cell to every photo; see `scan`.

    Threads and workers reduce a block each; only what they keep of it comes back. ``progress``
    is told of the blocks.
    """
    mask = _mask(cube, within, within_crs)
    return _reduce(cube, _distances(cube, query), mask, reduction, threads, executor, progress)


def reduce_scenes(
    cube: Searchable,
    names: Sequence[str],
    reduction: Reduction[Result],
    *,
    within: BaseGeometry | None = None,
    within_crs: str = WGS84,
    threads: int | None = None,
    progress: Progress | None = None,
    features: FeatureSpace | None = None,
) -> Result:
    """`reduce_scan` for scene classes by name; see `scan_scenes`.

    ``features``: the cube's feature space with more names than it has of itself.
    """
    kernel = _scenes(cube, names, features)
    mask = _mask(cube, within, within_crs)
    return _reduce(cube, kernel, mask, reduction, threads, None, progress)


def _distances(cube: Searchable, query: Query) -> BlockKernel:
    dim = cube.features.dim
    if query.vectors.shape[1] != dim:
        raise SpecMismatchError(
            f"the photo has {query.vectors.shape[1]} features and the cube {dim}: "
            "encode the photo with the cube's model"
        )
    distance = cube.features.distance(query.weights)
    norms = distance.own and cube.read_norm(*_one_cell(cube)) is not None
    return distance_kernel(query, distance, cube.features.stored_code, norms)


def _one_cell(cube: Searchable) -> list[slice]:
    return [slice(0, 1)] * len(cube.domain.shape)


def _mask(cube: Searchable, polygon: BaseGeometry | None, crs: str) -> PolygonMask | None:
    return None if polygon is None else PolygonMask.of(cube.domain, polygon, crs)


def _scenes(
    cube: Searchable, names: Sequence[str], features: FeatureSpace | None = None
) -> BlockKernel:
    space = features or cube.features
    return scene_kernel(space, tuple(map(space.index, names)))


def _reduce(
    cube: Searchable,
    kernel: BlockKernel,
    mask: PolygonMask | None,
    reduction: Reduction[Result],
    threads: int | None,
    executor: Executor | None,
    progress: Progress | None,
) -> Result:
    done, total = 0, math.prod(cube.domain.chunk_grid(side_of(cube.domain, kernel.maps)))
    # threads see what the whole reduction knows by then, workers how it begins
    near = executor is None or isinstance(executor, InlineExecutor)
    keep = PartOf(reduction if near else reduction.part())
    kept = _stream(cube, kernel, mask, keep, threads, executor)
    for done, (_, part) in enumerate(kept, start=1):
        reduction.merge(part)
        if progress:
            progress(done, total)
    if progress and done < total:  # those outside of the polygon were passed over
        progress(total, total)
    return reduction.result()


def _stream(
    cube: Searchable,
    kernel: BlockKernel,
    mask: PolygonMask | None,
    keep: Callable[[Chunk, F32], Kept],
    threads: int | None,
    executor: Executor | None = None,
) -> Iterator[tuple[Chunk, Kept]]:
    polygon = None if mask is None else mask.polygon
    blocks = cube.domain.chunks(polygon, side_of(cube.domain, kernel.maps))
    if executor is None or isinstance(executor, InlineExecutor):
        return _in_threads(BlockScan(Lazy(lambda: cube), kernel, mask, keep), blocks, threads)
    return _on_workers(BlockScan(Lazy(_opener(cube)), kernel, mask, keep), blocks, executor)


def _in_threads(
    work: BlockScan[Kept], blocks: Iterator[Chunk], threads: int | None
) -> Iterator[tuple[Chunk, Kept]]:
    """Blocks in order; as many as threads are in work, one more waits to be taken."""

    def kept(block: Chunk) -> tuple[Chunk, Kept]:
        place = block.index
        return block, work.finish(place, work.read(place))

    count = threads or len(os.sched_getaffinity(0))
    pending: deque[Future[tuple[Chunk, Kept]]] = deque()
    # the threads share the cores among themselves: BLAS threads of each would fight over them
    with (
        threadpool_limits(1, user_api="blas"),
        ThreadPoolExecutor(count, thread_name_prefix="search") as pool,
    ):
        try:
            for block in blocks:
                pending.append(pool.submit(kept, block))
                if len(pending) > count:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def _on_workers(
    work: BlockScan[Kept], blocks: Iterator[Chunk], executor: Executor
) -> Iterator[tuple[Chunk, Kept]]:
    """Blocks as they come; only their places go out, only what is kept of them comes back."""
    places = (block.index for block in blocks)
    with contextlib.closing(executor.stream(work, places)) as outcomes:
        for outcome in outcomes:
            block = work.block(outcome.item)
            if outcome.result is None:
                raise CubeError(
                    f"{_range_of(block)} were not searched by {executor.description}: "
                    f"{outcome.error} "
                    "(every worker must reach the cube where it is here)"
                )
            yield block, outcome.result


def _range_of(block: Chunk) -> str:
    names = {"y": "rows", "x": "columns"}
    ends = zip(block.domain.dims, block.start, block.stop, strict=True)
    return ", ".join(f"{names.get(dim, dim + 's')} {a}-{b - 1}" for dim, a, b in ends)


def _opener(cube: Searchable) -> Callable[[], Cube]:
    """How workers, whatever folder they run in, open the same generation for themselves."""
    if not isinstance(cube, Cube):
        raise UsageError("only a cube in a store is searched by workers: leave the executor out")
    path = local_path(cube.url)
    url = cube.url if path is None else str(path.absolute())
    return partial(Cube, url, cube.generation, check_digests=cube.check_digests)
