"""Pairs on disk until all are known, and then dealt to the splits."""

from __future__ import annotations

import csv
import tempfile
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

import numpy as np
from numpy.typing import NDArray

from ..arrays import F64
from ..errors import UsageError
from .file import Pair, Split
from .splitting import DROPPED, SPLITS, SplitRule, split_by_place

SplitBy = Literal["auto", "place", "keep"]
"""By place all pairs, or those that have no split; or as they say."""


@dataclass(frozen=True)
class Deal:
    """dropped: pairs within the buffer of another split; block_m: side of the blocks, None where
    none were dealt; notes: one sentence each; splits: pairs by split."""

    dropped: int
    block_m: float | None
    notes: tuple[str, ...]
    splits: Counter[Split]


class Spool:
    """Pairs on disk until all are known, as a split by place needs the places of all; in memory are
    their places and splits alone, 17 bytes a pair."""

    def __init__(self) -> None:
        self._file: IO[str] = tempfile.TemporaryFile(  # noqa: SIM115  closed in __exit__
            "w+", newline="", encoding="utf-8", errors="surrogateescape"
        )
        self._writer = csv.writer(self._file)
        self._places, self._splits = array("d"), array("b")

    def __enter__(self) -> Spool:
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

    def dealt(self, by: SplitBy, rule: SplitRule) -> tuple[Iterator[Pair], Deal]:
        """The pairs that are kept, with their splits, and what was dealt."""
        places = np.array(self._places, np.float64).reshape(-1, 2)
        given = np.array(self._splits, np.int8)
        placed = np.asarray(np.isfinite(places).all(axis=1), np.bool_)
        if by == "place" and not placed.all():
            raise UsageError(
                f"{int((~placed).sum())} of {len(placed)} pairs have no place to be split by: "
                "import them with --split auto or keep"
            )
        unsaid = np.asarray((given == DROPPED) | np.full(len(given), by == "place"), bool)
        splits = np.where(unsaid, SPLITS.index("train"), given).astype(np.int8)
        block, notes = None, []
        if by != "keep" and (unsaid & placed).any():
            stated = np.where(unsaid, DROPPED, given).astype(np.int8)[placed]
            found = split_by_place(places[placed], rule, stated)
            splits[placed], block = found.splits, found.block_m
        if unplaced := int((unsaid & ~placed).sum()):
            notes.append(f"{unplaced} pairs have neither place nor split: they are all to train on")
        kept = Counter({n: int((splits == i).sum()) for i, n in enumerate(SPLITS)})
        smaller = ": try a smaller --block, or another --seed" if block is not None else ""
        notes += [f"no pair is to {name}{smaller}" for name in SPLITS if not kept[name]]
        dropped = int((splits == DROPPED).sum())
        return self._pairs(places, splits), Deal(dropped, block, tuple(notes), +kept)

    def _pairs(self, places: F64, splits: NDArray[np.int8]) -> Iterator[Pair]:
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
