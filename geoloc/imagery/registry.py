"""Imagery sources by the ``kind`` of their specification: a new one is a file and a line here."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from ..area import Imagery
from ..area.imagery import FURTHER, OriginImagery
from .source import Source

SOURCES = {
    "geotiff": ".geotiff:GeotiffSource",
    "stac": ".stac:StacSource",
    "xyz": ".xyz:XyzSource",
    "zarr": ".cached.source:ZarrSource",
    "sandbox": "geoloc.sandbox.country.source:SandboxSource",
    "layers": ".layers:LayeredSource",
}
"""Module (in this package if it begins with a dot) and class, which takes the specification.

They are imported on demand: their libraries are heavy.
"""


def register_source(kind: str, spec: type[OriginImagery], where: str) -> None:
    """Let area files name imagery of another ``kind``.

    ``spec``: what area files say of it, with a field ``kind``; ``where``: ``module:Class`` of
    the `Source` that takes such a specification. Workers on other machines have to do the same.
    """
    FURTHER[kind], SOURCES[kind] = spec, where


def open_source(spec: Imagery, base: Path | None = None) -> Source:
    """The source that an imagery specification describes.

    ``base``: the folder for relative paths. Raises ImageryError if a path matches no file or the
    specification names something that does not exist.
    """
    spec = spec if base is None else spec.resolve(base)
    module, _, name = SOURCES[spec.kind].partition(":")
    source: Source = getattr(import_module(module, __package__), name)(spec)
    return source
