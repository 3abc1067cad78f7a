"""How much of an area its imagery cannot serve, foreseen before a cube is built.

A cell is searched where its centre has imagery and so has most of the patch around it: a rim of
the imagery falls out, and what lies beyond. Where it ends is known from its extent; where it has
gaps inside is found out by looking at some cells.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..area import Bounds
from ..arrays import F64
from ..domain import Domain, Grid
from ..encoders.lattice import MIN_VALID
from ..encoders.windows import own_zones
from ..imagery import Source

if TYPE_CHECKING:
    from shapely import Geometry

_LOOKED_AT = 64  # cells
_LOOK_SECONDS = 4.0
_DRAWS = 40 * _LOOKED_AT  # at most, where the polygon is thin
_ACROSS = 15  # pixels of a patch that is looked at; odd, so that one is its centre
_SEED = 0


@dataclass(frozen=True)
class Rim:
    """``share`` (0..1) of the cells that cannot be searched, about; ``patch_m``: what each needs.

    ``looked_at``: how many cells' imagery was read for it.
    """

    share: float
    patch_m: float
    looked_at: int

    def summary(self, cells: int, noun: str = "cells") -> str:
        """For people; ``cells``: how many there are; ``noun``: what they are."""
        if not self.share:
            return ""
        return (
            f"about {round(self.share * cells):,} of {cells:,} {noun} ({100 * self.share:.1f} %) "
            f"cannot be searched: the imagery does not hold the {self.patch_m:.0f} m around them"
        )


def foresee_rim(
    grid: Domain, source: Source, encoding: dict[str, Any], polygon: Geometry | None
) -> Rim:
    """Of an area ``grid``, or the polygon in it, or of points.

    ``encoding``: what the encoder says of itself.

    Raises ImageryError where the imagery cannot be read.
    """
    side = float(encoding["gsd"]) * float(encoding.get("pool_px") or encoding.get("patch_px") or 1)
    if not isinstance(grid, Grid):
        return _of_points(grid, source, side)
    fits = _Fit(source.bounds(grid.crs), side)
    beyond, seen, failed = 0, 0, 0
    drawn = _cells(grid, polygon)
    end = time.monotonic() + _LOOK_SECONDS
    for x, y in drawn:
        if not fits.one(x, y):
            beyond += 1
        elif seen < _LOOKED_AT and time.monotonic() < end:
            seen += 1
            failed += not _has_imagery(source, grid.crs, x, y, side)
    outside = fits.share_beyond(grid) if polygon is None else beyond / max(len(drawn), 1)
    return Rim(outside + (1 - outside) * failed / max(seen, 1), side, seen)


def _of_points(points: Domain, source: Source, side: float) -> Rim:
    """By looking at some of them, as their imagery may have any extent."""
    drawn = np.random.default_rng(_SEED).permutation(points.size)[:_LOOKED_AT]
    end = time.monotonic() + _LOOK_SECONDS
    seen = failed = 0
    for crs, x, y in own_zones(points.crs, points.centres(drawn)):
        if time.monotonic() < end:
            seen += 1
            failed += not _has_imagery(source, crs, x, y, side)
    return Rim(failed / max(seen, 1), side, seen)


@dataclass(frozen=True)
class _Fit:
    """Whether enough of a patch of ``side`` m lies inside of a box."""

    box: Bounds
    side: float

    def one(self, x: float, y: float) -> bool:
        left, bottom, right, top = self.box
        across = self._share(np.array([x]), left, right)
        down = self._share(np.array([y]), bottom, top)
        return bool(across[0] * down[0] >= MIN_VALID)

    def share_beyond(self, grid: Grid) -> float:
        """Share of a grid's cells that do not fit: exact, nothing is held per cell."""
        left, bottom, right, top = self.box
        across, down = self._share(grid.x, left, right), self._share(grid.y, bottom, top)
        ordered = np.sort(across)
        with np.errstate(divide="ignore"):
            fit = grid.nx - np.searchsorted(ordered, MIN_VALID / down, side="left")
        return 1 - float(fit.sum()) / grid.size

    def _share(self, at: F64, low: float, high: float) -> F64:
        """Share of a patch inside along one axis; 0 where its centre is not."""
        inside = np.minimum(at + self.side / 2, high) - np.maximum(at - self.side / 2, low)
        share = np.clip(inside / self.side, 0, 1)
        return np.where((at >= low) & (at <= high), share, 0.0)


def _cells(grid: Grid, polygon: Geometry | None) -> list[tuple[float, float]]:
    """Centres of cells drawn at random, inside of the polygon."""
    rng = np.random.default_rng(_SEED)
    rows, cols = rng.integers(0, grid.ny, _DRAWS), rng.integers(0, grid.nx, _DRAWS)
    x, y = grid.left + (cols + 0.5) * grid.step, grid.top - (rows + 0.5) * grid.step
    if polygon is not None:
        import shapely

        inside = shapely.contains_xy(polygon, x, y)
        x, y = x[inside], y[inside]
    return list(zip(x.tolist(), y.tolist(), strict=True))


def _has_imagery(source: Source, crs: str, x: float, y: float, side: float) -> bool:
    step = side / _ACROSS
    window = Grid(crs, x - side / 2, y + side / 2, step, _ACROSS, _ACROSS)
    if not source.covers(window):
        return False
    valid = source.read(window).coords["valid"].values
    return bool(valid[_ACROSS // 2, _ACROSS // 2] and valid.mean() >= MIN_VALID)
