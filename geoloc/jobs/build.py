"""Builds feature cubes: imagery -> overhead encoder -> cube, block by block, resumable.

Each block is read, encoded and written on its own, wherever the executor runs it, and counts
once this process has named it in the cube's ledger. Memory is bounded by the blocks in flight,
whatever the area's size.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from ..area import Area
from ..cube import (
    FIRST_GENERATION,
    BlockWriter,
    Cube,
    CubeLock,
    CubeSpec,
    Ledger,
    create_generation,
    create_root,
    current_generation,
    damaged_blocks,
    finish_generation,
    generation_exists,
    hold_lock,
    newest_finished,
    plan_blocks,
    resume_generation,
    stored_spec,
)
from ..domain import Chunk, Grid, Status
from ..errors import ImageryError
from ..executors import Executor, Lazy
from ..imagery import notes_of
from ..stores import local_path
from .cache import tile_kept
from .calibration import calibrate
from .extent import notes_of_growth, placed
from .overview import SAVING_SECONDS, Mosaic, keep_overview, open_mosaic, read_pixels
from .plan import BuildPlan, plan_build, require_imagery
from .report import BuildReport
from .run import Job, Progress, Run
from .tasks import BlockResult, BuildTask
from .verify import Verification, verify_cube

__all__ = [
    "BlockJob",
    "BuildPlan",
    "BuildReport",
    "Progress",
    "Verification",
    "build_blocks",
    "build_cube",
    "from_area",
    "plan_build",
    "verify_cube",
]

_SAMPLE_SEED = 0
_SOON_READ = 1 << 30  # bytes of features on this machine that each build reads to find damage
_SOME = 3  # damaged blocks that a report names
_LOOKED_AT = 64  # finished blocks whose imagery is compared with what it was


def build_cube(
    area: Area,
    *,
    method: str | None = None,
    cluster: str = "auto",
    progress: Progress | None = None,
    tiling: Progress | None = None,
    max_failed: int | None = None,
    read_all: bool = False,
) -> BuildReport:
    """Build an area's cube, or what is still missing of it; see ``build_blocks``.

    Where the area keeps a tiled copy of its imagery, that is brought up to its origin first, and
    the cube is built from it; ``tiling`` is called with the progress of its tiles.

    Raises AreaError, ModelError, ImageryError or ClusterError before any work, CubeError where
    the cube cannot be written, SpecMismatchError where another cube lies there.
    """
    blocks = partial(
        build_blocks, cluster=cluster, progress=progress, max_failed=max_failed, read_all=read_all
    )
    return from_area(area, blocks, method=method, cluster=cluster, tiling=tiling)


def from_area(
    area: Area,
    blocks: Callable[[BuildPlan], BuildReport],
    *,
    method: str | None,
    cluster: str,
    tiling: Progress | None,
    other_imagery: bool = False,
) -> BuildReport:
    """Do ``blocks`` with the plan of an area whose tiled copy, if it keeps one, is up to date."""
    place = placed(area)
    copy = tile_kept(place, method, cluster, tiling, other_imagery=other_imagery)
    plan = plan_build(place, method)
    report = blocks(plan)
    report.tiling = copy
    if not place.keeps_copy:  # which has the cube's own extent
        report.notes += notes_of_growth(area, plan.source, plan.domain)
    return report


def build_blocks(
    plan: BuildPlan,
    *,
    cluster: str = "auto",
    progress: Progress | None = None,
    max_failed: int | None = None,
    read_all: bool = False,
) -> BuildReport:
    """Compute the blocks that the ledger does not hold yet; publish the cube at the end.

    Finished blocks that are damaged are computed again: those with a part that is missing or has
    another size, and by their contents where the cube is small and on this machine, or where
    ``read_all`` asks for it.

    A block that fails or lacks imagery that could not be read is reported and the build goes on,
    up to ``max_failed`` of them, or until a whole row of them failed one after the other. Blocks
    that were never tried come before those that lack imagery. The report of
    a build that was stopped says why; if it was the cube's first, readers do not open it yet.
    Interrupted at any point, the same call goes on where this one stopped. Raises as
    ``build_cube``.
    """
    start = time.perf_counter()
    require_imagery(plan)
    _begun(plan)[0].open_encoder()  # a step or method that the model refuses leaves no store behind
    create_root(plan.url)  # a store that cannot be written is found out before any work
    with hold_lock(plan.url, "cube build") as lock:
        plan, generation = _begun(plan)
        encoding = plan.task.encoder().describe()
        plan = plan.pinned(encoding)
        spec = plan.spec(encoding)
        resumes = resume_generation(plan.url, generation, spec)
        ledger = Ledger(plan.url, generation) if resumes else None
        status = plan_blocks(plan.domain, plan.polygon) if ledger is None else ledger.status
        report = begin_report(plan, generation, status)
        if ledger is not None:
            report.notes += _changed_imagery(plan, ledger)
            _forget_damaged(ledger, report, read_all=read_all)
        todo = np.vstack([np.argwhere(status == s) for s in (Status.MISSING, Status.BROKEN)])
        mosaic = open_mosaic(plan.domain, plan.source, encoding, read_pixels(plan.url, generation))
        job = BlockJob(plan, report, lock, mosaic, spec, status)
        with job.keeping_overview():
            Run(job, plan.domain, todo, progress, max_failed).on(cluster)
        _finish(report)
    report.notes[:0] = notes_of(plan.source)  # now that it has been asked for all there is
    report.seconds = time.perf_counter() - start
    return report


def _begun(plan: BuildPlan) -> tuple[BuildPlan, str]:
    """The plan with what a cube that was begun has settled, and the generation to build."""
    generation = current_generation(plan.url) or newest_finished(plan.url) or FIRST_GENERATION
    if generation != FIRST_GENERATION and not generation_exists(plan.url, generation):
        Cube.open(plan.url)  # says what is wrong
    there = stored_spec(plan.url, generation) if generation_exists(plan.url, generation) else None
    return plan.resuming(there), generation


def begin_report(plan: BuildPlan, generation: str, status: NDArray[np.uint8]) -> BuildReport:
    """A report of what is there before a run."""
    return BuildReport(
        plan.url,
        generation,
        cells=plan.domain.size,
        blocks_reused=int((status == Status.DONE).sum()),
        blocks_outside=int((status == Status.OUTSIDE).sum()),
    )


def _forget_damaged(ledger: Ledger, report: BuildReport, *, read_all: bool) -> None:
    """Mark damaged blocks as missing, so that they are computed like any others."""
    cube = Cube(report.url, report.generation, check_digests=read_all)
    found = damaged_blocks(cube, contents=read_all or _is_read_soon(cube))
    if not found:
        return
    ledger.forget(np.array(list(found)))
    report.blocks_damaged = len(found)
    report.blocks_reused = int((ledger.status == Status.DONE).sum())
    some = "; ".join(f"{place} {why}" for place, why in islice(found.items(), _SOME))
    report.notes.append(
        f"{len(found)} damaged blocks were computed again: {some}"
        f"{' …' if len(found) > _SOME else ''}"
    )


def _is_read_soon(cube: Cube) -> bool:
    blocks = int(np.isin(cube.done, (Status.DONE, Status.BROKEN)).sum())
    cells = blocks * cube.spec.block_size**cube.done.ndim
    return local_path(cube.url) is not None and cells * cube.features.dim <= _SOON_READ


def _changed_imagery(plan: BuildPlan, ledger: Ledger) -> list[str]:
    """A note where imagery under finished blocks is not what it was, judged by some of them."""
    done = np.argwhere(ledger.status == Status.DONE)
    some = np.random.default_rng(_SAMPLE_SEED).permutation(done)[:_LOOKED_AT]
    prints = ledger.fingerprints() if len(some) else np.empty((0, 0, 32), np.uint8)
    work = plan.task
    try:
        changed = sum(
            work.fingerprint(plan.domain.chunk(*place)) != prints[tuple(place)].tobytes().hex()
            for place in some.tolist()
        )
    except ImageryError as error:
        return [f"whether the imagery under finished blocks has changed is not known: {error}"]
    if not changed:
        return []
    return [
        f"the imagery under {changed} of {len(some)} finished blocks looked at has changed: "
        "'geoloc cube refresh' brings them up to date"
    ]


def _finish(report: BuildReport) -> None:
    """Let readers open what there is, but not the beginnings of a cube whose build stopped."""
    if report.stopped and current_generation(report.url) != report.generation:
        return
    if report.blocks_reused + report.blocks_done + report.blocks_broken:
        finish_generation(report.url, report.generation, report.dates)
        report.published = True


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
    status: NDArray[np.uint8]
    task: BuildTask = field(init=False)
    _saved: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        writer = partial(BlockWriter, self.plan.url, self.report.generation)
        self.task = BuildTask(replace(self.plan.task, overview=self.mosaic and self.mosaic.lattice), Lazy(writer))

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
            code = calibrate(self.plan.task, self.status, executor)
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
        return next(iter(origin.errors), None)

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
