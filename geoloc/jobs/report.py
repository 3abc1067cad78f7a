"""Reports of jobs: what was done, what is lacking and why, at what cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

from ..domain import Status
from ..errors import CubeError, GeolocError, ImageryError
from ..imagery.cached.tiles import TileResult
from ..progress import rate_words
from .tasks import BlockResult

_MOST_ERRORS = 100  # different messages that a report keeps


def _plus(total: int | None, size: int | None) -> int | None:
    """A sum that is not known where a part of it is not."""
    return None if total is None or size is None else total + size


@dataclass
class Report:
    """What the run of any job reports: of the chunks, which it calls ``noun``, and of itself.

    ``made``: what is done to a chunk; ``lacking``: the error where some are not whole.
    ``seconds`` is elapsed time; ``stopped`` says why the run ended before all of its chunks
    were tried, None where it did not.
    """

    noun: ClassVar[str]
    made: ClassVar[str]
    lacking: ClassVar[type[GeolocError]]
    url: str
    cluster: str = field(default="", kw_only=True)
    stopped: str | None = field(default=None, kw_only=True)
    errors: dict[str, int] = field(default_factory=dict, kw_only=True)
    """Messages, and in how many chunks each came up."""
    notes: list[str] = field(default_factory=list, kw_only=True)
    seconds: float = field(default=0.0, kw_only=True)

    @property
    def incomplete(self) -> int:
        """Chunks that failed or lack imagery that could not be read."""
        raise NotImplementedError

    @property
    def whole(self) -> int:
        """Chunks that lack nothing, of this run and of earlier ones."""
        raise NotImplementedError

    @property
    def complete(self) -> bool:
        """Whether nothing is lacking."""
        return not (self.stopped or self.incomplete)

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return asdict(self)

    def hear(self, errors: Iterable[str], notes: Iterable[str] = ()) -> None:
        """Count the messages of one chunk; a note is kept once."""
        for error in errors:
            if error in self.errors or len(self.errors) < _MOST_ERRORS:
                self.errors[error] = self.errors.get(error, 0) + 1
        self.notes += [note for note in notes if note not in self.notes]

    def remarks(self) -> list[str]:
        """Lines for people: what went wrong, and the notes."""
        stopped = [f"stopped before its end: {self.stopped}"] if self.stopped else []
        errors = [f"{error} ({n} {self.noun}s)" for error, n in self.errors.items()]
        return stopped + errors + self.notes

    def raise_if_incomplete(self) -> None:
        """Raise the job's own error where chunks failed, lack imagery, or were not tried."""
        again = "fix the cause and run the same command again"
        if self.stopped:
            raise self.lacking(f"{self.stopped}: {again}")
        if self.incomplete:
            raise self.lacking(
                f"{self.incomplete} of {self.incomplete + self.whole} {self.noun}s are "
                f"{self._state} ({next(iter(self.errors), 'unknown error')}): {again}; only these "
                f"are {self.made}"
            )

    @property
    def _state(self) -> str:
        """Of chunks that are not whole."""
        return "incomplete"


@dataclass
class TileReport(Report):
    """What a run over a copy of imagery did; ``valid_pixels`` counts this run's tiles alone.

    ``tiles_changed``: those finished before, but from imagery that has changed since;
    ``tiles_kept``: those of them that stay as they were, since it cannot be read now.
    """

    noun, made, lacking = "tile", "tiled", ImageryError
    pixels: int
    gsd: float
    tiles_done: int = 0
    tiles_reused: int = 0
    tiles_changed: int = 0
    tiles_kept: int = 0
    tiles_broken: int = 0
    tiles_failed: int = 0
    tiles_outside: int = 0
    valid_pixels: int = 0

    @property
    def incomplete(self) -> int:
        return self.tiles_failed + self.tiles_broken + self.tiles_kept

    @property
    def whole(self) -> int:
        return self.tiles_done + self.tiles_reused

    def add(self, result: TileResult) -> None:
        """Count a tile that was read."""
        broken = result.status == Status.BROKEN
        kept = not broken and bool(result.errors)
        self.tiles_broken += broken
        self.tiles_kept += kept
        self.tiles_done += not (broken or kept)
        self.valid_pixels += result.valid
        self.hear(result.errors, result.notes)

    def fail(self, error: str, status: Status) -> None:
        """Count a tile that could not be made; ``status`` is what it is now."""
        self.tiles_kept += status == Status.DONE
        self.tiles_failed += status != Status.DONE
        self.hear([error])

    def summary(self) -> str:
        """For people, a few lines."""
        changed = f" ({self.tiles_changed} of changed imagery)" if self.tiles_changed else ""
        kept = f"{self.tiles_kept} left as they were, " if self.tiles_kept else ""
        line = (
            f"{self.url}: {self.tiles_done} tiles written{changed}, {self.tiles_reused} already "
            f"there, {kept}{self.tiles_broken + self.tiles_failed} incomplete, "
            f"{self.tiles_outside} outside; {self.gsd:g} m per px, {self.seconds:.1f} s"
        )
        return "\n".join([line, *self.remarks()])

    @property
    def _state(self) -> str:
        return "out of date" if self.incomplete == self.tiles_kept else "incomplete"


