"""An answer on disk, verified to be whole: its record, its distances, its page."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.errors import RasterioError

from ..arrays import F32
from ..candidates.regions import RankedRegions
from ..domain import Grid
from ..errors import UsageError
from ..query.record import read_record
from ..query.session import file_digest
from ..report.outputs import RECORD, faults_of_outputs
from ..report.region_files import BANDS
from ..report.survey import heatmap_digest
from ..report.tandem_files import heatmap_files
from .pages import Page, read_page
from .regions import is_of_points, read_regions
from .tandem import parts_of

_MOST_CELLS = 1 << 30  # 4 GiB of distances in memory

Record = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Answer:
    """``sha256`` of the record's bytes; ``heatmap`` float32 ``(y, x)``, NaN where unknown.

    ``regions``: of an answer of points, whose ``grid`` and ``heatmap`` are those of its regions.
    ``alone``: of several models, what each of them answers by itself, without a page.
    """

    folder: Path
    record: Record
    sha256: str
    grid: Grid
    heatmap: F32
    page: Page
    regions: RankedRegions | None = None
    alone: tuple[Answer, ...] = ()


def read_answer(folder: Path) -> Answer:
    """Read an answer. Raises UsageError if it is not one, damaged, or mixed from several."""
    path = folder / RECORD
    record, digest = read_record(path), file_digest(path)
    _require_text(path, record)
    if faults := list(faults_of_outputs(folder, record)):
        raise UsageError(f"{folder} has been altered: {faults[0]}: run the query again")
    if not record["vector"]:
        raise UsageError(f"{path} is damaged (vector): run 'geoloc query' again")
    grid, of_points = _grid(path, record["grid"]), is_of_points(record)
    raster = folder / ("regions.tif" if of_points else "heatmap.tif")
    heatmap = _heatmap(raster, grid, record["summary"], len(BANDS) if of_points else 1)
    regions = read_regions(folder, record, grid) if of_points else None
    page = read_page(folder / "report.html")
    alone = tuple(_alone(folder, record, digest, grid)) if "tandem" in record else ()
    return Answer(folder, record, digest, grid, heatmap, page, regions, alone)


def _alone(folder: Path, record: Record, digest: str, grid: Grid) -> Iterator[Answer]:
    """What each of several models answers by itself."""
    parts = parts_of(record)
    files = heatmap_files(one["name"] for one in record["tandem"]["models"])
    for part, file in zip(parts, files, strict=True):
        heatmap = _heatmap(folder / file, grid, part["summary"])
        yield Answer(folder, part, digest, grid, heatmap, Page())


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


def _heatmap(path: Path, grid: Grid, summary: Record, bands: int = 1) -> F32:
    """The distances, certainly those of the record."""
    heatmap = _values(path, grid, bands)
    recorded = summary.get("heatmap_sha256")
    if recorded is not None and recorded != heatmap_digest(heatmap):
        raise UsageError(
            f"{path} is not the one recorded in the {RECORD} beside it: run 'geoloc query' again"
        )
    return heatmap


def _values(path: Path, grid: Grid, bands: int) -> F32:
    try:
        with rasterio.open(path, driver="GTiff") as raster:
            if (raster.count, raster.shape, raster.dtypes[0]) != (bands, grid.shape, "float32"):
                raise UsageError(f"{path} does not match its record's grid: run the query again")
            if grid.size > _MOST_CELLS:
                raise UsageError(f"{path} has {grid.size:,} cells, too many to be shared")
            return np.asarray(raster.read(1), np.float32)
    except (RasterioError, OSError):
        raise UsageError(f"{path} is missing or cannot be read: run the query again") from None
