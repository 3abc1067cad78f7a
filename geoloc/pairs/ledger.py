"""What became of each photo of a build: on disk after every photo, so that a kill loses none."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import OutputError, SpecMismatchError, one_line
from ..photos.likeness import Signature
from .file import Pair

LEDGER = "build.sqlite"
KEPT = "kept"
_COLUMNS = "outcome, line, lon, lat, heading, date, chip, hash, color"


@dataclass(frozen=True, eq=False)
class Outcome:
    """What became of a photo: `KEPT` or the reason it was left out, and a line where that is not
    for its place. signature: of a kept one; chip: its file name."""

    outcome: str
    line: str = ""
    lonlat: tuple[float, float] | None = None
    heading: float | None = None
    date: str = ""
    chip: str = ""
    signature: Signature | None = None


class BuildLedger:
    """The outcomes of a folder that pairs are built in; use it in a ``with``.

    ``facts``: all that the chips depend on. Raises SpecMismatchError for a folder that was begun
    with others, OutputError where it cannot be written.
    """

    def __init__(self, folder: Path, facts: dict[str, Any]) -> None:
        self._folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._base = sqlite3.connect(folder / LEDGER)
            self._begin(json.dumps(facts, sort_keys=True))
        except sqlite3.DatabaseError as error:
            raise OutputError(
                f"{folder / LEDGER} is damaged or not writable ({one_line(error)}): remove it"
            ) from None
        except OSError as error:
            raise OutputError(f"{folder}: cannot be written ({error.strerror})") from None

    def __enter__(self) -> BuildLedger:
        return self

    def __exit__(self, *_: object) -> None:
        self._base.close()

    def _begin(self, facts: str) -> None:
        self._base.executescript(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;"
            "CREATE TABLE IF NOT EXISTS facts (text TEXT);"
            "CREATE TABLE IF NOT EXISTS photo (name TEXT PRIMARY KEY, stamp TEXT, outcome TEXT,"
            " line TEXT, lon REAL, lat REAL, heading REAL, date TEXT, chip TEXT, hash BLOB,"
            " color BLOB, run INTEGER);"
        )
        (last,) = self._base.execute("SELECT COALESCE(MAX(run), 0) FROM photo").fetchone()
        self._run = last + 1
        row = self._base.execute("SELECT text FROM facts").fetchone()
        if row is None:
            self._base.execute("INSERT INTO facts VALUES (?)", (facts,))
            self._base.commit()
        elif row[0] != facts:
            self._base.close()
            raise SpecMismatchError(
                f"{self._folder} was begun with {_difference(row[0], facts)}: name another folder"
            )

    def settled(self, name: str, stamp: str) -> Outcome | None:
        """What becomes of a photo, if that is known; ``stamp``: its file and place."""
        row = self._base.execute(
            f"SELECT {_COLUMNS} FROM photo WHERE name = ? AND stamp = ?", (name, stamp)
        ).fetchone()
        if row is None:
            return None
        self._write("UPDATE photo SET run = ? WHERE name = ?", (self._run, name))
        return _outcome(row)

    def put(self, name: str, stamp: str, found: Outcome) -> None:
        """Settle a photo."""
        lon, lat = found.lonlat or (None, None)
        mark = found.signature
        row = (
            found.outcome, found.line, lon, lat, found.heading, found.date, found.chip,
            mark and mark.hash.tobytes(), mark and mark.color.tobytes(), name, stamp, self._run,
        )  # fmt: skip
        self._write(
            f"INSERT OR REPLACE INTO photo ({_COLUMNS}, name, stamp, run)"
            f" VALUES ({','.join('?' * len(row))})",
            row,
        )

    def pairs(self) -> Iterator[Pair]:
        """The photos of this run that are kept, by name."""
        rows = self._base.execute(
            f"SELECT name, {_COLUMNS} FROM photo WHERE run = ? AND outcome = ? ORDER BY name",
            (self._run, KEPT),
        )
        for name, *row in rows:
            found = _outcome(row)
            chip = self._folder / found.chip
            yield Pair(Path(name), chip, found.lonlat, heading=found.heading, date=found.date)

    def counts(self) -> dict[str, int]:
        """How many photos of this run had which outcome, the most first."""
        rows = self._base.execute(
            "SELECT outcome, COUNT(*) FROM photo WHERE run = ? GROUP BY outcome"
            " ORDER BY COUNT(*) DESC, outcome",
            (self._run,),
        )
        return dict(rows.fetchall())

    def _write(self, statement: str, values: tuple[Any, ...]) -> None:
        try:
            self._base.execute(statement, values)
            self._base.commit()
        except sqlite3.DatabaseError as error:
            raise OutputError(f"{self._folder}: cannot be written ({one_line(error)})") from None


def _outcome(row: Sequence[Any]) -> Outcome:
    outcome, line, lon, lat, heading, date, chip, hash_, color = row
    mark = None
    if hash_ is not None:
        colors = np.frombuffer(color, np.uint8).reshape(8, 8, 3)
        mark = Signature(np.frombuffer(hash_, np.uint8), colors)
    return Outcome(outcome, line, None if lon is None else (lon, lat), heading, date, chip, mark)


def _difference(before: str, now: str) -> str:
    one, other = json.loads(before), json.loads(now)
    keys = [key for key in {**one, **other} if one.get(key) != other.get(key)]
    key = keys[0] if keys else "facts"
    return f"{key} {one.get(key)!r}, and this is {other.get(key)!r}"[:200]
