"""The scene classes of photos, and of places as a cube sees them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..arrays import F32
from ..cube import Cube
from ..domain import Points
from ..errors import CubeError, UsageError
from ..models import load_model
from ..names import path_text
from ..photos import photo_path
from .coordinates import Place, place_in
from .encode import encode
from .nearest import NearPoint, nearest_known
from .target import open_cube

log = logging.getLogger(__name__)


def describe_photos(
    photos: Sequence[str | Path], model: str | Path, *, top: int = 5
) -> dict[str, list[tuple[str, float]]]:
    """The top scenes of each photo and their softmax share, for display only, by path.

    Raises the error of the first photo that cannot be read, and ModelError.
    """
    paths = [photo_path(photo) for photo in photos]
    loaded = load_model(model)
    _, vectors, failures = encode(paths, [loaded], stop=True)
    assert not failures
    named = (loaded.features.describe(vector, top) for vector in vectors)
    return {path_text(path): list(scenes) for path, scenes in zip(paths, named, strict=True)}


@dataclass(frozen=True)
class Described:
    """The scenes of a place and their softmax share, for display only.

    ``point``: of a cube of points, the one that stands for the place.
    """

    scenes: list[tuple[str, float]]
    point: NearPoint | None = None


def describe_place(
    cube: str | Path, place: tuple[float, float] | str, *, top: int = 5
) -> list[tuple[str, float]]:
    """The top scenes of a cell, or of the nearest point, as seen from above.

    ``place``: lon, lat (degrees), or coordinates as people type them (`place_in`): what had to be
    assumed of these is logged, and how far away the point is. Raises UsageError outside of the
    cube's area, or farther from all points than `geoloc.query.nearest.REACH`; CubeError where
    there is no imagery.
    """
    return look_at(cube, place, top=top).scenes


def look_at(cube: str | Path, place: tuple[float, float] | str, *, top: int = 5) -> Described:
    """`describe_place`, with the point that stands for the place."""
    opened = open_cube(cube)
    meant = place if isinstance(place, str) else Place(lat=place[1], lon=place[0])
    if isinstance(opened.domain, Points):
        point, vector, remark = nearest_known(opened, meant)
        log.info(remark)
        return Described(list(opened.features.describe(vector, top)), point)
    return Described(list(opened.features.describe(_of_cell(opened, meant), top)))


def _of_cell(cube: Cube, meant: Place | str) -> F32:
    """The vector of the cell that holds a place."""
    name = f"cube {cube.url}"
    if isinstance(meant, str):
        meant, remark = place_in(meant, cube.grid, name)
        if remark:
            log.info(remark)
    cell = meant.cell(cube.grid)
    if cell is None:
        raise UsageError(f"{meant} lies outside of {name}: correct the coordinates")
    vector = cube.vector(*cell)
    if vector is None:
        raise CubeError(f"{name} has no imagery at {meant}: choose another place")
    return vector
