"""Shares of the best cells (0..1) that an answer names, in its colours, legends and figures."""

from __future__ import annotations

import numpy as np

from ..arrays import F64

STOPS = (0.01, 0.05, 0.1, 0.5, 1.0)
"""Shares of the best cells that the page shows at a click; a level ends at each of them."""

TICKS = (0.01, 0.1, 0.25, 0.5, 1.0)
"""Shares of the best cells that a legend names."""

LEVELS = 255
"""Levels 1..255 of a known distance, best first; level 0 is a cell that is not known."""


def position(share: float) -> float:
    """Where a share of the best cells (0..1) lies on the colour scale, 0 at its best end."""
    return float(share**0.5)


def _shares() -> F64:
    shares = (np.arange(1, LEVELS + 1) / LEVELS) ** 2
    for stop in STOPS:
        shares[round(LEVELS * position(stop)) - 1] = stop
    shares.flags.writeable = False
    return shares


SHARES = _shares()
"""Shares of the cells that are in a level or a better one ``(LEVELS,)``: they grow with the
square, so the best 1 % takes 25 of 255."""

RAMP = np.linspace(0, 1, 32) ** 2
"""The stops of a colour ramp in another program: so fine that none is seen."""

_LEAST_SHARE, _LEAST_CELLS = 0.01, 1000


def least_share(cells: int) -> float:
    """The share of the best cells that is searched at least: 1 %, or 1,000 cells of many."""
    return min(_LEAST_SHARE, _LEAST_CELLS / cells)


def named_shares(cells: int) -> F64:
    """All shares that are asked for of a heatmap of so many cells, ascending."""
    return np.unique(np.concatenate([SHARES, TICKS, RAMP, [0.0, least_share(cells)]]))
