"""Data sets of others become a pairs file, or shards: complete pairs only, split by place."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..errors import PhotoError, UsageError
from .file import Pair, Split, parse_pair, write_pairs
from .published import Layout, Listed, list_pairs, present
from .sharding import facts_of, storable, write_shards
from .splitting import SplitRule
from .spool import Deal, SplitBy, Spool
from .table import known_columns, read_rows
from .tars import is_tar
from .trees import FolderTree, TarTree, Tree

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
        spool, missing = stack.enter_context(Spool()), Faults()
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
    with Spool() as spool:
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


def _as_file(pairs: Iterable[Pair], out: Path, dealt: Deal, missing: Faults) -> Imported:
    write_pairs(pairs, out)
    return Imported(
        out, dealt.splits.total(), dealt.splits, missing, dealt.dropped, dealt.block_m, dealt.notes
    )


def _as_shards(
    tree: Tree, pairs: Iterable[Pair], out: Path, dealt: Deal, missing: Faults
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
