"""An answer as it lies on the disk, certainly whole: its record, its distances, its page."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import RasterioError

from ..bulk.layout import CLUSTERS, ITEMS
from ..domain import Grid
from ..errors import UsageError
from ..query.record import read_record
from ..query.session import file_digest
from ..report.evidence import heatmap_digest
from ..report.outputs import RECORD, faults_of_outputs
from .pages import Page, read_page

_MOST_CELLS = 1 << 30  # 4 GiB of distances, which are held in memory

Record = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Answer:
    """``sha256`` of the record's bytes; ``heatmap`` float32 ``(y, x)``, NaN where not known."""

    folder: Path
    record: Record
    sha256: str
    grid: Grid
    heatmap: NDArray[np.float32]
    page: Page


def answer_folders(named: Iterable[str | Path]) -> list[Path]:
    """The folders of answers, of bulk runs and of queries that are named; each once, in order.

    Raises UsageError for one without any answer.
    """
    found: dict[Path, Path] = {}
    for one in named:
        path = Path(one)
        folders = list(_folders_of(path.parent if path.name == RECORD else path))
        if not folders:
            raise UsageError(f"{path} holds no answer: name a folder with a {RECORD}, or above it")
        for folder in folders:
            found.setdefault(folder.resolve(), folder)
    return list(found.values())


def _folders_of(path: Path) -> Iterator[Path]:
    if (path / RECORD).is_file():
        yield path
        return
    for part in (path / ITEMS, path / CLUSTERS, path):
        try:
            inside = sorted(part.iterdir()) if part.is_dir() else []
        except OSError as error:
            raise UsageError(f"{part} cannot be read: {error.strerror}") from None
        yield from (folder for folder in inside if (folder / RECORD).is_file())


def read_answer(folder: Path) -> Answer:
    """Read an answer. Raises UsageError where it is none, damaged, or of mixed files."""
    path = folder / RECORD
    record, digest = read_record(path), file_digest(path)
    _require_text(path, record)
    if faults := list(faults_of_outputs(folder, record)):
        raise UsageError(f"{folder} is not as it was written: {faults[0]}: ask again")
    if not record["vector"]:
        raise UsageError(f"{path} is damaged (vector): ask again with 'geoloc query'")
    grid = _grid(path, record["grid"])
    heatmap = _heatmap(folder / "heatmap.tif", grid)
    told = record["summary"].get("heatmap_sha256")
    if told is not None and told != heatmap_digest(heatmap):
        raise UsageError(
            f"{folder / 'heatmap.tif'} is not the one that {RECORD} beside it records: ask again "
            "with 'geoloc query'"
        )
    return Answer(folder, record, digest, grid, heatmap, read_page(folder / "report.html"))


def _require_text(path: Path, record: Record) -> None:
    """Raise UsageError where a text has half characters, which no file can hold."""
    try:
        json.dumps(record, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise UsageError(f"{path} is damaged (half a character): ask again") from None


def _grid(path: Path, told: Mapping[str, Any]) -> Grid:
    try:
        left, _, _, top = (float(edge) for edge in told["bounds"])
        ny, nx = (int(count) for count in told["shape"])
        return Grid(str(told["crs"]), left, top, float(told["step"]), ny, nx)
    except (KeyError, TypeError, ValueError):
        raise UsageError(f"{path} is damaged (grid): ask again with 'geoloc query'") from None


def _heatmap(path: Path, grid: Grid) -> NDArray[np.float32]:
    try:
        with rasterio.open(path, driver="GTiff") as raster:
            if (raster.count, raster.shape, raster.dtypes[0]) != (1, grid.shape, "float32"):
                raise UsageError(f"{path} is not of the grid of its record: ask again")
            if grid.size > _MOST_CELLS:
                raise UsageError(f"{path} has {grid.size:,} cells, too many to be shared")
            return np.asarray(raster.read(1), np.float32)
    except (RasterioError, OSError):
        raise UsageError(f"{path} is missing or cannot be read: ask again") from None
