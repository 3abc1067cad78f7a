"""The content of a window of the world: the contract between the world and its two views.

The world fills a `Scene`; the overhead view shades it from above, and the ground view casts rays
through the same arrays. So both show the same place.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from ..domain import Grid

LANDUSE = (
    "field-cultivated",  # bare or ploughed soil, vegetable plots
    "wheat_field",
    "pasture",  # meadow
    "forest-broadleaf",
    "lake-natural",
    "river",
    "park",
    "residential_neighborhood",  # tree-lined streets of houses
    "apartment_building-outdoor",  # high-rise estates
    "industrial_area",
    "schoolhouse",
    "stadium-soccer",
    "athletic_field-outdoor",
    "railroad_track",
    "highway",
    "bridge",
    "village",
    "parking_lot",
    "downtown",
    "cemetery",
)
"""Scene classes of the world (names of Places365); `Scene.landuse` indexes this tuple."""


class Material(IntEnum):
    """The material of a surface, which determines texture, façade and roughness."""

    GRASS = 0
    CROP = 1
    SOIL = 2
    ASPHALT = 3
    CONCRETE = 4
    GRAVEL = 5
    SAND = 6
    WATER = 7
    TREE = 8
    ROOF = 9
    RAIL = 10
    PITCH = 11
    TRACK = 12
    METAL = 13
    CAR = 14
    FENCE = 15
    MARKING = 16


@dataclass(frozen=True)
class Scene:
    """The world over a lattice; every array is ``(y, x)`` on ``grid``, heights in metres.

    terrain: float32, ground level above the datum.
    top: float32, top of the object above the terrain (0 where there is none).
    base: float32, lower edge of that object above the terrain (0 for a house, about 2 for a
        tree's crown, the deck's underside for a bridge): rays pass below it.
    material: uint8, a `Material`: of the object where ``top > 0``, else of the ground.
    landuse: uint8, index into `LANDUSE`.
    color: uint8 ``(y, x, 3)``, albedo seen from above, without light or shadow.
    building: uint32, id of the building (0: none), the seed of its facade.
    """

    grid: Grid
    terrain: NDArray[np.float32]
    top: NDArray[np.float32]
    base: NDArray[np.float32]
    material: NDArray[np.uint8]
    landuse: NDArray[np.uint8]
    color: NDArray[np.uint8]
    building: NDArray[np.uint32]
