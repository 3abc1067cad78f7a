"""Photos whose place is known: of folders by what the files claim, of lists by their rows."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import UsageError
from ..names import path_text
from .classes import IMAGE_SUFFIXES
from .file import parse_heading, parse_place
from .table import NAMES, known_columns, read_rows

_MORE = frozenset((".heif", ".hif", ".jpe", ".jfif"))
_COLUMNS: Mapping[str, tuple[str, ...]] = {
    **NAMES,
    "photo": (*NAMES["photo"], "media", "picture", "name", "title"),
}
"""Lists of events call the file what they like, and KML has only names."""


@dataclass(frozen=True)
class Tagged:
    """A photo, and what its list says of it; without a place that of the file counts."""

    photo: Path
    lonlat: tuple[float, float] | None = None
    heading: float | None = None
    date: str = ""


@dataclass(frozen=True)
class LeftOut:
    """A row or file that is no such photo: the kind of reason, and a line that names it."""

    reason: str
    line: str


def find_tagged(source: Path, photos: Path | None = None) -> Iterator[Tagged | LeftOut]:
    """The photos of a folder and all below it, or those that a list names, in order.

    A list is CSV, Parquet, GeoJSON, KML or what else `geoloc.pairs.table` reads; its files lie
    beside it, or in ``photos``. Raises UsageError for what cannot be read.
    """
    if source.is_dir():
        return map(_writable, _of_folder(source))
    if not source.is_file():
        raise UsageError(f"{source} does not exist: name a folder of photos, or a list of them")
    return map(_writable, _of_list(source, photos or source.parent))


def _writable(found: Tagged | LeftOut) -> Tagged | LeftOut:
    """Left out where the path cannot be written into a table."""
    if isinstance(found, LeftOut) or path_text(str(found.photo)) == str(found.photo):
        return found
    return LeftOut("no file", f"{path_text(str(found.photo))}: rename it to letters of Unicode")


def _of_folder(folder: Path) -> Iterator[Tagged]:
    for here, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith(".") and Path(name).suffix.lower() in IMAGE_SUFFIXES | _MORE:
                yield Tagged(Path(here) / name)


def _of_list(path: Path, folder: Path) -> Iterator[Tagged | LeftOut]:
    rows = read_rows(path)
    first = next(rows, None)
    columns = known_columns(tuple(first.cells) if first else (), _COLUMNS)
    if "photo" not in columns or not {"lon", "lat"} <= {*columns}:
        raise UsageError(f"{path}: needs a column of photo files, and lon and lat")
    for row in rows:
        cells = {key: row.cells.get(name, "") for key, name in columns.items()}
        yield _of_row(f"{path}:{row.line}", cells, folder)


def _of_row(where: str, cells: Mapping[str, str], folder: Path) -> Tagged | LeftOut:
    name = cells["photo"]
    if "://" in name:
        return LeftOut("no file", f"{where}: the photo is a web address: download it first")
    photo = folder / name
    if not name or not photo.is_file():
        return LeftOut("no file", f"{where}: {name or 'no photo named'} does not exist in {folder}")
    if not (cells["lon"] or cells["lat"]):
        return LeftOut("no place", f"{where}: {name} has no place")
    try:
        return Tagged(
            photo,
            parse_place(where, cells["lon"], cells["lat"]),
            parse_heading(where, cells.get("heading", "")),
            cells.get("date", ""),
        )
    except UsageError as error:
        return LeftOut("no place", str(error))
