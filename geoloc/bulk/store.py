"""What a bulk run has done, kept in one file beside its answers, so that a rerun continues.

A *medium* is a file of the folder; an *item* a picture that is computed once; a *sighting* says
that an item is seen in a medium (at a time, in a video); an *answer* is a finished folder.
"""

from __future__ import annotations

import fcntl
import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

import numpy as np

from ..arrays import F32
from ..errors import OutputError
from ..files.modes import create_file
from ..photos.likeness import Signature
from .layout import PROGRESS

if TYPE_CHECKING:
    from .media import Kind

_FORM = 2  # changed with _SCHEMA
_TABLES = ("setting", "medium", "sighting", "item", "answer")
How = Literal["original", "same bytes", "looks the same"]

_SCHEMA = """
create table if not exists setting (value text not null);
create table if not exists cube (key text not null);
create table if not exists medium (
    name text primary key, size integer, mtime integer, sha256 text, kind text, failure text);
create table if not exists sighting (medium text, time real, item integer, record text);
create table if not exists item (
    id integer primary key, folder text unique, record text, hash blob, color blob, vector blob);
create table if not exists answer (
    folder text primary key, key text, summary text);
create index if not exists by_medium on sighting (medium);
"""


@dataclass(frozen=True)
class Sighting:
    """An item is seen in a medium; ``time`` s in a video.

    ``record``: what this copy is and says of itself: path, sha256, bytes, size (w, h), exif,
    origin. ``how`` depends on the copies that are there; see `copies.in_order`.
    """

    item: int
    how: How = "looks the same"
    time: float | None = None
    record: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Item:
    """A picture: where its answer goes, the record of its file, what it looks like, its vector (by
    several models theirs, one behind the other)."""

    id: int
    folder: str
    record: Mapping[str, Any]
    signature: Signature
    vector: F32


@dataclass
class Done:
    """A medium that was read: its items, new and seen before, and what was wrong with it."""

    name: str
    stamp: tuple[int, int]
    sha256: str
    kind: Kind
    failure: str | None = None
    sightings: list[Sighting] = field(default_factory=list)
    items: list[Item] = field(default_factory=list)


