"""How distances become colours, the same in the page, in pictures and over other maps.

The scale runs with the *rank* of the distance among the cells: magenta is the smallest distance,
the most plausible place, yellow the last of the best 10 %, and what lies beyond fades away. Rank,
because the distances of most cells lie close together, so that a scale linear in them would
hide the few cells that matter. The page also has the study's yellow-green-blue.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import Colormap, LinearSegmentedColormap

from ..arrays import F32, F64, U8, Bools
from ..domain import Grid
from ..search import strips
from .shares import LEVELS, SHARES

if TYPE_CHECKING:
    from ..search import Heatmap
    from .result import QueryResult

SCALE = "YlGnBu"
_HOT = ((0.0, "#c2006b"), (0.25, "#ff1f3d"), (0.55, "#ff8a00"), (1.0, "#ffe14d"))
"""Anchors of the page's own scale, best first: saturated, so that the best places stand out on
pale ground and on green, and darker the better, so that they do to all eyes."""

HOT_SHARE, SEEN_SHARE = 0.1, 0.5
"""Over maps of other programs the best cells are hot, and those beyond the second share clear."""

PAPER = 205
"""Grey under colours that are not opaque, where there is no map."""

_OPAQUE, _FAINT = 235, 110  # opacity (0..255) of hot cells, and of the next ones
_ROWS = 1024  # of a picture, put into levels at a time


def shrink(heatmap: Heatmap, grid: Grid, limit: int) -> tuple[F32, Grid]:
    """The heatmap with at most ``limit`` pixels a side; each keeps its *smallest* distance.

    So a single good cell is still seen in a picture of a whole country. Reads by strips.
    """
    return reduced(heatmap, grid, -(-max(grid.shape) // limit))


def reduced(heatmap: Heatmap, grid: Grid, factor: int) -> tuple[F32, Grid]:
    """The heatmap of squares of ``factor`` by ``factor`` cells, each with its smallest distance."""
    ny, nx = -(-grid.ny // factor), -(-grid.nx // factor)
    coarse = Grid(grid.crs, grid.left, grid.top, grid.step * factor, ny, nx)
    if factor == 1:
        return np.asarray(heatmap[:], np.float32), coarse
    small = np.full((ny, nx), np.nan, np.float32)
    for rows, strip in strips(heatmap):
        for row in range(rows.start // factor, -(-rows.stop // factor)):
            first = max(row * factor, rows.start) - rows.start
            lines = strip[first : (row + 1) * factor - rows.start]
            np.fmin(small[row], _lowest(lines, factor), out=small[row])
    return small, coarse


def _lowest(lines: F32, factor: int) -> F32:
    """The smallest distance ``(x,)`` of ``factor`` columns of some rows ``(y, x)``."""
    line = np.fmin.reduce(lines, axis=0)
    padded = np.pad(line, (0, -len(line) % factor), constant_values=np.nan)
    return np.asarray(np.fmin.reduce(padded.reshape(-1, factor), axis=1))


def unsearched(result: QueryResult, small: F32, grid: Grid) -> Bools | None:
    """Pixels ``(y, x)`` that were asked for and not searched; None where there are none.

    ``small``, ``grid``: the heatmap as ``shrink`` gives it.
    """
    if not result.unsearched:
        return None
    unknown = ~np.isfinite(small)
    if result.asked is not None:
        factor = round(grid.step / result.grid.step)
        columns = np.arange(grid.nx) * factor
        for row in range(grid.ny):
            lines = result.asked[row * factor : (row + 1) * factor]
            unknown[row] &= np.logical_or.reduceat(lines.any(axis=0), columns)
    return unknown


@dataclass(frozen=True)
class ColorScale:
    """A heatmap in 255 steps that are finest among the best cells.

    edges: float64 ``(LEVELS,)``, the largest distance of each level; see `SHARES`.
    """

    edges: F64

    def levels(self, distances: F32) -> U8:
        """Level ``(y, x)`` of each distance; 0 where it is NaN."""
        levels = np.empty(distances.shape, np.uint8)
        for start in range(0, len(distances), _ROWS):
            part = distances[start : start + _ROWS]
            level = np.searchsorted(self.edges, part, side="left").clip(0, LEVELS - 1) + 1
            levels[start : start + _ROWS] = np.where(np.isfinite(part), level, 0)
        return levels


def color_scale(result: QueryResult) -> ColorScale:
    """The levels of this answer."""
    return ColorScale(result.quantiles(SHARES))


@cache
def palette() -> U8:
    """RGB ``(LEVELS, 3)`` of the levels, from yellow (best) to dark blue."""
    return _opaque(colormaps[SCALE])


@cache
def hot_palette() -> U8:
    """RGB ``(LEVELS, 3)`` of the page's own scale, from magenta (best) to yellow."""
    return _opaque(LinearSegmentedColormap.from_list("hot", _HOT))


def _opaque(colors: Colormap) -> U8:
    rgba = colors(np.linspace(0, 1, LEVELS), bytes=True)
    return _fixed(np.asarray(rgba[:, :3], dtype=np.uint8))


def _fixed(colors: U8) -> U8:
    """Colours that all callers share: nobody may write into them."""
    colors.flags.writeable = False
    return colors


@cache
def overlay_palette() -> U8:
    """RGBA ``(LEVELS, 4)`` of the levels, to lie over a map: the best is hot, the worst clear."""
    shares = (np.arange(LEVELS) / (LEVELS - 1)) ** 2
    at = np.minimum(shares / HOT_SHARE, 1) ** 0.5
    beyond = np.clip((shares - HOT_SHARE) / (SEEN_SHARE - HOT_SHARE), 0, 1)
    opacity = np.where(shares <= HOT_SHARE, _OPAQUE, _FAINT * (1 - beyond))
    colors = hot_palette()[np.round(at * (LEVELS - 1)).astype(int)]
    return _fixed(np.column_stack([colors, opacity.round().astype(np.uint8)]).astype(np.uint8))


@cache
def paper_palette() -> U8:
    """RGB ``(LEVELS, 3)`` of the overlay's colours on light grey, where there is no opacity."""
    colors = overlay_palette().astype(float)
    seen = colors[:, 3:] / 255
    return _fixed(np.asarray((colors[:, :3] * seen + PAPER * (1 - seen)).round(), np.uint8))
