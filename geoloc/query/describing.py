"""The scene classes of photos, and of places as a cube sees them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from ..errors import CubeError, UsageError
from ..models import load_model
from ..names import path_text
from ..photos import photo_path
from .coordinates import Place, place_in
from .encode import encode
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
    _, vectors, failures = encode(paths, loaded, stop=True)
    assert not failures
    named = (loaded.features.describe(vector, top) for vector in vectors)
    return {path_text(path): list(scenes) for path, scenes in zip(paths, named, strict=True)}


def describe_place(
    cube: str | Path, place: tuple[float, float] | str, *, top: int = 5
) -> list[tuple[str, float]]:
    """The top scenes of a cell as seen from above.

    ``place``: lon, lat (degrees), or coordinates as people type them (`place_in`): what had to be
    assumed of these is logged. Raises UsageError outside of the cube's area, CubeError where the
    cell is missing.
    """
    opened = open_cube(cube)
    name = f"cube {opened.url}"
    if isinstance(place, str):
        meant, remark = place_in(place, opened.grid, name)
        if remark:
            log.info(remark)
    else:
        meant = Place(lat=place[1], lon=place[0])
    cell = meant.cell(opened.grid)
    if cell is None:
        raise UsageError(f"{meant} lies outside of {name}: correct the coordinates")
    vector = opened.vector(*cell)
    if vector is None:
        raise CubeError(f"{name} has no imagery at {meant}: choose another place")
    return list(opened.features.describe(vector, top))
