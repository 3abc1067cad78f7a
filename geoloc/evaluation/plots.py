"""Plots of evaluations, as PNG files in memory. Imports matplotlib when called."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .ranks import Ranks, recall_curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SIZE = (7.2, 4.6)  # inches
_MOST_BARS = 60


def recall_plot(methods: Mapping[str, Ranks], km2: float | None = None) -> bytes:
    """Recall against the share searched, by what ranked the places; a diagonal for chance."""
    shares = np.geomspace(1e-4, 1, 400)

    def draw(axes: Axes) -> None:
        for name, ranks in methods.items():
            recall = 100 * recall_curve(ranks, shares)
            axes.plot(100 * shares, recall, label=name.replace("_", " "), lw=1.8)
        axes.plot(100 * shares, 100 * shares, "k:", lw=1, label="chance")
        axes.set(xscale="log", xlim=(0.01, 100), ylim=(0, 100), ylabel="true places found, %")
        whole = "" if km2 is None else f" (100 % are {km2:,.3g} km²)"
        axes.set_xlabel(f"searched, the best first, % of the area{whole}")
        axes.legend(fontsize=8, loc="upper left")

    return _png(draw)


def class_plot(rows: Sequence[tuple[str, float, float]]) -> bytes:
    """Bars of the average precision of each class (name, figure, chance), the best first."""
    best = sorted(rows, key=lambda row: -row[1])[:_MOST_BARS]

    def draw(axes: Axes) -> None:
        at = np.arange(len(best))
        axes.bar(at, [row[1] for row in best], color="#0b57d0")
        axes.plot(at, [row[2] for row in best], "k_", ms=8, label="chance")
        axes.set(ylim=(0, 1), ylabel="mean average precision")
        axes.set_xticks(at, [_plain(row[0]) for row in best], rotation=90, fontsize=7)
        axes.legend(fontsize=8)

    return _png(draw)


def _plain(text: str) -> str:
    """A label without what matplotlib takes as mathematics."""
    return text[:40].replace("$", "\\$")


def _png(draw: Any) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=_SIZE, dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.grid(alpha=0.3)
    draw(axes)
    content = io.BytesIO()
    figure.savefig(content, format="png", metadata={"Software": "geoloc"})
    return content.getvalue()
