"""All files of one answer, in one folder."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import OutputError
from ..names import path_text
from .earth import write_kml, write_kmz
from .evidence import write_evidence
from .html import write_page
from .picture import write_picture
from .qgis import write_style
from .raster import write_colors, write_heatmap
from .table import write_table
from .vector import write_geojson
from .views import look

if TYPE_CHECKING:
    from ..imagery.source import Source
    from ..overview import Overview
    from .result import QueryResult


def write_report(
    result: QueryResult,
    out: Path,
    source: Source | None = None,
    overview: Overview | None = None,
    *,
    sharp: bool = True,
) -> Path:
    """Write all files of an answer, ``query.json`` last.

    heatmap.tif with its style heatmap.qml, heatmap_colors.tif, heatmap.png; candidates.geojson,
    .csv, .kml, .kmz; report.html; query.json.

    ``source`` gives the map its imagery and the candidates their chips; ``overview`` is the
    cube's, which saves reading the area again. ``sharp``: the map can be zoomed, for two to
    three megabytes a page. Returns the path of report.html. Raises OutputError where ``out``
    cannot be written.
    """
    check_writable(out)
    with _output_errors(out):
        views = look(result, source, overview, sharp=sharp)
        write_heatmap(result.heatmap, result.grid, out / "heatmap.tif")
        write_style(result, out / "heatmap.qml")
        write_colors(result, out / "heatmap_colors.tif")
        write_picture(result, out / "heatmap.png", next(iter(views.base), None))
        write_geojson(result, out / "candidates.geojson")
        write_table(result, out / "candidates.csv")
        write_kml(result, out / "candidates.kml")
        write_kmz(result, out / "candidates.kmz")
        page = write_page(result, out / "report.html", views=views)
        write_evidence(result, out / "query.json")  # last: where it is, the answer is whole
    return page


def check_writable(out: Path) -> None:
    """Make the folder and try it, before long work; raises OutputError with the reason."""
    if (shown := path_text(out)) != str(out):
        raise OutputError(f"cannot write to {shown}: its name is no text: choose another --out")
    with _output_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=out).close()  # without a name: nothing stays if killed here


@contextmanager
def _output_errors(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(f"cannot write to {out}: {reason}; choose another --out") from error
