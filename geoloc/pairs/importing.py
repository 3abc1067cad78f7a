"""Data sets of others become a pairs file, or shards: complete pairs only, split by place."""

from __future__ import annotations

import csv
import tempfile
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import PhotoError, UsageError
from .file import Pair, Split, parse_pair, write_pairs
from .published import Layout, Listed, list_pairs, present
from .sharding import facts_of, storable, write_shards
from .splitting import DROPPED, SPLITS, SplitRule, split_by_place
from .table import known_columns, read_rows
from .tars import is_tar
from .trees import FolderTree, TarTree, Tree

SplitBy = Literal["auto", "place", "keep"]
Progress = Callable[[int], None]
_TOLD = 20  # faults that are told one by one


@dataclass
class Faults:
    """Pairs that were left out: how many, and the first of them, one line each."""

    count: int = 0
    lines: list[str] = field(default_factory=list)

    def add(self, line: str) -> None:
        """One more."""
        self.count += 1
        if len(self.lines) < _TOLD:
            self.lines.append(line)


@dataclass(frozen=True)
class Imported:
    """What was written. missing: pairs without one of their files, or with a broken one; dropped:
    pairs within the buffer of another split; block_m: side of the blocks that were dealt, None
    where all splits were given; notes: one sentence each."""

    path: Path
    count: int
    splits: Mapping[Split, int]
    missing: Faults
    dropped: int
    block_m: float | None
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "path": str(self.path),
            "count": self.count,
            "splits": dict(self.splits),
            "missing": self.missing.count,
            "faults": list(self.missing.lines),
            "dropped": self.dropped,
            "block_m": self.block_m,
            "notes": list(self.notes),
        }


def import_set(
    sources: Sequence[Path],
    layout: Layout,
    out: Path,
    *,
    lists: Sequence[Path] = (),
    split: SplitBy = "auto",
    rule: SplitRule | None = None,
    progress: Progress | None = None,
) -> Imported:
    """A published data set: of a folder a pairs file, of tar archives, which stay packed, shards.

    split: "keep" what the lists say ("train" where they do not), "place" for all by place, "auto"
    for those that have none. Raises UsageError where there is nothing, or a place is needed and
    unknown.
    """
    with ExitStack() as stack:
        tree = _tree(sources, stack)
        spool, missing = stack.enter_context(_Spool()), Faults()
        for number, listed in enumerate(list_pairs(tree, layout, lists), 1):
            found = present(tree, listed, layout)
            if isinstance(found, str):
                missing.add(found)
            else:
                spool.add(_pair(tree, found), found.split)
            if progress:
                progress(number)
        if not spool.count:
            raise UsageError(f"{sources[0]}: no pair has both of its files: {missing.lines[0]}")
        pairs, dealt = spool.dealt(split, rule or SplitRule())
        if isinstance(tree, FolderTree):
            return _as_file(pairs, out, dealt, missing)
        return _as_shards(tree, pairs, out, dealt, missing)


def import_table(
    table: Path, out: Path, *, split: SplitBy = "auto", rule: SplitRule | None = None
) -> Imported:
    """Any table of pairs (`geoloc.pairs.table`), whatever other columns it has, as a pairs file.

    See `import_set`. Raises UsageError for a table without the columns that are needed.
    """
    with _Spool() as spool:
        missing, rows = Faults(), read_rows(table)
        names = tuple(next(rows).cells)
        columns = known_columns(names)
        if "photo" not in columns or not ("overhead" in columns or {"lon", "lat"} <= {*columns}):
            raise UsageError(f"{table}: needs the column photo, and overhead or lon and lat")
        for row in rows:
            where = f"{table}:{row.line}"
            try:
                pair = parse_pair(table.parent, where, columns, row)
            except UsageError as error:
                missing.add(str(error))
                continue
            gone = [f for f in (pair.photo, pair.overhead) if f is not None and not f.is_file()]
            if gone:
                missing.add(f"{where}: {gone[0]} does not exist")
                continue
            spool.add(pair, pair.split if row.cells.get(columns.get("split", "")) else None)
        if not spool.count:
            told = missing.lines[0] if missing.lines else "add rows below the header"
            raise UsageError(f"{table} has no pairs: {told}")
        pairs, dealt = spool.dealt(split, rule or SplitRule())
        others = sorted({*names} - {*columns.values()})
        notes = (f"columns passed over: {', '.join(others)}",) if others else ()
        made = _as_file(pairs, out, dealt, missing)
        return replace(made, notes=(*notes, *made.notes))


def _tree(sources: Sequence[Path], stack: ExitStack) -> Tree:
    if all(map(is_tar, sources)):
        return stack.enter_context(TarTree(sources))
    if len(sources) > 1:
        raise UsageError(f"{sources[1]}: name one folder, or only .tar archives")
    return FolderTree(sources[0])


