"""What a query writes, by the name of the file: a new output is a file and a line here."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .result import QueryResult
    from .views import Views

    Writer = Callable[[QueryResult, Path, Views], None]
    """Writes one file of an answer; the views are what is seen of its imagery."""

OUTPUTS = {
    "heatmap.tif": ".raster:write_heatmap",
    "heatmap.qml": ".qgis:write_style",
    "heatmap_colors.tif": ".raster:write_colors",
    "heatmap.png": ".picture:write_picture",
    "candidates.geojson": ".vector:write_geojson",
    "candidates.csv": ".table:write_table",
    "candidates.kml": ".earth:write_kml",
    "candidates.kmz": ".earth:write_kmz",
    "report.html": ".html:write_page",
}
"""Module (in this package where it begins with a dot) and function, a ``Writer``.

Written in this order; the record, which names the SHA-256 of each, comes last.
"""


def open_writer(name: str) -> Writer:
    """The writer of an output."""
    module, _, function = OUTPUTS[name].partition(":")
    writer: Writer = getattr(import_module(module, __package__), function)
    return writer