@dataclass
class BuildReport(Report):
    """What a run did. ``cells_encoded`` and ``missing_cells`` count this run's blocks alone.

    ``stage_seconds`` and ``stage_bytes`` add up over the workers (see `StageStats`).
    ``blocks_copied`` are those that a refresh took over unchanged; ``published`` says whether
    readers open this generation now; ``blocks_damaged`` counts those that were not what had been
    written, and were computed again (they are among the others, too). ``tiling`` is the report of
    the tiled copy, where the area keeps one.
    """

    noun, made, lacking = "block", "computed", CubeError
    generation: str
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
    dates: set[str] = field(default_factory=set)
    """Of the images used in this run."""
    stage_seconds: dict[str, float] = field(default_factory=dict)
    stage_bytes: dict[str, int | None] = field(default_factory=dict)
    """None for a stage where one block's bytes are not known."""
    tiling: TileReport | None = None
    unit: str = "cells"
    """What has a vector each: cells of a grid, or points."""

    @property
    def incomplete(self) -> int:
        return self.blocks_failed + self.blocks_broken

    @property
    def whole(self) -> int:
        return self.blocks_done + self.blocks_reused + self.blocks_copied

    @property
    def complete(self) -> bool:
        return super().complete and (self.tiling is None or self.tiling.complete)

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
        self._spend(result.spent.seconds, result.spent.bytes)
        self.dates |= {item.date for item in result.provenance.items if item.date}
        self.hear(result.provenance.errors, result.provenance.notes)

    def _spend(self, seconds: Mapping[str, float], sizes: Mapping[str, int | None]) -> None:
        for stage, spent in seconds.items():
            self.stage_seconds[stage] = self.stage_seconds.get(stage, 0.0) + spent
        for stage, size in sizes.items():
            self.stage_bytes[stage] = _plus(self.stage_bytes.get(stage, 0), size)

    def fail(self, error: str) -> None:
        """Count a block that could not be made."""
        self.blocks_failed += 1
        self.hear([error])

    def with_earlier(self, earlier: BuildReport) -> BuildReport:
        """This report with what an earlier step of the same run did."""
        for name in ("cells_encoded", "missing_cells", "saturated_values", "blocks_done"):
            setattr(self, name, getattr(self, name) + getattr(earlier, name))
        self._spend(earlier.stage_seconds, earlier.stage_bytes)
        self.blocks_damaged += earlier.blocks_damaged
        self.cluster = self.cluster or earlier.cluster
        self.dates |= earlier.dates
        self.notes[:0] = [note for note in earlier.notes if note not in self.notes]
        return self

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        facts = {**asdict(self), "dates": sorted(self.dates)}
        return {**facts, "cells_per_second": self.cells_per_second}

    def summary(self) -> str:
        """For people, a few lines."""
        lines = [] if self.tiling is None else [self.tiling.summary()]
        lines += [
            f"{self.url} {self.generation}: {_count(self.blocks_done, 'block')} built, "
            f"{self._kept()}{self.incomplete} incomplete, "
            f"{self.blocks_outside} outside{self._pace()}"
        ]
        if self.stage_seconds:
            lines.append("in all workers: " + ", ".join(map(self._stage, self.stage_seconds)))
        if self.missing_cells or self.saturated_values:
            lines.append(
                f"{self.missing_cells:,} {self.unit} without imagery, "
                f"{self.saturated_values:,} values cut to the range that is stored"
            )
        return "\n".join(lines + self.remarks())

    def raise_if_incomplete(self) -> None:
        """Raise CubeError where blocks failed or lack imagery that could not be read.

        The same where the run was stopped for that. ImageryError where the tiled copy lacks
        some, or is older than its origin in places.
        """
        super().raise_if_incomplete()
        if self.tiling is not None:
            self.tiling.raise_if_incomplete()

    def _pace(self) -> str:
        if not self.blocks_done:
            return ""
        where = f", {self.cluster}" if self.cluster else ""
        pace = f"{rate_words(self.cells_per_second, self.unit)}{where}"
        return f"; {self.cells_encoded:,} {self.unit} in {self.seconds:.1f} s ({pace})"

    def _kept(self) -> str:
        copied = f"{self.blocks_copied} taken over unchanged, " if self.blocks_copied else ""
        return f"{copied}{self.blocks_reused} already there, "

    def _stage(self, stage: str) -> str:
        size = self.stage_bytes.get(stage)
        text = f"{stage} {self.stage_seconds[stage]:.1f} s"
        return text if size is None else f"{text} {size / 1e6:,.1f} MB"


def _count(number: int, noun: str) -> str:
    """``1 block``, ``12 blocks``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
