"""The account of a build or a refresh: what was done, what is lacking and why, at what cost."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from ..cube import Provenance, Status
from ..errors import CubeError
from .cache import TileReport
from .tasks import BlockResult

_MOST_ERRORS = 100  # different messages that a report keeps


def _plus(total: int | None, size: int | None) -> int | None:
    """A sum that is not known where a part of it is not."""
    return None if total is None or size is None else total + size


@dataclass
class BuildReport:
    """What a run did. ``cells_encoded`` and ``missing_cells`` count this run's blocks alone.

    ``seconds`` is elapsed time; ``stage_seconds`` and ``stage_bytes`` add up over the workers
    (see `Spent`). ``blocks_copied`` are those that a refresh took over unchanged; ``published``
    tells whether readers open this generation now; ``blocks_damaged`` counts
    those that were not what had been written, and were computed again (they are among the
    others, too); ``stopped`` why the run ended before all of
    its blocks were tried, None where it did not. ``tiling`` is the account of the tiled copy,
    where the area keeps one.
    """

    url: str
    generation: str
    cluster: str = ""
    cells: int = 0
    cells_encoded: int = 0
    missing_cells: int = 0
    saturated_values: int = 0
    blocks_done: int = 0
    blocks_reused: int = 0
    blocks_broken: int = 0
    blocks_failed: int = 0
    blocks_outside: int = 0
    blocks_copied: int = 0
    blocks_damaged: int = 0
    published: bool = False
    stopped: str | None = None
    errors: dict[str, int] = field(default_factory=dict)
    """Messages, and in how many blocks each came up."""
    notes: list[str] = field(default_factory=list)
    dates: set[str] = field(default_factory=set)
    """Of the images used in this run."""
    stage_seconds: dict[str, float] = field(default_factory=dict)
    stage_bytes: dict[str, int | None] = field(default_factory=dict)
    """None for a stage where one block's bytes are not known."""
    seconds: float = 0.0
    tiling: TileReport | None = None

    @property
    def cells_per_second(self) -> float:
        return self.cells_encoded / self.seconds if self.seconds else 0.0

    def add(self, result: BlockResult) -> None:
        """Count a block that was written."""
        broken = result.status == Status.BROKEN
        self.blocks_broken += broken
        self.blocks_done += not broken
        self.cells_encoded += result.cells
        self.missing_cells += result.provenance.missing
        self.saturated_values += result.provenance.saturated
        for stage, seconds in result.spent.seconds.items():
            self.stage_seconds[stage] = self.stage_seconds.get(stage, 0.0) + seconds
        for stage, size in result.spent.bytes.items():
            self.stage_bytes[stage] = _plus(self.stage_bytes.get(stage, 0), size)
        self._date(result.provenance)
        for error in result.provenance.errors:
            self._note(error)
        self.notes += [note for note in result.provenance.notes if note not in self.notes]

    def reuse(self, provenance: Provenance) -> None:
        """Count a block that an earlier run encoded."""
        self.blocks_reused += 1
        self._date(provenance)

    def fail(self, error: str) -> None:
        """Count a block that could not be made."""
        self.blocks_failed += 1
        self._note(error)

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        facts = {**asdict(self), "dates": sorted(self.dates)}
        return {**facts, "cells_per_second": self.cells_per_second}

    def summary(self) -> str:
        """For people, a few lines."""
        lines = [] if self.tiling is None else [self.tiling.summary()]
        lines += [
            f"{self.url} {self.generation}: {_count(self.blocks_done, 'block')} built, "
            f"{self._kept()}{self.blocks_broken + self.blocks_failed} "
            f"incomplete, {self.blocks_outside} outside{self._pace()}"
        ]
        if self.stage_seconds:
            lines.append("in all workers: " + ", ".join(map(self._stage, self.stage_seconds)))
        if self.missing_cells or self.saturated_values:
            lines.append(
                f"{self.missing_cells:,} cells without imagery, "
                f"{self.saturated_values:,} values cut to the range that is stored"
            )
        if self.stopped:
            lines.append(f"stopped before its end: {self.stopped}")
        lines += [f"{error} ({n} blocks)" for error, n in self.errors.items()] + self.notes
        return "\n".join(lines)

    def raise_if_incomplete(self) -> None:
        """Raise CubeError where blocks failed or lack imagery that could not be read.

        The same where the run was stopped for that. ImageryError where the tiled copy lacks
        some, or is older than its origin in places.
        """
        if self.stopped:
            raise CubeError(f"{self.stopped}: fix the cause and run the same command again")
        short = self.blocks_failed + self.blocks_broken
        whole = self.blocks_done + self.blocks_reused + self.blocks_copied
        if short:
            raise CubeError(
                f"{short} of {short + whole} blocks are "
                f"incomplete ({next(iter(self.errors), 'unknown error')}): fix the cause and "
                "run the same command again; only these are computed"
            )
        if self.tiling is not None:
            self.tiling.raise_if_incomplete()

    def _pace(self) -> str:
        if not self.blocks_done:
            return ""
        where = f", {self.cluster}" if self.cluster else ""
        pace = f"{self.cells_per_second:,.0f} cells/s{where}"
        return f"; {self.cells_encoded:,} cells in {self.seconds:.1f} s ({pace})"

    def _kept(self) -> str:
        copied = f"{self.blocks_copied} taken over unchanged, " if self.blocks_copied else ""
        return f"{copied}{self.blocks_reused} already there, "

    def _stage(self, stage: str) -> str:
        size = self.stage_bytes.get(stage)
        text = f"{stage} {self.stage_seconds[stage]:.1f} s"
        return text if size is None else f"{text} {size / 1e6:,.1f} MB"

    def _date(self, provenance: Provenance) -> None:
        self.dates |= {item.date for item in provenance.items if item.date}

    def _note(self, error: str) -> None:
        if error in self.errors or len(self.errors) < _MOST_ERRORS:
            self.errors[error] = self.errors.get(error, 0) + 1


def _count(number: int, noun: str) -> str:
    """``1 block``, ``12 blocks``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
