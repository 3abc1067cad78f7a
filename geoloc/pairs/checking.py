"""What is wrong with pairs: broken files, missing partners, duplicates, and splits that leak.

Of each pair its digests, its picture's signature and its place are kept, some 500 bytes; images are
looked at one after the other.
"""

from __future__ import annotations

import hashlib
import math
import os
from array import array
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pyproj import Geod

from ..arrays import F64, I64, Bools
from ..domain.points import geocentric
from ..errors import GeolocError, PhotoError, UsageError
from ..photos import decode_photo
from ..photos.likeness import Signature, same_pictures
from .file import Split, parse_pair, rows_of_pairs
from .shards import archives_of, lonlat_of, read_stored, split_of, verify_shards
from .splitting import SPLITS
from .tars import is_tar

Kind = Literal["invalid", "missing", "broken", "duplicate", "near-duplicate", "leakage"]
KINDS: tuple[Kind, ...] = (
    "invalid", "missing", "broken", "duplicate", "near-duplicate", "leakage",
)  # fmt: skip
NEAR_M = 50.0
"""Pairs of two splits that lie so near together show one place."""

_TOLD = 20  # lines of each kind
_BATCH = 64  # pairs at a time
_EARTH = Geod(ellps="WGS84")
Progress = Callable[[int], None]


@dataclass(frozen=True, eq=False)
class Look:
    """One pair before its images are looked at: ``read`` gives their bytes, or raises OSError."""

    where: str
    split: Split
    group: str
    lonlat: tuple[float, float] | None
    photo: str
    overhead: str | None
    read: Callable[[str], bytes]


@dataclass(frozen=True)
class Fault:
    """Something wrong before or instead of a pair."""

    kind: Kind
    line: str


@dataclass(frozen=True, eq=False)
class _Seen:
    """What is kept of a pair; chip: digest, empty where there is none."""

    look: Look
    photo: bytes
    signature: Signature
    chip: bytes


@dataclass(frozen=True, eq=False)
class Checked:
    """What was found. counts: of each kind; lines: the first of each; lonlat float64 ``(pair, 2)``,
    NaN where unknown, splits int8 ``(pair,)`` by `SPLITS`, wrong bool ``(pair,)``: for a map."""

    count: int
    counts: dict[Kind, int]
    lines: dict[Kind, list[str]]
    notes: tuple[str, ...]
    lonlat: F64
    splits: NDArray[np.int8]
    wrong: Bools

    @property
    def is_good(self) -> bool:
        """Whether nothing is wrong."""
        return not any(self.counts.values())

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        splits = {name: int((self.splits == n).sum()) for n, name in enumerate(SPLITS)}
        return {
            "ok": self.is_good,
            "count": self.count,
            "splits": splits,
            "findings": dict(self.counts),
            "lines": {kind: lines for kind, lines in self.lines.items() if lines},
            "notes": list(self.notes),
        }


def check_pairs(
    source: str | Path, *, near_m: float = NEAR_M, progress: Progress | None = None
) -> Checked:
    """Look through a pairs file, a folder of shards, or an archive.

    near_m: pairs of two splits that lie nearer than this leak. Raises UsageError for a file that is
    none, or that holds nothing.
    """
    if not near_m >= 0:
        raise UsageError(f"near {near_m:g} m: give metres, or 0 for the very same place")
    found = _Findings()
    for number, seen in enumerate(_examined(looks_of(Path(source)), found), 1):
        found.add(seen)
        if progress:
            progress(number)
    if not found.where and not any(found.counts.values()):
        raise UsageError(f"{source} has no pairs: add some")
    found.compare(near_m)
    return found.checked()


def looks_of(source: Path) -> Iterator[Look | Fault]:
    """The pairs of a file, a folder of shards or an archive, and what is wrong with their list."""
    if source.is_dir() or is_tar(source) or source.suffix.lower() == ".json":
        return _of_shards(source)
    return _of_file(source)


def _of_file(path: Path) -> Iterator[Look | Fault]:
    for row, columns in rows_of_pairs(path):
        where = f"{path.name}:{row.line}"
        try:
            pair = parse_pair(path.parent, where, columns, row)
        except UsageError as error:
            yield Fault("invalid", str(error))
            continue
        overhead = None if pair.overhead is None else str(pair.overhead)
        yield Look(
            where, pair.split, pair.group, pair.lonlat, str(pair.photo), overhead, _read_file
        )


def _read_file(name: str) -> bytes:
    return Path(name).read_bytes()


