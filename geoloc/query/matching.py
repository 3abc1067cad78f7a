"""Is what was searched for here at all? What the best place of an answer is judged by."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..arrays import F32, F64
from ..cube import Cube
from ..domain import Status
from ..models import MISSING, Distance

_BLOCKS = 4  # of a cube that a sample of its cells is taken from
_CELLS = 250  # of each of them
_DRAWS = 200  # random vectors


@lru_cache(maxsize=4)  # the answers of one call share their cube
def sample_cells(cube: Cube, blocks: int = _BLOCKS) -> F32:
    """Feature vectors ``(cell, feature)`` of cells all over a cube, of so many of its blocks: the
    same at each call."""
    known = np.argwhere(cube.chunk_status != Status.MISSING)
    picked = known[np.linspace(0, len(known) - 1, min(blocks, len(known))).astype(int)]
    parts = [_known(cube, *index) for index in picked.tolist()]
    none = np.empty((0, cube.features.dim), np.int8)
    return cube.features.decode(np.concatenate([none, *parts]))


def random_share(vector: F32, cells: F32, distance: Distance) -> float | None:
    """How many (0..1) of random vectors come as near to one of ``cells`` as ``vector`` does.

    A permutation test: the random vectors have the photo's own values, dealt out anew among the
    classes, so they are as long as it and know nothing of any place. Near: by how much the best
    cell is closer than the middle one, since a long vector is far from all. None without cells.
    """
    if not len(cells):
        return None
    generator = np.random.default_rng(0)
    drawn = [generator.permutation(vector) for _ in range(_DRAWS)]
    lead = _lead(np.stack([vector, *drawn]), cells, distance)
    return float((np.count_nonzero(lead[1:] >= lead[0]) + 1) / (_DRAWS + 1))


def _lead(vectors: F32, cells: F32, distance: Distance) -> F64:
    """By how much (0..1) the best cell is closer to each vector than the middle cell."""
    a, b = (distance.apply(part) for part in (cells, vectors))
    squares = (a**2).sum(1)[None] + (b**2).sum(1)[:, None] - 2 * b @ a.T
    distances = np.sqrt(np.maximum(squares, 0))
    middle = np.median(distances, axis=1)
    lead = 1 - distances.min(axis=1) / np.where(middle > 0, middle, 1)
    return np.asarray(lead, np.float64)


def _known(cube: Cube, *index: int) -> NDArray[np.int8]:
    """Codes ``(cell, feature)`` of some cells of a block, none of them missing."""
    block = cube.domain.chunk(*index, size=cube.spec.block_size)
    codes = cube.read(*block.slices).reshape(-1, cube.features.dim)
    known = codes[codes[:, 0] != MISSING]
    some: NDArray[np.int8] = known[:: max(1, len(known) // _CELLS)][:_CELLS]
    return some
