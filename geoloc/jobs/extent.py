"""Where an area lies whose file names neither bounds nor geometry: as far as its imagery reaches.

That is settled once, when its cube is begun. From then on the cube says where the area lies, so
that imagery which grows does not silently make another cube of it, nor a refused one.
"""

from __future__ import annotations

import math

from ..area import Area, Bounds
from ..area.ground import numbers
from ..cube import FIRST_GENERATION, current_generation, generation_exists, stored_spec
from ..domain import Domain
from ..errors import AreaError, GeolocError, ImageryError
from ..imagery import Source, open_source
from ..imagery.source import Reaching

_ROUNDING = 1e-6  # steps


def placed(area: Area) -> Area:
    """The area with bounds: its own, its geometry's, its cube's, or those of its imagery.

    Raises AreaError where the imagery does not hold a cell, or where the CRS does not fit there;
    ImageryError where it cannot be read or has no end.
    """
    if area.has_place:
        return area
    return area.with_bounds(_cubes_bounds(area) or imagery_bounds(area))


def imagery_bounds(area: Area, source: Source | None = None) -> Bounds:
    """The whole steps inside of all imagery, in the area's CRS. Raises as `placed`."""
    source = source or open_source(area.imagery)
    extent = source.extent(area.crs) if isinstance(source, Reaching) else source.bounds(area.crs)
    left, bottom, right, top = (edge / area.step for edge in extent)
    if not all(map(math.isfinite, extent)):
        raise ImageryError(
            f"the imagery cannot be mapped in {area.crs}: use the UTM zone there, or write bounds"
        )
    inside = (
        math.ceil(left - _ROUNDING) * area.step,
        math.ceil(bottom - _ROUNDING) * area.step,
        math.floor(right + _ROUNDING) * area.step,
        math.floor(top + _ROUNDING) * area.step,
    )
    if inside[0] >= inside[2] or inside[1] >= inside[3]:
        raise AreaError(
            f"area {area.name}: its imagery holds no cell of {area.step:g} m: lower the step"
        )
    return inside


def notes_of_growth(area: Area, source: Source, grid: Domain) -> list[str]:
    """A note where imagery reaches beyond a cube that was to be as large as its imagery.

    ``area`` as it was given, ``source`` its imagery, ``grid`` the cube's cells.
    """
    if area.has_place:
        return []
    try:
        reach, here = imagery_bounds(area, source), grid.bounds
    except GeolocError as error:
        return [f"whether the imagery has grown beyond the cube is not known: {error}"]
    beyond = (here[0] - reach[0], here[1] - reach[1], reach[2] - here[2], reach[3] - here[3])
    if max(beyond) < area.step * (1 - _ROUNDING):
        return []
    return [
        f"the imagery reaches to {numbers(reach)}, beyond the cube's bounds {numbers(here)}, "
        "which stay as they were when it was begun: write bounds, and another cube, to cover it"
    ]


def _cubes_bounds(area: Area) -> Bounds | None:
    """Of the cube that was begun for the area, if that is of its kind."""
    generation = current_generation(area.cube) or FIRST_GENERATION
    if not generation_exists(area.cube, generation):
        return None
    spec = stored_spec(area.cube, generation)
    if spec.step is None:
        return None  # a cube of points, which a grid's build refuses
    grid = spec.grid
    return grid.bounds if (grid.crs, grid.step) == (area.crs, area.step) else None