def _of_shards(source: Path) -> Iterator[Look | Fault]:
    yield from (Fault("broken", line) for line in verify_shards(source))
    for path, shard in archives_of(source):
        if path.is_file():
            yield from _of_archive(path, told=shard is not None)


def _of_archive(path: Path, *, told: bool) -> Iterator[Look | Fault]:
    """``told``: that the archive is cut short was said by its index."""
    try:
        for stored in read_stored(path):
            yield Look(
                f"{path.name}: {stored.key}",
                split_of(path, stored.key, stored.facts),
                str(stored.facts.get("group") or ""),
                lonlat_of(stored.facts),
                f"{path.name}/{stored.images['ground'][0]}",
                f"{path.name}/{stored.images['overhead'][0]}",
                {f"{path.name}/{name}": data for name, data in stored.images.values()}.__getitem__,
            )
    except GeolocError as error:
        kind: Kind = "missing" if " has no " in str(error) else "broken"
        if not (told and "cut short" in str(error)):
            yield Fault(kind, str(error))


def _examined(looks: Iterator[Look | Fault], found: _Findings) -> Iterator[_Seen]:
    """The pairs whose images are whole, in their order; some are looked at at once."""
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        while batch := list(islice(looks, _BATCH)):
            for result in pool.map(_examine, batch):
                if isinstance(result, _Seen):
                    yield result
                else:
                    found.tell(result.kind, result.line)


def _examine(look: Look | Fault) -> _Seen | Fault:
    if isinstance(look, Fault):
        return look
    read: dict[str, bytes] = {}
    for name in filter(None, (look.photo, look.overhead)):
        try:
            read[name] = look.read(name)
        except OSError as error:
            kind: Kind = "missing" if isinstance(error, FileNotFoundError) else "broken"
            what = "does not exist" if kind == "missing" else f"cannot be read: {error.strerror}"
            return Fault(kind, f"{look.where}: {name} {what}")
    try:
        pictures = {name: decode_photo(Path(name), data).pixels for name, data in read.items()}
    except PhotoError as error:
        return Fault("broken", f"{look.where}: {error}")
    chip = _digest(read[look.overhead]) if look.overhead else b""
    return _Seen(look, _digest(read[look.photo]), Signature.of(pictures[look.photo]), chip)


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()[:16]


