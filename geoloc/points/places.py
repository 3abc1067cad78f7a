"""Points of one's own: a CSV with a latitude and a longitude in each row."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..area.map import COLUMNS as NAMES
from ..arrays import F64
from ..errors import UsageError
from ..names import repeated_name
from .file import COLUMNS, HIGHWAY, NO_WAY, WAY

_SEPARATORS = ",;\t"
_WHOLE = re.compile(r"[+-]?(0|[1-9]\d*)")
_DECIMAL = re.compile(r"[+-]?((0|[1-9]\d*)(\.\d*)?|\.\d+|nan|inf)(e[+-]\d+)?", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class Places:
    """coordinates: float64 ``(n, 2)``, longitude and latitude; attributes: the other columns."""

    coordinates: F64
    attributes: dict[str, NDArray[Any]]


def read_places(path: Path) -> Places:
    """The rows of a CSV, in its order; numbers become numbers where a whole column is.

    The columns lat and lon (or latitude, longitude, lng, x, y) are in degrees. Raises UsageError,
    naming the line.
    """
    header, rows = _rows(path)
    if twice := repeated_name(header):
        raise UsageError(f"{path} has the column {twice!r} twice: keep one of them")
    names = [name.strip().lower() for name in header]
    lat, lon = (_column(path, names, NAMES[key]) for key in ("lat", "lon"))
    coordinates = [parse_place(f"{path}:{line}", row[lon], row[lat]) for line, row in rows]
    if not coordinates:
        raise UsageError(f"{path} has no places: add rows below the header")
    other = [k for k, name in enumerate(names) if k not in (lat, lon) and name]
    columns = {header[k].strip(): [row[k] for _, row in rows] for k in other}
    return Places(np.array(coordinates), _attributes(columns, len(rows)))


def _rows(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The header, and each row with its line, as long as the header."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            first = file.readline()
            file.seek(0)
            separator = max(_SEPARATORS, key=first.count)
            reader = csv.reader(file, delimiter=separator)
            header = next(reader, [])
            rows = [(reader.line_num, row) for row in reader if any(map(str.strip, row))]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"{path}: cannot read these places ({reason}): give a CSV") from None
    for line, row in rows:
        if len(row) != len(header):
            raise UsageError(f"{path}:{line}: has {len(row)} values for {len(header)} columns")
    return header, rows


def _column(path: Path, names: Sequence[str], known: Sequence[str]) -> int:
    columns = [names.index(name) for name in known if name in names]
    if not columns:
        raise UsageError(f"{path} has no column {known[0]}: name lat and lon in the first row")
    return columns[0]


def parse_place(where: str, lon: str, lat: str) -> tuple[float, float]:
    """Degrees of text. Raises UsageError, which names ``where``, for what is no place on Earth."""
    try:
        place = float(lon), float(lat)
    except ValueError:
        place = math.nan, math.nan
    if "_" in lon + lat:  # Python's own way to write thousands
        place = math.nan, math.nan
    if not (abs(place[0]) <= 180 and abs(place[1]) <= 90):  # also refuses NaN
        raise UsageError(f"{where}: lon {lon!r}, lat {lat!r} are not degrees (WGS84)")
    return place


def _attributes(columns: dict[str, list[str]], count: int) -> dict[str, NDArray[Any]]:
    """Columns of the file by their names; those of points.parquet are kept as its own are."""
    known = {name: _typed(values) for name, values in columns.items() if name not in COLUMNS}
    ways = _typed(columns[WAY]) if WAY in columns else np.empty(0)
    if ways.dtype != np.int64:
        ways = np.full(count, NO_WAY, np.int64)
    return {WAY: ways, HIGHWAY: np.array(columns.get(HIGHWAY, [""] * count), np.str_), **known}


def _typed(values: list[str]) -> NDArray[Any]:
    """Whole numbers, numbers, or text: what all of a column is.

    Codes such as 00123, 1_000 and 12e4 stay text.
    """
    for kind, form in ((int, _WHOLE), (float, _DECIMAL)):
        if all(map(form.fullmatch, map(str.strip, values))):
            with suppress(OverflowError):
                return np.array([kind(value) for value in values], np.dtype(kind))
    return np.array(values, np.str_)
