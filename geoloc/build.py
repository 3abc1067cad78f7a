"""Builds feature cubes: imagery -> overhead encoder -> cube, block by block, resumable.

Each block is read, encoded and written on its own, wherever the executor runs it, and counts
once this process has named it in the cube's ledger. Memory is bounded by the blocks in flight,
whatever the area's size.
"""

from __future__ import annotations

import functools
import hashlib
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .area import Area
from .blocks import BlockResult, BuildWork, Encoder, EncodeWork, Sample, sample_size
from .cluster import Executor, open_cluster
from .cube import (
    CubeSpec,
    Ledger,
    Quantizer,
    Status,
    create_generation,
    create_root,
    current_generation,
    plan_blocks,
    publish,
    resume_generation,
)
from .errors import CubeError, ImageryError
from .grid import Block, Grid
from .imagery import Source, open_source, require_overlap

if TYPE_CHECKING:
    from shapely import Geometry

Progress = Callable[[int, int], None]
"""Told how many of how many blocks are encoded."""

FIRST_GENERATION = "g0001"

_SAMPLE_SEED = 0
_MOST_ERRORS = 100  # different messages that a report keeps


@dataclass(frozen=True)
class BuildPlan:
    """All that a build needs; making one reads and computes nothing.

    ``open_encoder`` is picklable and called once in each process. ``weights`` ``(feature,)``
    and ``metric`` ``(feature, component)`` are the model's own.
    """

    url: str
    grid: Grid
    source: Source
    open_encoder: Callable[[], Encoder]
    classes: tuple[str, ...]
    model_name: str
    model_digest: str
    imagery: dict[str, Any] = field(default_factory=dict)
    polygon: Geometry | None = None
    weights: NDArray[np.float32] | None = None
    metric: NDArray[np.float32] | None = None
    area: str = ""

    def spec(self, encoding: dict[str, Any]) -> CubeSpec:
        """The identity of the cube, given what the encoder says of itself."""
        polygon = None if self.polygon is None else hashlib.sha256(self.polygon.wkb).hexdigest()
        return CubeSpec.of_grid(
            self.grid,
            polygon=polygon,
            imagery=self.imagery,
            model=self.model_digest,
            encoding=encoding,
        )


