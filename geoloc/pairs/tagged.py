"""Photos whose place is known: of folders by what the files claim, of lists by their rows."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import UsageError
from ..names import path_text
from ..points.places import parse_place
from .classes import IMAGE_SUFFIXES
from .file import parse_heading
from .table import NAMES, known_columns, read_rows

_MORE = frozenset((".heif", ".hif", ".jpe", ".jfif"))
_COLUMNS: Mapping[str, tuple[str, ...]] = {
    **NAMES,
    "photo": (*NAMES["photo"], "media", "picture", "name", "title"),
    "description": ("description",),
}
"""Lists of events call the file what they like; KML has names, and descriptions that show it."""

_SHOWN = re.compile(r"""<img[^>]*\ssrc\s*=\s*["']([^"']+)["']""", re.IGNORECASE)


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
    if not {"photo", "description"} & {*columns} or not {"lon", "lat"} <= {*columns}:
        raise UsageError(f"{path}: needs a column of photo files, and lon and lat")
    for row in rows:
        cells = {key: row.cells.get(columns.get(key, ""), "") for key in _COLUMNS}
        yield _of_row(f"{path}:{row.line}", cells, folder)


def _of_row(where: str, cells: Mapping[str, str], folder: Path) -> Tagged | LeftOut:
    names = [cells["photo"], *_SHOWN.findall(cells["description"])]
    there = (name for name in names if name and "://" not in name and (folder / name).is_file())
    name = next(there, None)
    if name is None:
        return LeftOut("no file", f"{where}: {_missing(names, folder)}")
    if not (folder / name).resolve().is_relative_to(folder.resolve()):
        told = f"{where}: {name} lies outside of {folder}: name a folder that holds all photos"
        return LeftOut("no file", told)
    if not (cells["lon"] or cells["lat"]):
        return LeftOut("no place", f"{where}: {name} has no place")
    try:
        place = parse_place(where, cells["lon"], cells["lat"])
        heading = parse_heading(where, cells["heading"])
    except UsageError as error:
        return LeftOut("bad row", str(error))
    if place == (0.0, 0.0):
        return LeftOut("no place", f"{where}: {name} is at 0, 0, which stands for an unknown place")
    return Tagged(folder / name, place, heading, cells["date"])


def _missing(names: Sequence[str], folder: Path) -> str:
    told = next(filter(None, names), "")
    if "://" in told:
        return "the photo is a web address: download it first"
    return f"{told or 'no photo named'} does not exist in {folder}"
