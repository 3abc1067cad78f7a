"""``heatmap.png``: the heatmap as a figure to paste into a report."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

from ..grid import Grid
from .heat import LEVELS, SCALE, TICKS, levels, position, shrink

if TYPE_CHECKING:
    from .result import QueryResult

_PIXELS = 2000  # the longer side of the map inside the figure, at most
_HALO = [withStroke(linewidth=2.5, foreground="white")]


def write_picture(result: QueryResult, path: Path) -> None:
    """Draw distances in yellow-green-blue with colour bar, scale bar, north and candidates."""
    figure = Figure(figsize=_size(result.grid), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    image = _draw_heat(axes, result)
    _draw_color_bar(figure, axes, image, result)
    _draw_candidates(axes, result)
    _draw_scale_bar(axes, result.grid)
    _draw_north(axes)
    axes.set_title(_plain(result.title), loc="left", fontweight="bold", parse_math=False)
    axes.set_xlabel(f"{result.grid.crs}   ·   where to look first, not a verdict", fontsize=8)
    figure.savefig(path, metadata={"Software": "geoloc"})


def scale_length(width: float) -> float:
    """A round length (1, 2 or 5 times a power of ten) near a fifth of ``width``, same unit."""
    power = 10.0 ** math.floor(math.log10(width / 5))
    return max(m * power for m in (1, 2, 5) if m * power <= width / 5)


def _size(grid: Grid) -> tuple[float, float]:
    """Inches: the map's shape plus room for the colour bar and the title."""
    aspect = min(max(grid.nx / grid.ny, 0.4), 2.5)
    width, height = (9.0, 9.0 / aspect) if aspect >= 1 else (9.0 * aspect, 9.0)
    return width + 1.8, height + 0.9


def _draw_heat(axes: Any, result: QueryResult) -> Any:
    small, grid = shrink(result.heatmap, result.grid, _PIXELS)
    left, bottom, right, top = grid.bounds
    image = axes.imshow(
        np.ma.masked_equal(levels(result).of(small), 0),
        cmap=SCALE,
        vmin=0,
        vmax=LEVELS,
        extent=(left, right, bottom, top),
        interpolation="nearest",
    )
    left, bottom, right, top = result.grid.bounds
    axes.set(xlim=(left, right), ylim=(bottom, top), xticks=[], yticks=[])
    axes.set_facecolor("0.85")
    return image


def _draw_color_bar(figure: Figure, axes: Any, image: Any, result: QueryResult) -> None:
    """Ticks name the share of cells that are as good or better, and their distance."""
    distances = result.quantiles(np.array((0.0, *TICKS)))
    names = ["best", *(f"best {100 * share:g} %" for share in TICKS[:-1]), "worst"]
    bar = figure.colorbar(image, ax=axes, shrink=0.85, pad=0.02)
    bar.set_ticks(
        [LEVELS * position(share) for share in (0.0, *TICKS)],
        labels=[f"{name}\n{value:.4g}" for name, value in zip(names, distances, strict=True)],
        fontsize=8,
    )
    bar.set_label("rank and distance   (yellow: most plausible)")
    bar.ax.invert_yaxis()


def _draw_candidates(axes: Any, result: QueryResult) -> None:
    for candidate in reversed(result.candidates):
        axes.annotate(
            str(candidate.rank),
            (candidate.x, candidate.y),
            ha="center",
            va="center",
            color="white",
            fontsize=9 if candidate.rank == 1 else 7,
            fontweight="bold",
            bbox={
                "boxstyle": "circle,pad=0.25",
                "facecolor": "#b5124b" if candidate.rank == 1 else "#d6336c",
                "edgecolor": "white",
                "linewidth": 0.8,
            },
            zorder=5,
        )


def _draw_scale_bar(axes: Any, grid: Grid) -> None:
    left, bottom, right, top = grid.bounds
    width, height = right - left, top - bottom
    length = scale_length(width)
    x, y = left + 0.03 * width, bottom + 0.03 * height
    thick = 0.008 * max(width, height)
    for i, color in enumerate(("black", "white")):
        half = Rectangle(
            (x + i * length / 2, y), length / 2, thick, facecolor=color, edgecolor="black", lw=0.8
        )
        axes.add_patch(half)
    text = f"{length / 1000:g} km" if length >= 1000 else f"{length:g} m"
    axes.text(x + length / 2, y + 1.5 * thick, text, ha="center", fontsize=9, path_effects=_HALO)


def _draw_north(axes: Any) -> None:
    axes.annotate(
        "N",
        xy=(0.965, 0.975),
        xytext=(0.965, 0.905),
        xycoords="axes fraction",
        ha="center",
        va="center",
        fontweight="bold",
        path_effects=_HALO,
        arrowprops={
            "arrowstyle": "-|>",
            "color": "black",
            "linewidth": 1.6,
            "path_effects": _HALO,
        },
    )


def _plain(title: str) -> str:
    """One printable line: a file name may hold anything."""
    line = "".join(c if c.isprintable() else " " for c in title)
    return line if len(line) <= 80 else line[:79] + "…"
