"""What a query writes, by the name of the file: a new output is a file and a line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

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

REGION_OUTPUTS = {
    "regions.tif": ".region_files:write_region_raster",
    "regions.geojson": ".region_files:write_region_geojson",
    "regions.gpkg": ".region_files:write_region_package",
    "map.png": ".region_map:write_region_map",
}
"""What is written besides of an answer by regions."""

_PAGE = ".region_page:write_region_page"

_BY_MODEL = ".tandem_files:writers"


def outputs_of(result: QueryResult) -> dict[str, str]:
    """The outputs of an answer.

    Of cells: `OUTPUTS`, and where regions were asked for `REGION_OUTPUTS` and ``regions.html``.
    Of points: the candidates and `REGION_OUTPUTS`; ``report.html`` is the page of the regions.
    """
    if result.of_points:
        listed = {name: OUTPUTS[name] for name in OUTPUTS if name.startswith("candidates.")}
        return {**listed, **REGION_OUTPUTS, "report.html": _PAGE}
    if result.regions is None:
        return OUTPUTS
    return {**OUTPUTS, **REGION_OUTPUTS, "regions.html": _PAGE}


def writers_of(result: QueryResult) -> dict[str, Writer]:
    """Every file of an answer but its record, in the order of writing: `outputs_of`, and of
    several models what each of them says."""
    outputs = outputs_of(result)
    writers = {name: open_writer(name, outputs) for name in outputs}
    return writers if result.tandem is None else writers | _named(_BY_MODEL)(result.tandem)


def open_writer(name: str, outputs: Mapping[str, str] = OUTPUTS) -> Writer:
    """The writer of an output, one of ``outputs``."""
    writer: Writer = _named(outputs[name])
    return writer


def _named(text: str) -> Any:
    """The function that a line of a registry names."""
    module, _, function = text.partition(":")
    return getattr(import_module(module, __package__), function)
