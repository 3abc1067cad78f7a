"""The pairs file: photos and overhead images of the same place, or of the same class.

A table with a header: CSV or TSV, or Parquet and GeoParquet with the same columns:

    photo      path of the ground photo
    overhead   path of an image chip centred on the place; or, or also
    lon, lat   degrees (WGS84): without a chip, it is then cut from an imagery source
    split      optional: train, valid or test (train without this column)
    group      optional: rows of one group are interchangeable (class-level pairs): never each
               other's negatives, and a chip may be shown any photo of its group
    heading    optional: where the camera looked, degrees clockwise from north
    date       optional: when the photo was taken, ISO 8601

The columns may have other names (``ground``, ``aerial``, ``latitude`` …, `geoloc.pairs.table`).
Relative paths start at the file's own folder.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from ..errors import OutputError, UsageError
from ..files.whole import whole_file
from ..points.places import parse_place
from .table import Row, known_columns, read_rows

Split = Literal["train", "valid", "test"]
COLUMNS = ("photo", "overhead", "lon", "lat", "split", "group", "heading", "date")
_SPLITS: Mapping[str, Split] = {
    "train": "train", "training": "train", "valid": "valid", "val": "valid",
    "validation": "valid", "test": "test", "testing": "test",
}  # fmt: skip


@dataclass(frozen=True)
class Pair:
    """One row: ``overhead`` (a chip) or ``lonlat`` (degrees) is given, or both.

    heading: degrees clockwise from north, None where it is unknown; date: as it was written.
    """

    photo: Path
    overhead: Path | None
    lonlat: tuple[float, float] | None
    split: Split = "train"
    group: str = ""
    heading: float | None = None
    date: str = ""


def read_pairs(path: str | Path) -> tuple[Pair, ...]:
    """The rows of a pairs file, in its order.

    Raises UsageError, naming the line, for a missing file, an unknown or missing column, an unknown
    split or an invalid coordinate.
    """
    pairs = tuple(iter_pairs(path))
    if not pairs:
        raise UsageError(f"{path}: has no pairs: add rows below the header")
    return pairs


def iter_pairs(path: str | Path) -> Iterator[Pair]:
    """`read_pairs`, one by one, for files that do not fit into memory."""
    path = Path(path)
    for row, columns in rows_of_pairs(path):
        where = f"{path}:{row.line}"
        pair = parse_pair(path.parent, where, columns, row)
        for file in (pair.photo, pair.overhead):
            if file is not None and not file.is_file():
                name = file.relative_to(path.parent) if file.is_relative_to(path.parent) else file
                raise UsageError(f"{where}: {name} does not exist: paths start at {path.parent}")
        yield pair


def rows_of_pairs(path: Path) -> Iterator[tuple[Row, Mapping[str, str]]]:
    """The rows of a pairs file unchecked, and which of its columns has what.

    Raises UsageError for a file that cannot be read, and an unknown or missing column.
    """
    rows = read_rows(path)
    columns = _checked_columns(path, tuple(next(rows, Row(0, {})).cells))
    for row in rows:
        yield row, columns


def _checked_columns(path: Path, names: Sequence[str]) -> Mapping[str, str]:
    columns = known_columns(names)
    unknown = sorted(set(names) - set(columns.values()))
    if unknown:
        raise UsageError(
            f"{path}: unknown column {unknown[0]!r}: use {', '.join(COLUMNS)}, or take the table "
            "over with 'geoloc pairs import table'"
        )
    if "photo" not in columns or not ("overhead" in columns or {"lon", "lat"} <= set(columns)):
        raise UsageError(f"{path}: needs the column photo, and overhead or lon and lat")
    return columns


def parse_pair(folder: Path, where: str, columns: Mapping[str, str], row: Row) -> Pair:
    """One checked row, whose files need not exist; empty cells count as absent."""
    cells = {key: row.cells.get(name, "") for key, name in columns.items()}
    if not cells["photo"]:
        raise UsageError(f"{where}: photo is empty: give its path")
    chip = cells.get("overhead", "")
    lon, lat = cells.get("lon", ""), cells.get("lat", "")
    if not (chip or lon or lat):
        raise UsageError(f"{where}: give overhead, or lon and lat, or both")
    return Pair(
        photo=folder / cells["photo"],
        overhead=folder / chip if chip else None,
        lonlat=parse_place(where, lon, lat) if lon or lat else None,
        split=parse_split(where, cells.get("split", "")),
        group=cells.get("group", ""),
        heading=parse_heading(where, cells.get("heading", "")),
        date=cells.get("date", ""),
    )


def parse_split(where: str, text: str) -> Split:
    """A split of text, "train" where that is empty. Raises UsageError for an unknown one."""
    split = _SPLITS.get(text.lower() or "train")
    if split is None:
        raise UsageError(f"{where}: unknown split {text!r}: use {', '.join(get_args(Split))}")
    return split


def parse_heading(where: str, text: str) -> float | None:
    """Degrees clockwise from north, 0 to 360; None where it is empty. Raises UsageError."""
    if not text:
        return None
    try:
        heading = float(text)
    except ValueError:
        heading = math.nan
    if not abs(heading) <= 360:
        raise UsageError(f"{where}: heading {text!r} is not degrees clockwise from north")
    return heading % 360


def write_pairs(pairs: Iterable[Pair], path: str | Path) -> Path:
    """Write a pairs file; paths below its folder become relative to it."""
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as part, part.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(COLUMNS)
            writer.writerows(_row(pair, path.parent.resolve()) for pair in pairs)
    except OSError as error:
        raise OutputError(f"{path}: cannot write the pairs ({error.strerror})") from error
    return path


def _row(pair: Pair, folder: Path) -> list[str]:
    def relative(file: Path | None) -> str:
        if file is None:
            return ""
        file = file.resolve()
        return str(file.relative_to(folder) if file.is_relative_to(folder) else file)

    lon, lat = (repr(value) for value in pair.lonlat) if pair.lonlat else ("", "")
    heading = "" if pair.heading is None else repr(pair.heading)
    files = relative(pair.photo), relative(pair.overhead)
    return [*files, lon, lat, pair.split, pair.group, heading, pair.date]
