"""Imagery sources by the ``kind`` of their specification: a new one is a file and a line here."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from ..area import Imagery
from .source import Source

SOURCES = {
    "geotiff": "geotiff:GeotiffSource",
    "stac": "stac:StacSource",
    "xyz": "xyz:XyzSource",
    "zarr": "zarr:ZarrSource",
}
"""Module (in this package, or a dotted name) and class, which takes the specification.

They are imported when they are asked for: their libraries are heavy.
"""


def open_source(spec: Imagery, base: Path | None = None) -> Source:
    """The source that an imagery specification describes.

    ``base`` is the folder that relative paths are meant from. Raises ImageryError where a
    path matches no file, or where what the specification names is not there.
    """
    spec = spec if base is None else spec.resolve(base)
    module, _, name = SOURCES[spec.kind].partition(":")
    where = module if "." in module else f"{__package__}.{module}"
    source: Source = getattr(import_module(where), name)(spec)
    return source
