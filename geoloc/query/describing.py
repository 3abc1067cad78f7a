"""The scene classes of photos, and of places as a cube sees them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pyproj import Transformer

from ..encoders import load_model
from ..errors import CubeError, UsageError
from ..names import path_text
from ..photos import photo_path
from ..scenes import describe
from .encode import encode
from .target import open_cube


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
    named = (describe(vector, loaded.classes, top) for vector in vectors)
    return {path_text(path): list(scenes) for path, scenes in zip(paths, named, strict=True)}


def describe_place(
    cube: str | Path, place: tuple[float, float], *, top: int = 5
) -> list[tuple[str, float]]:
    """The top scenes of the cell at ``place`` (lon, lat; degrees) as seen from above.

    Raises UsageError outside of the cube's area, CubeError where the cell is missing.
    """
    opened = open_cube(cube)
    lon, lat = place
    x, y = Transformer.from_crs(4326, opened.grid.crs, always_xy=True).transform(lon, lat)
    cell = opened.grid.index(x, y) if np.isfinite([x, y]).all() else None
    if cell is None:
        raise UsageError(f"{lon}, {lat} lies outside of cube {opened.url}: longitude comes first")
    vector = opened.vector(*cell)
    if vector is None:
        raise CubeError(f"cube {opened.url} has no imagery at {lon}, {lat}: choose another place")
    return list(describe(vector, opened.classes, top))
