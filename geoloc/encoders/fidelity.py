"""The error of an approximation of the overhead vectors against the definition.

The yardstick is the network's own *jitter*: how much its vectors change if a patch is shifted by
2 px. An error below that is less than the error of imagery and georeferencing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..arrays import F32, F64, I64, U8, Bools
from ..domain import Grid
from ..errors import ImageryError
from .lattice import MIN_VALID
from .overhead import PatchEncoder
from .preprocess import fill_missing

JITTER_PX = 2
_QUERIES = 50

Read = Callable[[Grid], tuple[U8, Bools]]
"""Pixels uint8 (3, H, W) and valid (H, W) of a window."""


@dataclass(frozen=True)
class Fidelity:
    """Agreement of two sets of vectors for the same cells.

    ``relative_error``: RMS difference over the RMS spread of the exact vectors around their mean
    (1: no better than predicting the mean). ``spearman``: rank correlation of the distances from
    a query to all cells, averaged over queries.
    """

    cells: int
    relative_error: float
    spearman: float

    def to_json(self) -> dict[str, Any]:
        """JSON types."""
        return asdict(self)


@dataclass(frozen=True)
class Sample:
    """Patches ``(n, 3, P + 4, P + 4)`` around sampled cells ``(row, col)`` of a grid."""

    rows: I64
    cols: I64
    patches: U8


def read_sample(read: Read, encoder: PatchEncoder, grid: Grid, rows: I64, cols: I64) -> Sample:
    """Read the patch of each cell with a margin for the jitter; skip cells without imagery.

    Every patch is centred exactly on its cell. Raises ImageryError if no cell has imagery.
    """
    places = zip(rows.tolist(), cols.tolist(), strict=True)
    kept, patches = _with_imagery(
        read, encoder, (patch_window(encoder, grid, *at) for at in places)
    )
    return Sample(rows[kept], cols[kept], patches)


def read_alone(read: Read, encoder: PatchEncoder, cells: Sequence[Grid]) -> Sample:
    """`read_sample` for cells that are lattices of their own, such as points: rows are numbers."""
    windows = (patch_window(encoder, cell, 0, 0) for cell in cells)
    kept, patches = _with_imagery(read, encoder, windows)
    return Sample(kept, np.zeros_like(kept), patches)


def _with_imagery(read: Read, encoder: PatchEncoder, windows: Iterable[Grid]) -> tuple[I64, U8]:
    """Which windows have imagery, and their patches. Raises ImageryError if none has."""
    kept: list[int] = []
    patches: list[U8] = []
    number = 0
    for number, window in enumerate(windows, start=1):
        pixels, valid = read(window)
        if valid.mean() >= MIN_VALID and valid[valid.shape[0] // 2, valid.shape[1] // 2]:
            kept.append(number - 1)
            patches.append(fill_missing(pixels, valid, encoder.spec))
    if not kept:
        across = (encoder.spec.patch_px + 2 * JITTER_PX) * encoder.gsd
        raise ImageryError(
            f"none of the {number} sampled cells has enough imagery around it to be recomputed, "
            f"{across:.0f} m across: sample more cells, or a larger area"
        )
    return np.array(kept, dtype=np.int64), np.stack(patches)


def patch_window(encoder: PatchEncoder, grid: Grid, row: int, col: int) -> Grid:
    """The pixels of one cell's patch with a margin of ``JITTER_PX``, centred on the cell."""
    x, y = grid.center(row, col)
    side = encoder.spec.patch_px + 2 * JITTER_PX
    reach = side / 2 * encoder.gsd
    return Grid(grid.crs, x - reach, y + reach, encoder.gsd, side, side)


def exact_vectors(encoder: PatchEncoder, sample: Sample) -> F32:
    """Vectors ``(cell, feature)`` of the sampled cells, patch by patch."""
    return _shifted(encoder, sample.patches, 0, 0)


def jitter(encoder: PatchEncoder, sample: Sample, exact: F32) -> Fidelity:
    """The effect of shifting the patches by 2 px, averaged over the four directions."""
    d = JITTER_PX
    moved = [
        compare(_shifted(encoder, sample.patches, dy, dx), exact)
        for dy, dx in ((d, 0), (-d, 0), (0, d), (0, -d))
    ]
    return Fidelity(
        len(exact),
        float(np.mean([m.relative_error for m in moved])),
        float(np.mean([m.spearman for m in moved])),
    )


def compare(approximate: F32, exact: F32) -> Fidelity:
    """Compare vectors ``(cell, feature)``; cells that are NaN in either are ignored.

    Raises ImageryError if fewer than 3 cells are left, as ranks would mean nothing.
    """
    known = np.isfinite(approximate).all(1) & np.isfinite(exact).all(1)
    a, b = approximate[known].astype(np.float64), exact[known].astype(np.float64)
    if len(b) < 3:
        raise ImageryError(f"{len(b)} of the sampled cells have vectors: sample more cells")
    spread = np.sqrt(((b - b.mean(0)) ** 2).mean())
    error = np.sqrt(((a - b) ** 2).mean()) / max(spread, 1e-12)
    queries = b[:: max(1, len(b) // _QUERIES)]
    ranks = [_rank_correlation(_distances(a, q), _distances(b, q)) for q in queries]
    return Fidelity(len(b), float(error), float(np.mean(ranks)))


def _shifted(encoder: PatchEncoder, patches: U8, dy: int, dx: int) -> F32:
    side = encoder.spec.patch_px
    top, left = JITTER_PX + dy, JITTER_PX + dx
    return encoder.encode_patches(patches[:, :, top : top + side, left : left + side])


def _distances(vectors: F64, query: F64) -> F64:
    return np.asarray(np.linalg.norm(vectors - query, axis=1))


def _rank_correlation(a: F64, b: F64) -> float:
    """Spearman's rho; ties do not occur among distances of real vectors."""
    ranks = [np.argsort(np.argsort(v, kind="stable"), kind="stable") for v in (a, b)]
    return float(np.corrcoef(ranks[0].astype(np.float64), ranks[1].astype(np.float64))[0, 1])