@dataclass
class BuildReport:
    """What a run did. ``cells_encoded`` and ``missing_cells`` count this run's blocks alone.

    ``seconds`` is elapsed time; ``stage_seconds`` adds up over the workers.
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
    errors: dict[str, int] = field(default_factory=dict)
    """Messages, and in how many blocks each came up."""
    stage_seconds: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0

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
        self.stage_seconds = dict(Counter(self.stage_seconds) + Counter(result.seconds))
        for error in result.provenance.errors:
            self._note(error)

    def fail(self, error: str) -> None:
        """Count a block that could not be made."""
        self.blocks_failed += 1
        self._note(error)

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return {**asdict(self), "cells_per_second": self.cells_per_second}

    def summary(self) -> str:
        """For people, a few lines."""
        lines = [
            f"{self.url} {self.generation}: {self.blocks_done} blocks built, "
            f"{self.blocks_reused} already there, {self.blocks_broken + self.blocks_failed} "
            f"incomplete, {self.blocks_outside} outside; {self.cells_encoded:,} cells in "
            f"{self.seconds:.1f} s ({self.cells_per_second:,.0f} cells/s, {self.cluster})"
        ]
        if self.missing_cells or self.saturated_values:
            lines.append(
                f"{self.missing_cells:,} cells without imagery, "
                f"{self.saturated_values:,} values beyond the code's range"
            )
        lines += [f"{error} ({n} blocks)" for error, n in self.errors.items()]
        return "\n".join(lines)

    def raise_if_incomplete(self) -> None:
        """Raise CubeError where blocks failed or lack imagery that could not be read."""
        short = self.blocks_failed + self.blocks_broken
        if short:
            raise CubeError(
                f"{short} of {short + self.blocks_done + self.blocks_reused} blocks are "
                f"incomplete ({next(iter(self.errors), 'unknown error')}): mend the cause and "
                "run the same command again; only these are computed"
            )

    def _note(self, error: str) -> None:
        if error in self.errors or len(self.errors) < _MOST_ERRORS:
            self.errors[error] = self.errors.get(error, 0) + 1


def build_cube(
    area: Area,
    *,
    method: str | None = None,
    cluster: str = "auto",
    progress: Progress | None = None,
) -> BuildReport:
    """Build an area's cube, or what is still missing of it.

    Raises AreaError, ModelError, ImageryError or ClusterError before any work, CubeError where
    the cube cannot be written, SpecMismatchError where another cube lies there.
    """
    return build_blocks(plan_build(area, method), cluster=cluster, progress=progress)


def plan_build(area: Area, method: str | None = None) -> BuildPlan:
    """What building an area takes; opens neither images nor weights."""
    from .encoders import load_model

    model = load_model(area.model)
    return BuildPlan(
        url=area.cube,
        grid=area.grid,
        source=open_source(area.imagery),
        open_encoder=functools.partial(_open_encoder, str(model.path), area.step, method),
        classes=model.classes,
        model_name=model.name,
        model_digest=model.digest,
        imagery=area.imagery.model_dump(mode="json"),
        polygon=area.polygon,
        weights=model.distance_weights,
        metric=model.metric,
        area=area.name,
    )


@functools.cache  # one network a process, however many builds it serves
def _open_encoder(model: str, step: float, method: str | None) -> Encoder:
    from .encoders import load_model, open_overhead

    return open_overhead(load_model(model), step, method)


def build_blocks(
    plan: BuildPlan,
    *,
    cluster: str = "auto",
    progress: Progress | None = None,
    max_failed: int | None = None,
) -> BuildReport:
    """Compute the blocks that the ledger does not hold yet; publish the cube at the end.

    A failed block is reported and the build goes on, up to ``max_failed`` of them. Interrupted
    at any point, the same call goes on where this one stopped. Raises as ``build_cube``.
    """
    start = time.perf_counter()
    require_overlap(plan.source, plan.grid)
    work = EncodeWork(plan.grid, plan.source, plan.open_encoder, plan.polygon)
    spec = plan.spec(work.encoder.describe())
    create_root(plan.url)  # a store that cannot be written is found out before any work
    generation = current_generation(plan.url) or FIRST_GENERATION
    resumes = resume_generation(plan.url, generation, spec)
    status = (
        Ledger(plan.url, generation).status if resumes else plan_blocks(plan.grid, plan.polygon)
    )
    report = _begin_report(plan, generation, status)
    todo = np.argwhere(np.isin(status, (Status.MISSING, Status.BROKEN)))
    if len(todo):
        run = _Run(plan, work, report, todo, progress or _silent, max_failed)
        with (
            open_cluster(cluster, blocks=len(todo)) as executor,
            tempfile.TemporaryDirectory(prefix="geoloc-") as folder,
        ):
            report.cluster = executor.description
            sample = Sample(Path(folder))
            if not resumes:
                run.draw(executor, sample)
                _create(plan, generation, spec, sample.quantizer(), status)
            run.fill(executor, sample)
    if report.blocks_reused + report.blocks_done + report.blocks_broken:
        publish(plan.url, generation)
    report.seconds = time.perf_counter() - start
    return report


def _begin_report(plan: BuildPlan, generation: str, status: NDArray[np.uint8]) -> BuildReport:
    return BuildReport(
        plan.url,
        generation,
        cells=plan.grid.size,
        blocks_reused=int((status == Status.DONE).sum()),
        blocks_outside=int((status == Status.OUTSIDE).sum()),
    )


def _create(
    plan: BuildPlan,
    generation: str,
    spec: CubeSpec,
    quantizer: Quantizer,
    status: NDArray[np.uint8],
) -> None:
    create_generation(
        plan.url,
        generation,
        spec,
        quantizer,
        status,
        classes=plan.classes,
        model_name=plan.model_name,
        area=plan.area,
        weights=plan.weights,
        metric=plan.metric,
    )


def _silent(done: int, total: int) -> None:
    """Nobody wants to know."""


@dataclass
class _Run:
    """One run over the blocks ``todo`` ``(n, 2)``, rows and columns of the ledger."""

    plan: BuildPlan
    work: EncodeWork
    report: BuildReport
    todo: NDArray[np.intp]
    progress: Progress
    max_failed: int | None
    encoded: int = 0

    def draw(self, executor: Executor, sample: Sample) -> None:
        """Encode blocks in random order until enough of them held any imagery.

        Raises CubeError where none can be encoded, ImageryError where none holds imagery.
        """
        order = np.random.default_rng(_SAMPLE_SEED).permutation(self.todo)
        wanted, found = sample_size(len(order)), 0
        errors: list[str] = []
        for start in range(0, len(order), wanted):
            blocks = self._blocks(order[start : start + wanted])
            with closing(executor.stream(self.work, blocks)) as outcomes:
                for outcome in outcomes:
                    if outcome.result is None:
                        errors.append(outcome.error)
                    elif sample.add(outcome.item, outcome.result):
                        found += 1
                        self._tick(outcome.item in sample)
            if found * 4 >= wanted or len(errors) >= wanted:
                break
        if not found and errors:
            raise CubeError(f"no block could be encoded: {errors[0]}")
        if not found:
            raise ImageryError("no cell of the area has enough imagery under it to be encoded")

    def fill(self, executor: Executor, sample: Sample) -> None:
        """Store what was sampled, stream the rest; a block counts once it is marked here."""
        work = BuildWork(self.work, self.plan.url, self.report.generation)
        ledger = Ledger(self.plan.url, self.report.generation)
        for block, encoded in sample.parked():
            self._mark(ledger, block, work.store(block, encoded))
        rest = (block for block in self._blocks(self.todo) if block not in sample)
        with closing(executor.stream(work, rest)) as outcomes:
            for outcome in outcomes:
                self._tick()
                if outcome.result is None:
                    self._fail(outcome.error)
                else:
                    self._mark(ledger, outcome.item, outcome.result)

    def _mark(self, ledger: Ledger, block: Block, result: BlockResult) -> None:
        ledger.mark(block.row, block.col, result.status, result.provenance.fingerprint)
        self.report.add(result)

    def _fail(self, error: str) -> None:
        self.report.fail(error)
        if self.max_failed is not None and self.report.blocks_failed > self.max_failed:
            raise CubeError(f"{self.report.blocks_failed} blocks failed, the last: {error}")

    def _tick(self, blocks: int = 1) -> None:
        self.encoded += blocks
        self.progress(self.encoded, len(self.todo))

    def _blocks(self, places: NDArray[np.intp]) -> Iterator[Block]:
        """Made one at a time: a country has hundreds of thousands."""
        return (self.plan.grid.block(int(row), int(col)) for row, col in places)
