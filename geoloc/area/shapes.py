"""Shapes with their names, of vector files that are drawn on maps: in degrees, one by one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import AreaError
from .polygon import (
    file_and_layer,
    plainly_named,
    reading,
    require_vector_file,
    vector_layers,
)

if TYPE_CHECKING:
    from geopandas import GeoDataFrame
    from shapely import Geometry

_SPELLINGS = {
    "name": ("name", "name_en", "name:en", "name_1", "shapename", "nam", "admin"),
    "population": ("population", "pop", "pop_est"),
}
"""What a column may be called, without regard to capitals."""

Told = tuple[str, ...]


def read_shapes(path: Path, key: str, columns: Sequence[str]) -> Iterator[tuple[Told, Geometry]]:
    """The shapes of all layers of a file in degrees (WGS84), each with the text of ``columns``.

    ``key``: of the area file, for errors; ``FILE|layername=NAME`` names one layer. A column that
    is not there gives empty text. Raises AreaError where the file cannot be read, has no shape, or
    names no CRS.
    """
    with reading(f"{key} {path}"):
        file, layer = file_and_layer(path)
        require_vector_file(file, f"{key} {path}", "a vector file")
        frames = _frames(file, layer)
        found = [one for frame in frames for one in _rows(frame, path, key, columns)]
    if not found:
        raise AreaError(f"{key} {path} has no shape: give a vector file with some")
    yield from found


def read_features(path: Path, key: str) -> Iterator[tuple[dict[str, str], Geometry | None]]:
    """The features of all layers of a file: attributes as text, and the shape in degrees, if any.

    Attributes go by their names in lower case. ``key`` and errors: see `read_shapes`.
    """
    with reading(f"{key} {path}"):
        file, layer = file_and_layer(path)
        require_vector_file(file, f"{key} {path}", "a vector file")
        frames = list(_frames(file, layer))
    for frame in frames:
        others = [name for name in frame.columns if name != frame.geometry.name]
        columns = [[_text(value) for value in frame[name]] for name in others]
        names = [str(name).lower() for name in others]
        for number, shape in _placed(frame, path, key):
            yield {name: c[number] for name, c in zip(names, columns, strict=True)}, shape


def _frames(file: Path, only: str | None) -> Iterator[GeoDataFrame]:
    import geopandas

    with plainly_named(file.absolute()) as plain:
        for layer in vector_layers(plain):
            if only not in (None, layer):
                continue
            frame = geopandas.read_file(plain, layer=layer, on_invalid="fix")
            if isinstance(frame, geopandas.GeoDataFrame):
                yield frame


def _rows(
    frame: GeoDataFrame, path: Path, key: str, columns: Sequence[str]
) -> Iterator[tuple[Told, Geometry]]:
    told = [_texts(frame, name) for name in columns]
    for number, shape in _placed(frame, path, key):
        if shape is not None:
            yield tuple(column[number] for column in told), shape


def _placed(frame: GeoDataFrame, path: Path, key: str) -> Iterator[tuple[int, Geometry | None]]:
    """The shapes of a layer in degrees, by their number; None for a missing or empty one."""
    import shapely

    if frame.crs is None:
        raise AreaError(f"{key} {path} names no CRS: save it as GeoJSON in lon/lat")
    moved = frame.geometry.to_crs(4326)
    for number, shape in enumerate(moved):
        if shape is None or shape.is_empty:
            yield number, None
            continue
        if not np.isfinite(shapely.get_coordinates(shape)).all():
            raise AreaError(f"{key} {path} has coordinates that are not numbers: draw it again")
        yield number, shape


def _texts(frame: GeoDataFrame, column: str) -> list[str]:
    """A column as text, empty where it is missing."""
    lower = {str(name).lower(): name for name in frame.columns}
    name = next((lower[spelled] for spelled in _SPELLINGS[column] if spelled in lower), None)
    return [""] * len(frame) if name is None else [_text(value) for value in frame[name]]


def _text(value: Any) -> str:
    return "" if value is None or value != value else " ".join(str(value).split())
