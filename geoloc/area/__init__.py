"""The area of interest: what to cover, from which imagery, with which model, into which cube."""

from __future__ import annotations

from .file import Area, load_area, load_areas, names_models
from .imagery import (
    Bounds,
    GeotiffImagery,
    Imagery,
    LayeredImagery,
    StacImagery,
    XyzImagery,
    ZarrImagery,
    portable,
    single_layers,
)
from .map import MapFiles, MapLayers, NamedPlaces, read_border, read_layers
from .polygon import holds_the_same, on_globe, polygon_file, read_polygon

__all__ = [
    "Area",
    "Bounds",
    "GeotiffImagery",
    "Imagery",
    "LayeredImagery",
    "MapFiles",
    "MapLayers",
    "NamedPlaces",
    "StacImagery",
    "XyzImagery",
    "ZarrImagery",
    "holds_the_same",
    "load_area",
    "load_areas",
    "names_models",
    "on_globe",
    "polygon_file",
    "portable",
    "read_border",
    "read_layers",
    "read_polygon",
    "single_layers",
]
