"""Where the files of a published data set are: a folder, or tar archives that stay packed."""

from __future__ import annotations

import io
import os
import sqlite3
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Protocol

from ..errors import GeolocError, UsageError
from .tars import cut_short, require_end

_BATCH = 10_000  # members at a time into the index


class Tree(Protocol):
    """Files by names with slashes, below one root."""

    def names(self) -> Iterator[str]:
        """All files, in the order of their names."""

    def has(self, name: str) -> bool:
        """Whether there is such a file."""

    def read(self, name: str) -> bytes:
        """Its content."""

    def lines(self, name: str) -> Iterator[str]:
        """Its lines, one by one; see `lines_of`."""


def lines_of(name: str, file: IO[bytes]) -> Iterator[str]:
    """The lines of a text. Raises UsageError, naming it, for what is none."""
    coding = "utf-8-sig"
    try:
        for line in file:
            if b"\0" in line:
                raise ValueError
            yield line.decode(coding)
            coding = "utf-8"
    except ValueError:  # UnicodeDecodeError is one
        raise UsageError(
            f"{name} is no list of text: pickled lists are not opened; save it as CSV"
        ) from None


@dataclass(frozen=True)
class FolderTree:
    """A folder on disk. Raises UsageError where it is none."""

    root: Path

    def __post_init__(self) -> None:
        if not self.root.is_dir():
            raise UsageError(f"{self.root} is no folder: name that of the data set, or its tars")

    def names(self) -> Iterator[str]:
        for here, folders, files in os.walk(self.root):
            folders.sort()
            below = Path(here).relative_to(self.root)
            yield from ((below / name).as_posix() for name in sorted(files))

    def has(self, name: str) -> bool:
        return (self.root / name).is_file()

    def read(self, name: str) -> bytes:
        return (self.root / name).read_bytes()

    def lines(self, name: str) -> Iterator[str]:
        with (self.root / name).open("rb") as file:
            yield from lines_of(name, file)


@dataclass
class TarTree:
    """The members of uncompressed tar archives as one tree, found by an index on disk.

    Nothing is unpacked: a member is read at its offset, so memory does not grow with the archives.
    Use it in a ``with``. Raises UsageError for one that is missing or compressed, GeolocError for
    one that is cut short.
    """

    archives: Sequence[Path]
    _index: sqlite3.Connection = field(init=False)
    _file: str = field(init=False)

    def __post_init__(self) -> None:
        handle, self._file = tempfile.mkstemp(prefix="geoloc-tars-", suffix=".sqlite")
        os.close(handle)
        self._index = sqlite3.connect(self._file)
        try:
            self._index.execute(
                "CREATE TABLE member (name TEXT PRIMARY KEY, archive INTEGER, at INTEGER,"
                " size INTEGER) WITHOUT ROWID"
            )
            for number in range(len(self.archives)):
                self._add(number)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> TarTree:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Forget the index."""
        self._index.close()
        Path(self._file).unlink(missing_ok=True)

    def names(self) -> Iterator[str]:
        rows = self._index.execute("SELECT name FROM member ORDER BY name")
        return (name for (name,) in rows)

    def has(self, name: str) -> bool:
        return self._at(name) is not None

    def read(self, name: str) -> bytes:
        found = self._at(name)
        if found is None:
            raise FileNotFoundError(2, "no such member", name)
        archive, at, size = found
        with self.archives[archive].open("rb") as file:
            file.seek(at)
            return file.read(size)

    def lines(self, name: str) -> Iterator[str]:
        return lines_of(name, io.BytesIO(self.read(name)))

    def _at(self, name: str) -> tuple[int, int, int] | None:
        row: tuple[int, int, int] | None = self._index.execute(
            "SELECT archive, at, size FROM member WHERE name = ?", (name,)
        ).fetchone()
        return row

    def _add(self, number: int) -> None:
        path = self.archives[number]
        try:
            with tarfile.open(path, "r:") as archive:
                self._insert(number, archive)
            require_end(path)
        except FileNotFoundError:
            raise UsageError(f"{path} does not exist: correct the path") from None
        except tarfile.ReadError as error:
            if "not a gzip" in str(error) or "invalid header" in str(error):
                raise UsageError(
                    f"{path} is no uncompressed tar archive: unpack it first"
                ) from None
            raise GeolocError(cut_short(path, error)) from None
        except (tarfile.TarError, OSError) as error:
            raise GeolocError(cut_short(path, error)) from None

    def _insert(self, number: int, archive: tarfile.TarFile) -> None:
        rows: list[tuple[str, int, int, int]] = []
        for member in archive:
            archive.members.clear()  # type: ignore[attr-defined]  # which else grow without end
            if member.isreg():
                name = member.name.removeprefix("./")
                rows.append((name, number, member.offset_data, member.size))
            if len(rows) >= _BATCH:
                self._store(rows)
        self._store(rows)
        self._index.commit()

    def _store(self, rows: list[tuple[str, int, int, int]]) -> None:
        self._index.executemany("INSERT OR REPLACE INTO member VALUES (?, ?, ?, ?)", rows)
        rows.clear()