class Store:
    """The file; one process writes it at a time."""

    def __init__(self, out: Path, setting: str, cube: str) -> None:
        """Open or begin; what was computed under another ``setting`` is forgotten.

        Raises OutputError where it cannot be written, another run is at work, or the answers there
        are of another ``cube`` (its `cubes_key`): they are not replaced.
        """
        self._path = out / PROGRESS
        with self._errors():
            create_file(self._path)  # SQLite gives its mode to the files that it puts beside it
            self._held = _held(self._path)
            self._db = sqlite3.connect(self._path, timeout=0.2)
            self._db.execute("pragma locking_mode = exclusive")
            # a commit per answer survives kill -9 without waiting for the disk each time
            self._db.execute("pragma journal_mode = wal")
            self._db.execute("pragma synchronous = normal")
            self._db.execute("begin immediate")
            self._db.commit()
            self._renew()
            self._db.executescript(_SCHEMA)
            self._keep_to(cube)
            row = self._db.execute("select value from setting").fetchone()
            if row is None or row[0] != setting:
                self._forget(setting)

    def _keep_to(self, cube: str) -> None:
        row = self._db.execute("select key from cube").fetchone()
        if row and row[0] != cube:
            self.close()
            raise OutputError(
                f"{self._path.parent} holds the answers of cube {row[0]}: choose another --out "
                f"for those of {cube}"
            )
        if not row:
            with self._db:
                self._db.execute("insert into cube values (?)", (cube,))

    def close(self) -> None:
        """Let others in."""
        self._db.close()
        self._held.close()

    def stamps(self) -> dict[str, tuple[int, int]]:
        """Size and time of change of every medium that was read, by name."""
        with self._errors():
            rows = self._db.execute("select name, size, mtime from medium").fetchall()
        return {name: (size, mtime) for name, size, mtime in rows}

    def media(self) -> list[Done]:
        """Every medium that was read, without its items, in order of names."""
        with self._errors():
            seen: dict[str, list[Sighting]] = {}
            for medium, time, item, record in self._db.execute(
                "select medium, time, item, record from sighting order by rowid"
            ):
                sighting = Sighting(item, time=time, record=json.loads(record))
                seen.setdefault(medium, []).append(sighting)
            rows = self._db.execute(
                "select name, size, mtime, sha256, kind, failure from medium order by name"
            ).fetchall()
        return [Done(n, (s, m), sha, k, f, seen.get(n, [])) for n, s, m, sha, k, f in rows]

    def items(self) -> dict[int, Item]:
        """Every item by its number."""
        query = "select id, folder, record, hash, color, vector from item order by id"
        with self._errors():
            return {row[0]: _item(*row) for row in self._db.execute(query)}

    def add(self, done: Done) -> None:
        """Record a medium, all at once, in the place of what was known of its name."""
        with self._errors(), self._db:
            self._db.execute("delete from sighting where medium = ?", (done.name,))
            self._db.execute(
                "insert or replace into medium values (?, ?, ?, ?, ?, ?)",
                (done.name, *done.stamp, done.sha256, done.kind, done.failure),
            )
            self._db.executemany("insert into item values (?, ?, ?, ?, ?, ?)",
                                 map(_item_row, done.items))  # fmt: skip
            self._db.executemany(
                "insert into sighting values (?, ?, ?, ?)",
                [(done.name, s.time, s.item, json.dumps(s.record)) for s in done.sightings],
            )

    def replace(self, items: Sequence[Item]) -> None:
        """Record that other copies of these items lead: their records, looks and vectors."""
        with self._errors(), self._db:
            self._db.executemany("insert or replace into item values (?, ?, ?, ?, ?, ?)",
                                 map(_item_row, items))  # fmt: skip

    def answers(self) -> dict[str, tuple[str, dict[str, Any]]]:
        """Key and summary of every answer, by folder."""
        with self._errors():
            rows = self._db.execute("select folder, key, summary from answer").fetchall()
        return {folder: (key, json.loads(summary)) for folder, key, summary in rows}

    def answer(self, folder: str, key: str, summary: Mapping[str, Any]) -> None:
        """Record that a folder holds the answer to the question that ``key`` stands for."""
        with self._errors(), self._db:
            self._db.execute(
                "insert or replace into answer (folder, key, summary) values (?, ?, ?)",
                (folder, key, json.dumps(summary)),
            )

    def _renew(self) -> None:
        """Let go of a file of an older form."""
        if self._db.execute("pragma user_version").fetchone()[0] != _FORM:
            for table in _TABLES:
                self._db.execute(f"drop table if exists {table}")
            self._db.execute(f"pragma user_version = {_FORM}")
            self._db.commit()

    def _forget(self, setting: str) -> None:
        with self._db:
            for table in _TABLES:
                self._db.execute(f"delete from {table}")
            self._db.execute("insert into setting values (?)", (setting,))

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            busy = "locked" in str(error)
            raise _busy(self._path) if busy else _unusable(self._path, str(error)) from None
        except sqlite3.DatabaseError as error:
            raise OutputError(f"{self._path} is damaged ({error}): delete it") from None
        except OSError as error:
            raise _unusable(self._path, error.strerror or str(error)) from None


def _held(path: Path) -> IO[bytes]:
    """The file, locked until it is closed. SQLite takes its own locks step by step, at which two
    runs that begin at once may each refuse the other. Raises OutputError where another has it."""
    file = path.open("rb")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise _busy(path) from None
    except OSError:  # a file system without locks: SQLite's have to do
        pass
    return file


def _busy(path: Path) -> OutputError:
    return _unusable(path, "another bulk run is writing there: wait until it ends")


def _unusable(path: Path, reason: str) -> OutputError:
    return OutputError(f"cannot use {path}: {reason}")


def _item(number: int, folder: str, record: str, bits: bytes, color: bytes, vector: bytes) -> Item:
    signature = Signature(
        np.frombuffer(bits, np.uint8), np.frombuffer(color, np.uint8).reshape(8, 8, 3)
    )
    return Item(number, folder, json.loads(record), signature, np.frombuffer(vector, "<f4"))


def _item_row(item: Item) -> tuple[Any, ...]:
    signature = item.signature
    return (
        item.id, item.folder, json.dumps(item.record), signature.hash.tobytes(),
        signature.color.tobytes(), item.vector.astype("<f4").tobytes(),
    )  # fmt: skip
