"""Is what was searched for here at all? What the best place of an answer is judged by."""

from __future__ import annotations

from collections.abc import Sequence
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
def sample_cells(cube: Cube) -> F32:
    """Feature vectors ``(cell, feature)`` of cells all over a cube: the same at each call."""
    parts = (known_codes(cube, index) for index in some_blocks(cube, _BLOCKS))
    # copies, since a view keeps the codes of its whole block
    return decoded(cube, [part[:: max(1, len(part) // _CELLS)][:_CELLS].copy() for part in parts])


def some_blocks(cube: Cube, most: int) -> list[tuple[int, ...]]:
    """The indices of blocks that hold data, so many at most, evenly all over a cube."""
    blocks = np.argwhere(np.isin(cube.chunk_status, (Status.DONE, Status.BROKEN)))
    picked = blocks[np.linspace(0, len(blocks) - 1, min(most, len(blocks))).astype(int)]
    return [tuple(index) for index in picked.tolist()]


def known_codes(cube: Cube, index: tuple[int, ...]) -> NDArray[np.int8]:
    """Codes ``(cell, feature)`` of the cells of a block, none of them missing."""
    block = cube.domain.chunk(*index, size=cube.spec.block_size)
    codes = cube.read(*block.slices).reshape(-1, cube.features.dim)
    known: NDArray[np.int8] = codes[codes[:, 0] != MISSING]
    return known


def decoded(cube: Cube, parts: Sequence[NDArray[np.int8]]) -> F32:
    """Feature vectors ``(cell, feature)`` of codes, which may be none."""
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


def share_closer(vector: F32, place: F32, cells: F32, distance: Distance) -> float | None:
    """By how much (0..1, less than 0 where it is not) ``place`` is closer to ``vector`` than the
    middle one of ``cells``. None without cells."""
    if not len(cells):
        return None
    off = distance.apply(np.subtract(cells, vector, dtype=np.float64))
    middle = float(np.median(np.linalg.norm(off, axis=1)))
    return 1 - distance.between(vector, place) / middle if middle > 0 else 0.0


def _lead(vectors: F32, cells: F32, distance: Distance) -> F64:
    """By how much (0..1) the best cell is closer to each vector than the middle cell."""
    a, b = (distance.apply(part) for part in (cells, vectors))
    squares = (a**2).sum(1)[None] + (b**2).sum(1)[:, None] - 2 * b @ a.T
    distances = np.sqrt(np.maximum(squares, 0))
    middle = np.median(distances, axis=1)
    lead = 1 - distances.min(axis=1) / np.where(middle > 0, middle, 1)
    return np.asarray(lead, np.float64)
