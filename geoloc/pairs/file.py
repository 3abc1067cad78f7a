"""Pairs of a ground photo and an overhead image of the same place, or of the same class.

A pairs file is a CSV with a header:

    photo      path of the ground photo
    overhead   path of an image chip centred on the place; or instead of it
    lon, lat   degrees (WGS84): the chip is then cut from an imagery source
    split      optional: train, valid or test (train without this column)
    group      optional: rows of one group are interchangeable (class-level pairs): never each
               other's negatives, and a chip may be shown any photo of its group

Relative paths start at the file's own folder.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast, get_args

from ..errors import OutputError, UsageError
from ..files.whole import whole_file

Split = Literal["train", "valid", "test"]
COLUMNS = ("photo", "overhead", "lon", "lat", "split", "group")


@dataclass(frozen=True)
class Pair:
    """One row: exactly one of ``overhead`` (a chip) and ``lonlat`` (degrees) is given."""

    photo: Path
    overhead: Path | None
    lonlat: tuple[float, float] | None
    split: Split = "train"
    group: str = ""


def read_pairs(path: str | Path) -> tuple[Pair, ...]:
    """The rows of a pairs file, in its order.

    Raises UsageError, naming the line, for a missing file, an unknown or missing column, an unknown
    split or an invalid coordinate.
    """
    path = Path(path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            _check_columns(path, reader.fieldnames or ())
            pairs = tuple(_parse(path, reader.line_num, row) for row in reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path}: cannot read this pairs file ({error}): give a CSV") from error
    if not pairs:
        raise UsageError(f"{path}: has no pairs: add rows below the header")
    return pairs


def _check_columns(path: Path, names: Sequence[str]) -> None:
    unknown = sorted(set(names) - set(COLUMNS))
    if unknown:
        raise UsageError(f"{path}: unknown column {unknown[0]!r}: use {', '.join(COLUMNS)}")
    if "photo" not in names or not ("overhead" in names or {"lon", "lat"} <= set(names)):
        raise UsageError(f"{path}: needs the column photo, and overhead or lon and lat")


def _parse(path: Path, line: int, row: Mapping[str, str | None]) -> Pair:
    """One checked row; empty cells count as absent."""
    where = f"{path}:{line}"
    cells = {key: (value or "").strip() for key, value in row.items() if key}
    if not cells["photo"]:
        raise UsageError(f"{where}: photo is empty: give its path")
    chip = cells.get("overhead", "")
    has_place = bool(cells.get("lon") or cells.get("lat"))
    if bool(chip) == has_place:
        raise UsageError(f"{where}: give either overhead, or lon and lat")
    return Pair(
        photo=_existing(path, where, cells["photo"]),
        overhead=_existing(path, where, chip) if chip else None,
        lonlat=_place(where, cells) if has_place else None,
        split=_split(where, cells.get("split", "")),
        group=cells.get("group", ""),
    )


def _existing(path: Path, where: str, name: str) -> Path:
    file = path.parent / name
    if not file.is_file():
        raise UsageError(f"{where}: {name} does not exist: paths start at {path.parent}")
    return file


def _place(where: str, cells: Mapping[str, str]) -> tuple[float, float]:
    text = cells.get("lon", ""), cells.get("lat", "")
    try:
        lon, lat = float(text[0]), float(text[1])
    except ValueError:
        lon = lat = math.nan
    if not (abs(lon) <= 180 and abs(lat) <= 90):  # also refuses NaN
        raise UsageError(f"{where}: lon {text[0]!r}, lat {text[1]!r} are not degrees (WGS84)")
    return lon, lat


def _split(where: str, text: str) -> Split:
    if text and text not in get_args(Split):
        raise UsageError(f"{where}: unknown split {text!r}: use {', '.join(get_args(Split))}")
    return cast(Split, text or "train")


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
    return [relative(pair.photo), relative(pair.overhead), lon, lat, pair.split, pair.group]
