"""The job that every build and refresh is: blocks of a cube's generation, encoded and written."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from ..arrays import U8
from ..cube import (
    BlockWriter,
    CubeLock,
    CubeSpec,
    Ledger,
    create_generation,
    generation_exists,
)
from ..domain import Chunk, Grid, Status
from ..executors import Executor, Lazy
from ..imagery.refusals import is_refusal
from ..progress import Progress
from .calibration import calibrate
from .overview import SAVING_SECONDS, Mosaic, keep_overview
from .plan import BuildPlan
from .points import ORDER
from .report import BuildReport
from .run import Job, Run
from .tasks import BlockResult, BuildTask


@dataclass(frozen=True)
class Manner:
    """How a run is carried out: under which lock, by which executor, until when."""

    lock: CubeLock
    cluster: str
    progress: Progress | None
    max_failed: int | None

    def run(self, job: BlockJob, todo: NDArray[np.intp]) -> None:
        """Do the job to blocks ``todo`` ``(n, dimension)``."""
        with job.keeping_overview():
            Run(job, job.plan.domain, todo, self.progress, self.max_failed).on(self.cluster)


def begin_report(plan: BuildPlan, generation: str, status: U8) -> BuildReport:
    """A report of what is there before a run."""
    return BuildReport(
        plan.url,
        generation,
        cells=plan.domain.size,
        blocks_reused=int((status == Status.DONE).sum()),
        blocks_outside=int((status == Status.OUTSIDE).sum()),
        unit="cells" if plan.points is None else "points",
    )


@dataclass
class BlockJob(Job[BlockResult]):
    """Blocks of a cube's generation: encoded and written by workers, marked in the ledger here.

    ``spec`` and ``status`` (of the blocks' grid): of the generation, where it is to be laid out.
    ``mosaic``: the overview in the making; None for points, of which none is made.
    """

    plan: BuildPlan
    report: BuildReport
    lock: CubeLock
    mosaic: Mosaic | None
    spec: CubeSpec
    status: U8
    task: BuildTask = field(init=False)
    _saved: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        writer = partial(BlockWriter, self.plan.url, self.report.generation)
        lattice = None if self.mosaic is None else self.mosaic.lattice
        self.task = BuildTask(replace(self.plan.task, overview=lattice), Lazy(writer))

    @cached_property
    def ledger(self) -> Ledger:
        """The ledger of the generation, once that is there."""
        return Ledger(self.plan.url, self.report.generation)

    def prepare(self, executor: Executor) -> None:
        """Lay out a new generation, its code chosen, unless nothing can be encoded."""
        self.plan.open_encoder().dim  # noqa: B018  what cannot be loaded is no block's fault
        if self._is_laid_out:
            return
        features = self.plan.features
        if features.code is None:
            points = self.plan.points
            order = None if points is None else points.attributes.get(ORDER)
            code = calibrate(self.plan.task, self.status, executor, order)
            if isinstance(code, str):
                self.report.stopped = f"no block could be encoded: {code}"
                return
            features = features.with_code(code)
        self.lock.check()  # whoever took it over may have laid out the same
        create_generation(
            self.plan.url,
            self.report.generation,
            self.spec,
            features,
            self.status,
            model_name=self.plan.model_name,
            area=self.plan.area,
            points=self.plan.points,
        )

    def record(self, block: Chunk, result: BlockResult) -> str | None:
        """Mark a written block, and show it in the overview, which is saved now and then."""
        origin = result.provenance
        if self.mosaic is not None:
            self.mosaic.put(block, result.picture, {i.date for i in origin.items if i.date})
        self.ledger.mark(block.index, result.status, origin.fingerprint, result.checks)
        self.report.add(result)
        if self.mosaic is not None and time.monotonic() - self._saved > SAVING_SECONDS:
            keep_overview(self.plan.url, self.report.generation, self.mosaic)
            self._saved = time.monotonic()
        refused = (error for error in origin.errors if is_refusal(error))
        return next(refused, next(iter(origin.errors), None))

    def fail(self, block: Chunk, error: str) -> None:  # noqa: ARG002 the signature of any job
        """Report a block that could not be made."""
        self.report.fail(error)

    @contextmanager
    def keeping_overview(self) -> Iterator[None]:
        """Keep the overview as far as it has come, however the run ends."""
        try:
            yield
            if self.mosaic is not None and self._is_laid_out:
                self.mosaic.fill(self.plan.source, self.ledger.status, self._window)
        finally:
            if self.mosaic is not None and self.mosaic.changed and self._is_laid_out:
                keep_overview(self.plan.url, self.report.generation, self.mosaic)

    def _window(self, block: Chunk) -> Grid:
        (window,) = self.plan.task.windows(block)
        return window

    @property
    def _is_laid_out(self) -> bool:
        return generation_exists(self.plan.url, self.report.generation)
