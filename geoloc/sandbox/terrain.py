"""The height of the ground: gentle hills, a valley along the river, embankments."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .compiling import compiled
from .lines import AVENUE, MOTORWAY, RAIL, RIVER, RIVER_HALF, massif
from .noise import smooth, value_noise

DATUM = 118.0
"""Height of the flood plain, m."""
BROAD, FINE = 1300.0, 370.0
"""Metres along the features of the noise that the hills are made of."""
VALLEY = 7.0
"""Metres from the flood plain down to the river's water."""
OVERPASS = 7.5
"""Metres the motorway climbs to pass over the railway and the avenue."""
DECK_END = 14.0
"""Metres a bridge's deck reaches beyond the river's edge on either side."""
EMBANKMENT = 1.6
"""Metres the railway lies above its surroundings."""


@compiled
def plain(x: float, y: float, river: float, seed: int, lines: NDArray[np.float64]) -> float:
    """Height without valley: hills that fade towards the flood plain ``river`` metres away, and
    the mountains of a country."""
    broad, fine = value_noise(x, y, BROAD, seed), value_noise(x, y, FINE, seed + 1)
    return hills(broad, fine, river) + mountains(x, y, seed, lines)


@compiled
def hills(broad: float, fine: float, river: float) -> float:
    """`plain` without mountains, from the noise of its hills."""
    rolling = 26.0 * broad + 6.0 * fine
    return DATUM + rolling * smooth((abs(river) - 60.0) / 640.0)


@compiled
def mountains(x: float, y: float, seed: int, lines: NDArray[np.float64]) -> float:
    """Metres that the mountains rise above the plain; no slope is as steep as the sun is low."""
    inside, high = massif(lines[RIVER], x, y)
    if inside <= 0.0:
        return 0.0
    crests = (
        0.55 + 0.35 * value_noise(x, y, 3400.0, seed + 2) + 0.1 * value_noise(x, y, 900.0, seed + 3)
    )
    return high * smooth(1.4 * inside) * crests


@compiled
def sunk(flat: float, river: float) -> float:
    """Height of the untouched ground, the river's bed included (at the water's surface)."""
    return flat - VALLEY * (1.0 - smooth((abs(river) - RIVER_HALF) / 70.0))


@compiled
def climb(rail: float, avenue: float) -> float:
    """Metres the motorway lies above the plain, by its distance to what it passes over."""
    near = min(abs(rail), abs(avenue))
    return OVERPASS * (1.0 - smooth((near - 24.0) / 230.0))


@compiled
def built(flat: float, height: float, d: NDArray[np.float64]) -> float:
    """Height with embankments, from `plain`, `sunk` and the distances ``d`` to the lines."""
    if abs(d[RIVER]) > RIVER_HALF + DECK_END:  # between the abutments the banks stay free
        way = 1.0 - smooth((abs(d[AVENUE]) - 17.0) / 14.0)
        height += (flat - height) * way
        bed = 1.0 - smooth((abs(d[RAIL]) - 5.5) / 9.0)
        height += (flat + EMBANKMENT - height) * bed
    deck = 1.0 - smooth((abs(d[MOTORWAY]) - 15.0) / 16.0)
    height += (flat + climb(d[RAIL], d[AVENUE]) - height) * deck
    return height
