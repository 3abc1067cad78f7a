"""The one resumable job: chunks through an executor, each of which counts once it is recorded.

A `Job` says what is done to a chunk, how its result is recorded and what the report counts.
The run does what all jobs have in common: it streams the chunks, stops where too many of them
fail, makes sure of the lock before anything is recorded, and reports progress. What was recorded
stays, so that the same job, run again, takes up the rest.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..cube import CubeLock
from ..domain import Chunk, Domain
from ..executors import Executor, Outcome, Task, open_cluster
from ..imagery.refusals import is_refusal
from ..progress import Progress
from ..pulse import listening
from .report import Report

Result = TypeVar("Result")


HOPELESS = 50
"""Chunks that fail one after the other end a run: a full disk, a dead archive, wrong keys."""

THREADS = 16
"""Of the client, waiting for a store or for imagery's versions, not computing."""


class Job(ABC, Generic[Result]):
    """Something that is done to the chunks of a domain, and may be interrupted at any moment.

    ``lock`` is that of the store that is written to, ``task`` what workers do to a chunk.
    """

    report: Report
    lock: CubeLock
    task: Task[Chunk, Any, Result]

    def prepare(self, executor: Executor) -> None:
        """What comes before the first chunk; it may stop the run by way of the report."""

    def begin(self, chunk: Chunk) -> None:
        """What comes before a chunk is given to a worker."""

    @abstractmethod
    def record(self, chunk: Chunk, result: Result) -> str | None:
        """Enter a written chunk in the ledger and the report; what it lacks, if anything."""

    @abstractmethod
    def fail(self, chunk: Chunk, error: str) -> None:
        """Report a chunk that could not be made."""


@dataclass
class Run(Generic[Result]):
    """One run of a job over the chunks of ``domain``, ``size`` cells a side, at ``todo`` (n, dim).

    It ends early, and the report says why, where a server refuses requests for
    a while, where more than ``max_failed`` chunks lack something,
    or where `HOPELESS` of them fail one after the other.
    """

    job: Job[Result]
    domain: Domain
    todo: NDArray[np.intp]
    progress: Progress | None = None
    max_failed: int | None = None
    size: int | None = None
    done: int = 0
    _failed_in_a_row: int = 0

    def on(self, cluster: str) -> None:
        """All of ``todo``, on an executor that is opened for it (see `open_cluster`).

        Raises CubeError where the ledger cannot be written or the lock is lost, ClusterError
        where the executor cannot be opened or is lost.
        """
        if not len(self.todo):
            return
        with open_cluster(cluster, blocks=len(self.todo)) as executor:
            self.job.report.cluster = executor.description
            self.job.prepare(executor)
            if not self.job.report.stopped:
                self.over(executor)

    def over(self, executor: Executor) -> None:
        """The same on an executor that is open, what the job prepares being there."""
        outcomes = executor.stream(self.job.task, self._chunks())
        with listening(self._within), closing(outcomes):
            for outcome in outcomes:
                self.job.lock.check()
                self._settle(outcome)
                self.done += 1
                if self.progress:
                    self.progress(self.done, len(self.todo))
                if self.job.report.stopped:
                    break

    def _chunks(self) -> Iterator[Chunk]:
        """Made one at a time: a country has hundreds of thousands."""
        for index in self.todo:
            chunk = self.domain.chunk(*index.tolist(), size=self.size)
            self.job.begin(chunk)
            yield chunk

    def _settle(self, outcome: Outcome[Chunk, Result]) -> None:
        """A chunk that lacks imagery is no sign that nothing works: one broken file has many."""
        if outcome.result is None:
            self._failed_in_a_row += 1
            self.job.fail(outcome.item, outcome.error)
            self._judge(outcome.error)
            return
        self._failed_in_a_row = 0
        if lack := self.job.record(outcome.item, outcome.result):
            self._judge(lack)

    def _judge(self, error: str) -> None:
        """Stop where an incomplete chunk is one too many, or where a server will serve no more."""
        report, noun = self.job.report, self.job.report.noun
        if is_refusal(error):
            report.stopped = error
        elif self.max_failed is not None and report.incomplete > self.max_failed:
            chunks = f"1 {noun}" if report.incomplete == 1 else f"{report.incomplete} {noun}s"
            report.stopped = f"{chunks} failed, the last: {error}"
        elif self._failed_in_a_row >= HOPELESS:
            report.stopped = f"{HOPELESS} {noun}s in a row failed, the last: {error}"

    def _within(self, share: float) -> None:
        """Report how far the chunk under way has come."""
        if self.progress and share < 1:
            self.progress(self.done + share, len(self.todo))
