"""geoloc: where in a country a ground photo may have been taken, by overhead imagery.

The public names, each imported when it is first used::

    load_area        an area file -> Area: where, which imagery, which model
    load_areas       the same where it names several models: its parts are areas of one each
    build_cube       an area's feature cube, or what is still missing of it
    open_cube        a cube as an xarray Dataset: features by name, lazily decoded
    refresh_cube     the blocks whose imagery has changed, as a new generation
    update_cube      both: what is missing, and what has changed
    query_photos     photos -> ranked places, and their reports
    search_scene     a scene class by name -> ranked places
    describe_photos  photos -> their scene classes
    describe_place   a place of a cube -> its scene classes
    run_bulk         a folder of photos, videos and chats -> answers
    QueryOptions     the options of all of these
    repeat_query     a recorded answer, asked again and compared
    GeolocError      the root of all errors that geoloc raises on purpose

Other modules are reached by their paths; ARCHITECTURE.md says what lies where.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .area import Area, load_area, load_areas
    from .bulk import run_bulk
    from .cube.opening import open_cube
    from .errors import GeolocError
    from .jobs.build import build_cube
    from .jobs.refresh import refresh_cube
    from .jobs.update import update_cube
    from .query import (
        QueryOptions,
        describe_photos,
        describe_place,
        query_photos,
        repeat_query,
        search_scene,
    )

__all__ = [
    "Area",
    "GeolocError",
    "QueryOptions",
    "__version__",
    "build_cube",
    "describe_photos",
    "describe_place",
    "load_area",
    "load_areas",
    "open_cube",
    "query_photos",
    "refresh_cube",
    "repeat_query",
    "run_bulk",
    "search_scene",
    "update_cube",
]

__version__ = "0.1.0"

_HOMES = {
    "area": ("Area", "load_area", "load_areas"),
    "bulk": ("run_bulk",),
    "cube.opening": ("open_cube",),
    "errors": ("GeolocError",),
    "jobs.build": ("build_cube",),
    "jobs.refresh": ("refresh_cube",),
    "jobs.update": ("update_cube",),
    "query": (
        "QueryOptions", "describe_photos", "describe_place", "query_photos", "repeat_query",
        "search_scene",
    ),
}  # fmt: skip
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOME_OF[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
