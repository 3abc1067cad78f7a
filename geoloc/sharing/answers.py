"""An answer on disk, verified to be whole: its record, its distances, its page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import RasterioError

from ..domain import Grid
from ..errors import UsageError
from ..query.record import read_record
from ..query.session import file_digest
from ..report.outputs import RECORD, faults_of_outputs
from ..report.survey import heatmap_digest
from .pages import Page, read_page

_MOST_CELLS = 1 << 30  # 4 GiB of distances in memory

Record = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Answer:
    """``sha256`` of the record's bytes; ``heatmap`` float32 ``(y, x)``, NaN where unknown."""

    folder: Path
    record: Record
    sha256: str
    grid: Grid
    heatmap: NDArray[np.float32]
    page: Page


def read_answer(folder: Path) -> Answer:
    """Read an answer. Raises UsageError if it is not one, damaged, or mixed from several."""
    path = folder / RECORD
    record, digest = read_record(path), file_digest(path)
    _require_text(path, record)
    if faults := list(faults_of_outputs(folder, record)):
        raise UsageError(f"{folder} has been altered: {faults[0]}: run the query again")
    if not record["vector"]:
        raise UsageError(f"{path} is damaged (vector): run 'geoloc query' again")
    if (folder / "regions.tif").exists() and not (folder / "heatmap.tif").exists():
        raise UsageError(
            f"{folder} is an answer of sample points by regions, of which no copy can be made: "
            "share its map.png, or its regions.geojson, which has coordinates"
        )
    grid = _grid(path, record["grid"])
    heatmap = _heatmap(folder / "heatmap.tif", grid)
    recorded = record["summary"].get("heatmap_sha256")
    if recorded is not None and recorded != heatmap_digest(heatmap):
        raise UsageError(
            f"{folder / 'heatmap.tif'} is not the one recorded in the {RECORD} beside it: run "
            "'geoloc query' again"
        )
    return Answer(folder, record, digest, grid, heatmap, read_page(folder / "report.html"))


def _require_text(path: Path, record: Record) -> None:
    """Raise UsageError if a text has lone surrogates, which no file can contain."""
    try:
        json.dumps(record, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise UsageError(f"{path} is damaged (half a character): run the query again") from None


def _grid(path: Path, values: Mapping[str, Any]) -> Grid:
    try:
        left, _, _, top = (float(edge) for edge in values["bounds"])
        ny, nx = (int(count) for count in values["shape"])
        return Grid(str(values["crs"]), left, top, float(values["step"]), ny, nx)
    except (KeyError, TypeError, ValueError):
        raise UsageError(f"{path} is damaged (grid): run 'geoloc query' again") from None


def _heatmap(path: Path, grid: Grid) -> NDArray[np.float32]:
    try:
        with rasterio.open(path, driver="GTiff") as raster:
            if (raster.count, raster.shape, raster.dtypes[0]) != (1, grid.shape, "float32"):
                raise UsageError(f"{path} does not match its record's grid: run the query again")
            if grid.size > _MOST_CELLS:
                raise UsageError(f"{path} has {grid.size:,} cells, too many to be shared")
            return np.asarray(raster.read(1), np.float32)
    except (RasterioError, OSError):
        raise UsageError(f"{path} is missing or cannot be read: run the query again") from None