@dataclass
class _Findings:
    """What is kept of all pairs, and what is wrong with them.

    where: of each pair; photo: its row in ``first``, the pair that had each picture first.
    """

    counts: dict[Kind, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    lines: dict[Kind, list[str]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    where: list[str] = field(default_factory=list)
    places: array[float] = field(default_factory=lambda: array("d"))
    splits: array[int] = field(default_factory=lambda: array("b"))
    grouped: array[int] = field(default_factory=lambda: array("b"))
    photo: array[int] = field(default_factory=lambda: array("q"))
    chip: array[int] = field(default_factory=lambda: array("q"))
    pictures: dict[bytes, int] = field(default_factory=dict)
    chips: dict[bytes, int] = field(default_factory=dict)
    hashes: bytearray = field(default_factory=bytearray)
    colors: bytearray = field(default_factory=bytearray)
    wrong: set[int] = field(default_factory=set)

    def tell(self, kind: Kind, line: str, *rows: int) -> None:
        """One thing that is wrong, with the pairs that it is about."""
        self.counts[kind] += 1
        if len(self.lines[kind]) < _TOLD:
            self.lines[kind].append(line)
        self.wrong.update(rows)

    def add(self, seen: _Seen) -> None:
        """Keep a pair."""
        if seen.photo not in self.pictures:
            self.hashes += seen.signature.hash.tobytes()
            self.colors += seen.signature.color.tobytes()
        self.photo.append(self.pictures.setdefault(seen.photo, len(self.pictures)))
        self.chip.append(self.chips.setdefault(seen.chip, len(self.chips)) if seen.chip else -1)
        self.where.append(seen.look.where)
        self.places.extend(seen.look.lonlat or (float("nan"), float("nan")))
        self.splits.append(SPLITS.index(seen.look.split))
        self.grouped.append(bool(seen.look.group))

    def compare(self, near_m: float) -> None:
        """Compare all pairs with each other."""
        self._same_photo()
        self._near_duplicates()
        self._same_in_two_splits(np.array(self.photo, np.int64), "the same photo")
        self._same_in_two_splits(np.array(self.chip, np.int64), "the same overhead image")
        self._same_place(near_m)

    def checked(self) -> Checked:
        """All of it."""
        wrong = np.zeros(len(self.where), bool)
        wrong[sorted(self.wrong)] = True
        lonlat = np.array(self.places, np.float64).reshape(-1, 2)
        return Checked(
            len(self.where), self.counts, self.lines, tuple(self._notes(lonlat)), lonlat,
            np.array(self.splits, np.int8), wrong,
        )  # fmt: skip

    def _notes(self, lonlat: F64) -> Iterator[str]:
        unplaced = int(np.isnan(lonlat).any(axis=1).sum())
        if unplaced:
            yield f"{unplaced} pairs have no place: whether their places leak is unknown"
        if self.where and len({*self.splits}) == 1:
            yield f"all pairs are of the split {SPLITS[self.splits[0]]}"

    def _same_photo(self) -> None:
        """Pairs of one photo: twice with the same partner, or at two places."""
        first: dict[int, int] = {}
        for row, photo in enumerate(self.photo):
            before = first.setdefault(photo, row)
            if before == row:
                continue
            one, other = self.where[before], self.where[row]
            apart = self._apart(before, row)
            if self.chip[row] == self.chip[before] and not apart > NEAR_M:
                self.tell("duplicate", f"{other} is the same pair as {one}", row)
            elif apart > NEAR_M and not self.grouped[row]:
                told = f"{other} has the photo of {one}, {apart / 1000:.1f} km away"
                self.tell("duplicate", told, row, before)

    def _apart(self, one: int, other: int) -> float:
        """m between the places of two pairs; 0 where one is unknown."""
        if math.isnan(self.places[2 * one]) or math.isnan(self.places[2 * other]):
            return 0.0
        a, b = (self.places[2 * row : 2 * row + 2] for row in (one, other))
        return float(_EARTH.inv(a[0], a[1], b[0], b[1])[2])

    def _near_duplicates(self) -> None:
        """Different photos that look the same: between two splits, a leak."""
        hashes = np.frombuffer(bytes(self.hashes), np.uint8).reshape(-1, 32)
        colors = np.frombuffer(bytes(self.colors), np.uint8).reshape(-1, 192)
        if not len(hashes):
            return
        rows = self._rows_by_photo()
        for one, other in same_pictures(hashes, colors).tolist():
            a, b = rows[one][0], rows[other][0]
            crossing = [
                (m, n) for m in rows[one] for n in rows[other] if self.splits[m] != self.splits[n]
            ]
            if crossing:
                a, b = crossing[0]
                told = f"{self._of(b)} looks like {self._of(a)}"
                self.tell("leakage", told, a, b)
            else:
                told = f"{self.where[b]} looks like {self.where[a]}"
                self.tell("near-duplicate", told, b)

    def _rows_by_photo(self) -> list[list[int]]:
        """Of each photo the first pair of every split that has it."""
        rows: list[list[int]] = [[] for _ in self.pictures]
        for row, photo in enumerate(self.photo):
            if all(self.splits[row] != self.splits[other] for other in rows[photo]):
                rows[photo].append(row)
        return rows

    def _same_in_two_splits(self, of: I64, what: str) -> None:
        first: dict[int, int] = {}
        told: set[tuple[int, int]] = set()
        for row, thing in enumerate(of.tolist()):
            if thing < 0:
                continue
            before = first.setdefault(thing, row)
            key = (thing, self.splits[row])
            if self.splits[row] != self.splits[before] and key not in told:
                told.add(key)
                self.tell(
                    "leakage", f"{self._of(row)} has {what} as {self._of(before)}", row, before
                )

    def _same_place(self, near_m: float) -> None:
        """Of each rarer split, the pairs that lie near one of another split."""
        from scipy.spatial import cKDTree

        lonlat = np.array(self.places, np.float64).reshape(-1, 2)
        placed = np.flatnonzero(np.isfinite(lonlat).all(axis=1))
        splits = np.array(self.splits, np.int8)[placed]
        xyz = geocentric(lonlat[placed]) if len(placed) else np.empty((0, 3))
        for split in range(1, len(SPLITS)):
            mine, others = np.flatnonzero(splits == split), np.flatnonzero(splits < split)
            if not (len(mine) and len(others)):
                continue
            distance, at = cKDTree(xyz[others]).query(xyz[mine])
            for n in np.flatnonzero(distance <= max(near_m, 1e-3)).tolist():
                row, other = int(placed[mine[n]]), int(placed[others[at[n]]])
                told = f"{self._of(row)} lies {distance[n]:.0f} m from {self._of(other)}"
                self.tell("leakage", told, row, other)

    def _of(self, row: int) -> str:
        return f"{self.where[row]} ({SPLITS[self.splits[row]]})"
