"""The engine of all jobs: what counts, when it stops, what it reports meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest

from geoloc.cube import CubeLock
from geoloc.domain import Chunk, Index
from geoloc.errors import CubeError, ImageryError
from geoloc.executors import Executor
from geoloc.jobs.report import BuildReport
from geoloc.jobs.run import HOPELESS, Job, Run
from geoloc.pulse import tell

from .cubes import grid_of

GRID = grid_of(80, 50)  # 8 x 5 chunks of 10 cells
PLACES = np.argwhere(np.ones((8, 5), np.bool_))


@dataclass
class Sums:
    """Adds up a chunk's row and column; fails and lacks where it is told to."""

    fails: Callable[[Index], bool] = lambda _: False
    lacks: Callable[[Index], bool] = lambda _: False

    def read(self, chunk: Chunk) -> int:
        if self.fails(chunk.index):
            raise ImageryError("gone")
        return sum(chunk.index)

    def finish(self, chunk: Chunk, data: int) -> tuple[int, str]:
        tell(0.5)
        return data, "a hole" if self.lacks(chunk.index) else ""


class Lock:
    """Held for so many looks at it."""

    def __init__(self, looks: int = 10**9) -> None:
        self.looks = looks

    def check(self) -> None:
        self.looks -= 1
        if self.looks < 0:
            raise CubeError("taken over")


@dataclass
class Adding(Job[tuple[int, str]]):
    """A job that keeps the sums."""

    task: Sums  # type: ignore[assignment]
    lock: CubeLock = field(default_factory=Lock)  # type: ignore[arg-type]
    report: BuildReport = field(default_factory=lambda: BuildReport("memory", "g0001"))
    begun: list[Index] = field(default_factory=list)
    sums: dict[Index, int] = field(default_factory=dict)
    refusal: str | None = None

    def prepare(self, executor: Executor) -> None:
        assert executor.description == "inline"
        self.report.stopped = self.refusal

    def begin(self, chunk: Chunk) -> None:
        self.begun.append(chunk.index)

    def record(self, chunk: Chunk, result: tuple[int, str]) -> str | None:
        self.sums[chunk.index] = result[0]
        self.report.blocks_broken += bool(result[1])
        return result[1] or None

    def fail(self, chunk: Chunk, error: str) -> None:
        assert chunk.index not in self.sums
        self.report.fail(error)


def run(job: Adding, **options: object) -> Adding:
    Run(job, GRID, PLACES, size=10, **options).on("inline")  # type: ignore[arg-type]
    return job


def test_all_chunks_are_recorded_and_told() -> None:
    told: list[tuple[float, int]] = []
    job = run(Adding(Sums()), progress=lambda *n: told.append(n))
    assert job.sums == {(y, x): y + x for y in range(8) for x in range(5)}
    assert job.begun == list(job.sums) and job.report.cluster == "inline"
    assert told == [(n / 2, 40) for n in range(1, 81)]


def test_nothing_to_do_opens_nothing() -> None:
    job = Adding(Sums())
    Run(job, GRID, PLACES[:0]).on("tcp://127.0.0.1:1")
    assert job.report.cluster == ""


def test_a_job_that_is_refused_begins_no_chunk() -> None:
    job = run(Adding(Sums(), refusal="no"))
    assert (job.begun, job.sums, job.report.stopped) == ([], {}, "no")


@pytest.mark.parametrize(("limit", "told"), [(0, "1 block failed"), (2, "3 blocks failed")])
def test_failed_and_incomplete_chunks_count_alike(limit: int, told: str) -> None:
    job = Adding(Sums(lambda at: at[0] == 1, lambda at: at == (0, 3)))
    run(job, max_failed=limit)
    assert job.report.stopped == f"{told}, the last: {'a hole' if limit == 0 else 'gone'}"
    assert job.report.incomplete == limit + 1
    assert len(job.sums) == (4 if limit == 0 else 5)


def test_a_row_of_failures_ends_a_run_and_incomplete_chunks_do_not() -> None:
    two = np.concatenate([PLACES, PLACES])
    job = Adding(Sums(lacks=lambda _: True))
    Run(job, GRID, two, size=10).on("inline")
    assert (job.report.stopped, job.report.blocks_broken) == (None, 80)
    job = Adding(Sums(fails=lambda at: at != (0, 3)))
    Run(job, GRID, two, size=10).on("inline")
    assert job.report.stopped is None  # 39 in a row at most
    job = Adding(Sums(fails=lambda _: True))
    Run(job, GRID, two, size=10).on("inline")
    assert job.report.stopped == f"{HOPELESS} blocks in a row failed, the last: gone"
    assert job.report.blocks_failed == HOPELESS


def test_nothing_is_recorded_once_the_lock_is_lost() -> None:
    job = Adding(Sums(), lock=Lock(3))  # type: ignore[arg-type]
    with pytest.raises(CubeError, match="taken over"):
        run(job)
    assert len(job.sums) == 3
