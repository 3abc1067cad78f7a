"""Tables of any kind as rows of text: CSV, TSV, Parquet, GeoParquet, GeoJSON, KML, GeoPackage.

What a column means is known by its name, whatever its capitals: `NAMES` has the spellings.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..area.map import COLUMNS as PLACE_NAMES
from ..errors import AreaError, UsageError, one_line
from ..names import repeated_name

if TYPE_CHECKING:
    from shapely import Geometry

NAMES: Mapping[str, tuple[str, ...]] = {
    "photo": (
        "photo", "ground", "surface", "photo_path", "ground_path", "surface_path", "image",
        "image_path", "file", "filename", "file_name", "path",
    ),
    "overhead": ("overhead", "aerial", "satellite", "overhead_path", "aerial_path"),
    "lon": PLACE_NAMES["lon"],
    "lat": PLACE_NAMES["lat"],
    "split": ("split", "subset", "partition"),
    "group": ("group",),
    "heading": ("heading", "azimuth", "bearing", "yaw", "compass_angle"),
    "date": ("date", "datetime", "time", "taken", "timestamp", "captured_at"),
}  # fmt: skip
"""What the columns of pairs may be called, the likeliest spelling first."""

_PARQUET = (".parquet", ".geoparquet", ".pq")
_VECTOR = (".geojson", ".json", ".kml", ".kmz", ".gpkg", ".fgb", ".shp")
_SEPARATORS = ",;\t"
_BATCH = 4096  # rows of a Parquet file in memory


@dataclass(frozen=True)
class Row:
    """``cells``: text by column as the file names it, lower case; ``line``: where it stands."""

    line: int
    cells: Mapping[str, str]


def read_rows(path: Path) -> Iterator[Row]:
    """The rows of a table, one by one; a geometry becomes the columns ``lon`` and ``lat``.

    The first row has every column of the file. Of vector files the middle of each shape counts, in
    degrees. Raises UsageError for what cannot be read.
    """
    suffix = path.suffix.lower()
    if suffix in _PARQUET:
        return _parquet_rows(path)
    return _vector_rows(path) if suffix in _VECTOR else _csv_rows(path)


def known_columns(
    names: Sequence[str], wanted: Mapping[str, tuple[str, ...]] = NAMES
) -> Mapping[str, str]:
    """Which column of a file has what: its name by that of `NAMES`."""
    lower = [name.strip().lower() for name in names]
    found = {key: next((s for s in spelt if s in lower), None) for key, spelt in wanted.items()}
    return {key: name for key, name in found.items() if name is not None}


def _csv_rows(path: Path) -> Iterator[Row]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            head = file.readline()
            file.seek(0)
            reader = csv.reader(file, delimiter=max(_SEPARATORS, key=head.count))
            names = [name.strip().lower() for name in next(reader, [])]
            if not any(names):
                raise UsageError(f"{path} is empty: write a header and rows below it")
            if twice := repeated_name(names):
                raise UsageError(f"{path} has the column {twice!r} twice: keep one of them")
            yield Row(0, dict.fromkeys(names, ""))
            for row in reader:
                if any(map(str.strip, row)):
                    yield Row(reader.line_num, _cells(path, reader.line_num, names, row))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(
            f"{path}: cannot read this table ({_reason(error)}): give a CSV, Parquet or GeoJSON"
        ) from None


def _cells(path: Path, line: int, names: Sequence[str], row: list[str]) -> dict[str, str]:
    while len(row) > len(names) and not row[-1].strip():
        row.pop()  # a separator at the end of the line
    if len(row) > len(names):
        raise UsageError(f"{path}:{line}: has {len(row)} values for {len(names)} columns")
    padded = [*row, *[""] * (len(names) - len(row))]
    return {name: value.strip() for name, value in zip(names, padded, strict=True) if name}


def _parquet_rows(path: Path) -> Iterator[Row]:
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            names = [name for name in file.schema_arrow.names if name != "geometry"]
            places = ["lon", "lat"] if "geometry" in file.schema_arrow.names else []
            yield Row(0, dict.fromkeys([*(n.lower() for n in names), *places], ""))
            line = 0
            for batch in file.iter_batches(_BATCH):
                for record in batch.to_pylist():
                    line += 1
                    yield Row(line, _record(record))
    except (OSError, pyarrow.ArrowException) as error:
        raise UsageError(f"{path}: cannot read this Parquet file ({one_line(error)})") from None


def _record(record: Mapping[str, Any]) -> dict[str, str]:
    cells = {name.lower(): _text(v) for name, v in record.items() if name != "geometry"}
    return cells | _middle(record.get("geometry"))


def _middle(geometry: Any) -> dict[str, str]:
    """lon and lat of a shape in WKB, as GeoParquet has it."""
    import shapely

    if not isinstance(geometry, bytes):
        return {}
    point = shapely.from_wkb(geometry, on_invalid="ignore")
    if point is None or point.is_empty:
        return {}
    return _lonlat(point)


def _lonlat(shape: Geometry) -> dict[str, str]:
    point = shape.representative_point()
    return {"lon": repr(point.x), "lat": repr(point.y)}


def _vector_rows(path: Path) -> Iterator[Row]:
    from ..area.shapes import read_features

    try:
        for line, (cells, shape) in enumerate(read_features(path, "places"), 1):
            if line == 1:
                yield Row(0, dict.fromkeys([*cells, "lon", "lat"], ""))
            yield Row(line, cells if shape is None else {**cells, **_lonlat(shape)})
    except AreaError as error:
        raise UsageError(str(error)) from None


def _text(value: Any) -> str:
    return "" if value is None or value != value else str(value).strip()


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "it is not in UTF-8: save it so"
    return str(error.strerror if isinstance(error, OSError) else one_line(error))