def _pair(tree: Tree, found: Listed) -> Pair:
    root = tree.root if isinstance(tree, FolderTree) else Path()
    return Pair(root / found.photo, root / found.overhead, found.lonlat, heading=found.heading)


@dataclass(frozen=True)
class _Dealt:
    dropped: int
    block_m: float | None
    notes: tuple[str, ...]
    splits: Counter[Split]


class _Spool:
    """Pairs on disk until all are known, as a split by place needs the places of all; in memory are
    their places and splits alone, 17 bytes a pair."""

    def __init__(self) -> None:
        self._file: IO[str] = tempfile.TemporaryFile(  # noqa: SIM115  closed in __exit__
            "w+", newline="", encoding="utf-8", errors="surrogateescape"
        )
        self._writer = csv.writer(self._file)
        self._places, self._splits = array("d"), array("b")

    def __enter__(self) -> _Spool:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def count(self) -> int:
        """Pairs so far."""
        return len(self._splits)

    def add(self, pair: Pair, split: Split | None) -> None:
        """Keep a pair; ``split`` None: it is to be dealt."""
        heading = "" if pair.heading is None else repr(pair.heading)
        self._writer.writerow(
            [str(pair.photo), str(pair.overhead or ""), pair.group, heading, pair.date]
        )
        self._places.extend(pair.lonlat or (float("nan"), float("nan")))
        self._splits.append(DROPPED if split is None else SPLITS.index(split))

    def dealt(self, by: SplitBy, rule: SplitRule) -> tuple[Iterator[Pair], _Dealt]:
        """The pairs that are kept, with their splits, and what was dealt."""
        places = np.array(self._places, np.float64).reshape(-1, 2)
        given = np.array(self._splits, np.int8)
        placed: NDArray[np.bool_] = np.isfinite(places).all(axis=1)
        if by == "place" and not placed.all():
            raise UsageError(
                f"{int((~placed).sum())} of {len(placed)} pairs have no place to be split by: "
                "import them with --split auto or keep"
            )
        unsaid = np.ones(len(given), bool) if by == "place" else np.equal(given, DROPPED)
        splits = np.where(unsaid, SPLITS.index("train"), given).astype(np.int8)
        block, notes = None, []
        if by != "keep" and (unsaid & placed).any():
            stated = np.where(unsaid, DROPPED, given).astype(np.int8)[placed]
            found = split_by_place(places[placed], rule, stated)
            splits[placed], block = found.splits, found.block_m
        if unplaced := int((unsaid & ~placed).sum()):
            notes.append(f"{unplaced} pairs have neither place nor split: they are all to train on")
        kept = Counter({n: int((splits == i).sum()) for i, n in enumerate(SPLITS)})
        notes += [f"no pair is to {name}" for name in SPLITS if not kept[name]]
        dropped = int((splits == DROPPED).sum())
        return self._pairs(places, splits), _Dealt(dropped, block, tuple(notes), +kept)

    def _pairs(self, places: NDArray[np.float64], splits: NDArray[np.int8]) -> Iterator[Pair]:
        self._file.flush()
        self._file.seek(0)
        for row, place, split in zip(csv.reader(self._file), places, splits, strict=True):
            if split == DROPPED:
                continue
            photo, overhead, group, heading, date = row
            yield Pair(
                Path(photo),
                Path(overhead) if overhead else None,
                None if np.isnan(place).any() else (float(place[0]), float(place[1])),
                SPLITS[split],
                group,
                float(heading) if heading else None,
                date,
            )


def _as_file(pairs: Iterable[Pair], out: Path, dealt: _Dealt, missing: Faults) -> Imported:
    write_pairs(pairs, out)
    return Imported(
        out, dealt.splits.total(), dealt.splits, missing, dealt.dropped, dealt.block_m, dealt.notes
    )


def _as_shards(
    tree: Tree, pairs: Iterable[Pair], out: Path, dealt: _Dealt, missing: Faults
) -> Imported:
    made = write_shards(_samples(tree, pairs, missing), out)
    return Imported(
        made.index, made.count, made.splits, missing, dealt.dropped, dealt.block_m, dealt.notes
    )


def _samples(
    tree: Tree, pairs: Iterable[Pair], missing: Faults
) -> Iterator[tuple[Mapping[str, bytes], Mapping[str, Any]]]:
    for pair in pairs:
        assert pair.overhead is not None  # of a tree, both are there
        try:
            images = {
                part: storable(path, tree.read(path.as_posix()))
                for part, path in (("ground", pair.photo), ("overhead", pair.overhead))
            }
        except PhotoError as error:
            missing.add(str(error))
            continue
        yield images, facts_of(pair)
