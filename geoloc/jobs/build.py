"""Builds feature cubes: imagery -> overhead encoder -> cube, block by block, resumable.

Each block is read, encoded and written on its own, wherever the executor runs it, and counts
once this process has named it in the cube's ledger. Memory is bounded by the blocks in flight,
whatever the area's size.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from typing import Any

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
    Parking,
    Status,
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
from ..domain import Chunk
from ..errors import ImageryError
from ..executors import Executor, Once, Outcome, open_cluster
from ..imagery import notes_of, require_overlap
from ..models import Quantizer
from ..pulse import listening
from ..stores import local_path
from .cache import tile_kept
from .extent import notes_of_growth, placed
from .overview import SAVING_SECONDS, Mosaic, Overview, keep_overview, lattice_of, read_pixels
from .plan import BuildPlan, plan_build
from .report import BuildReport
from .tasks import BlockResult, BuildWork, Encoded, EncodeWork, Sample, sample_size
from .verify import Verification, verify_cube

__all__ = [
    "BlockRun",
    "BuildPlan",
    "BuildReport",
    "Progress",
    "Verification",
    "build_blocks",
    "build_cube",
    "plan_build",
    "verify_cube",
]

Progress = Callable[[float, int], None]
"""Told how many of how many blocks are encoded, with the share done of the one under way."""

_SAMPLE_SEED = 0
_HOPELESS = 50  # blocks failing one after the other: a full disk, a dead archive, wrong keys
_IN_VAIN = 1000  # blocks drawn at random of which none holds a cell, for imagery cannot be read
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
    the cube is built from it; ``tiling`` is told of its tiles.

    Raises AreaError, ModelError, ImageryError or ClusterError before any work, CubeError where
    the cube cannot be written, SpecMismatchError where another cube lies there.
    """
    given, area = area, placed(area)
    copy = tile_kept(area, method, cluster, tiling)
    plan = plan_build(area, method)
    report = build_blocks(
        plan, cluster=cluster, progress=progress, max_failed=max_failed, read_all=read_all
    )
    report.tiling = copy
    if not area.keeps_copy:  # which has the cube's own extent
        report.notes += notes_of_growth(given, plan.source, plan.grid)
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
    require_overlap(plan.source, plan.grid)
    _begun(plan)[0].open_encoder()  # a step or method that the model refuses leaves no store behind
    create_root(plan.url)  # a store that cannot be written is found out before any work
    with hold_lock(plan.url, "cube build") as lock:
        plan, generation = _begun(plan)
        encoding = plan.work.encoder().describe()
        plan = plan.pinned(encoding)
        spec = plan.spec(encoding)
        resumes = resume_generation(plan.url, generation, spec)
        ledger = Ledger(plan.url, generation) if resumes else None
        status = plan_blocks(plan.grid, plan.polygon) if ledger is None else ledger.status
        report = _begin_report(plan, generation, status)
        if ledger is not None:
            report.notes += _changed_imagery(plan, ledger)
            _forget_damaged(ledger, report, read_all=read_all)
        todo = np.vstack([np.argwhere(status == s) for s in (Status.MISSING, Status.BROKEN)])
        sample = Sample(Parking(plan.url, spec.digest))
        kept = read_pixels(plan.url, generation)
        if len(todo):
            plan.open_encoder().dim  # noqa: B018  what cannot be loaded is no block's fault
            mosaic = open_mosaic(plan, encoding, kept)
            run = BlockRun(plan, report, lock, todo, progress, max_failed, mosaic)
            create = None if resumes else partial(_create, plan, generation, spec, status)
            with open_cluster(cluster, blocks=len(todo)) as executor, keeping(run):
                report.cluster = executor.description
                run.build(executor, sample, create)
        else:
            sample.clear()
            _complete_overview(plan, generation, encoding, kept, status)
        _finish(report)
    report.notes[:0] = notes_of(plan.source)  # now that it has been asked for all there is
    report.seconds = time.perf_counter() - start
    return report


def open_mosaic(plan: BuildPlan, encoding: dict[str, Any], kept: Overview | None) -> Mosaic:
    """The area's overview in the making, from what is kept of it."""
    gsd = float(encoding.get("gsd") or plan.source.gsd)
    return Mosaic(plan.grid, lattice_of(plan.grid, gsd), kept)


@contextmanager
def keeping(run: BlockRun) -> Iterator[None]:
    """Keep the overview as far as it has come, however a run ends."""
    where = run.plan.url, run.report.generation
    try:
        yield
        if generation_exists(*where):
            run.mosaic.fill(run.plan.source, Ledger(*where).status, run.work.window)
    finally:
        if run.mosaic.changed and generation_exists(*where):
            keep_overview(*where, run.mosaic)


def _complete_overview(
    plan: BuildPlan,
    generation: str,
    encoding: dict[str, Any],
    kept: Overview | None,
    status: NDArray[np.uint8],
) -> None:
    """Give a cube that is built the overview that it lacks, as far as that is quickly read."""
    whole = status == Status.DONE
    if kept is not None and kept.seen.shape == whole.shape and not (whole & ~kept.seen).any():
        return
    mosaic = open_mosaic(plan, encoding, kept)
    mosaic.fill(plan.source, status, plan.work.window)
    if mosaic.changed:
        keep_overview(plan.url, generation, mosaic)


def _begun(plan: BuildPlan) -> tuple[BuildPlan, str]:
    """The plan with what a cube that was begun has settled, and the generation to build."""
    generation = current_generation(plan.url) or newest_finished(plan.url) or FIRST_GENERATION
    if generation != FIRST_GENERATION and not generation_exists(plan.url, generation):
        Cube.open(plan.url)  # says what is wrong
    there = stored_spec(plan.url, generation) if generation_exists(plan.url, generation) else None
    return plan.resuming(there), generation


def _begin_report(plan: BuildPlan, generation: str, status: NDArray[np.uint8]) -> BuildReport:
    """An account of what is there before a run."""
    return BuildReport(
        plan.url,
        generation,
        cells=plan.grid.size,
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
    cells = np.isin(cube.done, (Status.DONE, Status.BROKEN)).sum() * cube.spec.block_size**2
    return local_path(cube.url) is not None and cells * cube.features.dim <= _SOON_READ


def _changed_imagery(plan: BuildPlan, ledger: Ledger) -> list[str]:
    """A note where imagery under finished blocks is not what it was, judged by some of them."""
    done = np.argwhere(ledger.status == Status.DONE)
    some = np.random.default_rng(_SAMPLE_SEED).permutation(done)[:_LOOKED_AT]
    prints = ledger.fingerprints() if len(some) else np.empty((0, 0, 32), np.uint8)
    work = plan.work
    try:
        changed = sum(
            work.fingerprint(plan.grid.chunk(row, col)) != prints[row, col].tobytes().hex()
            for row, col in some.tolist()
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


def _create(
    plan: BuildPlan,
    generation: str,
    spec: CubeSpec,
    status: NDArray[np.uint8],
    quantizer: Quantizer,
) -> None:
    create_generation(
        plan.url,
        generation,
        spec,
        plan.features.with_code(quantizer),
        status,
        model_name=plan.model_name,
        area=plan.area,
    )


@dataclass
class BlockRun:
    """One run over the blocks ``todo`` ``(n, 2)``, rows and columns of the ledger."""

    plan: BuildPlan
    report: BuildReport
    lock: CubeLock
    todo: NDArray[np.intp]
    progress: Progress | None
    max_failed: int | None
    mosaic: Mosaic
    encoded: int = 0
    _drawn: dict[Chunk, BlockResult | str] = field(default_factory=dict)  # counts if that is all
    _lacking: set[Chunk] = field(default_factory=set)  # incomplete when drawn; tried again
    _failed_in_a_row: int = 0
    _created: bool = False  # whether there is a generation to keep an overview of
    _saved: float = field(default_factory=time.monotonic)

    @property
    def work(self) -> EncodeWork:
        return replace(self.plan.work, overview=self.mosaic.lattice)

    def build(
        self, executor: Executor, sample: Sample, create: Callable[[Quantizer], None] | None
    ) -> None:
        """All of ``todo``; ``create`` lays out the generation, None where it is there already."""
        if create is None:
            self.recall(sample)
        elif self.draw(executor, sample):
            quantizer = sample.quantizer()
            self.lock.check()  # whoever took it over may have laid out the same
            create(quantizer)
        if not self.report.stopped:
            self.fill(executor, sample)

    def draw(self, executor: Executor, sample: Sample) -> bool:
        """Encode blocks in random order until enough of them held any imagery.

        False where the run is stopped: too many blocks failed, or none could be encoded. Raises
        ImageryError where none holds imagery.
        """
        order = np.random.default_rng(_SAMPLE_SEED).permutation(self.todo)
        wanted, found = sample_size(len(order)), 0
        for start in range(0, len(order), wanted):
            found += self._draw_some(executor, sample, order[start : start + wanted])
            failed = sum(isinstance(drawn, str) for drawn in self._drawn.values())
            in_vain = not found and len(self._drawn) >= _IN_VAIN
            if self.report.stopped or found * 4 >= wanted or failed >= wanted or in_vain:
                break
        if self.report.stopped or not found:
            self._end_with_draw()
        return not self.report.stopped

    def recall(self, sample: Sample) -> None:
        """Take up what an earlier run sampled and did not come to store."""
        if sample.left:
            for block in self._blocks(self.todo):
                self._recall(sample, block)

    def _recall(self, sample: Sample, block: Chunk) -> bool:
        """Whether a block needs not be drawn, as an earlier run has drawn it."""
        if block.index not in sample.left:
            return False
        provenance = sample.recall(block, self.work)
        if provenance is not None and block in sample:
            self.report.reuse(provenance)
            self._tick()
        return provenance is not None

    def _draw_some(self, executor: Executor, sample: Sample, places: NDArray[np.intp]) -> int:
        """How many of these blocks hold any imagery."""
        rest = [block for block in self._blocks(places) if not self._recall(sample, block)]
        found = len(places) - len(rest)
        with listening(self._within), closing(executor.stream(self.work, rest)) as outcomes:
            for outcome in outcomes:
                found += self._take(sample, outcome)
                if self.report.stopped:
                    break
        return found

    def _take(self, sample: Sample, outcome: Outcome[Chunk, Encoded]) -> bool:
        """Whether a block that was drawn holds any imagery."""
        block, encoded = outcome.item, outcome.result
        if encoded is None:
            self._drawn[block] = outcome.error
            self._lacking.add(block)
            self._lack(outcome.error, failed=True)
            return False
        self.lock.check()
        self._show(block, encoded)
        found = sample.add(block, encoded)
        if encoded.provenance.errors or block in sample:
            self._drawn[block] = encoded.result()
        if encoded.provenance.errors:
            self._lacking.add(block)
            self._lack(encoded.provenance.errors[0])
        else:
            self._failed_in_a_row = 0
        self._tick(block in sample)
        return found

    def _end_with_draw(self) -> None:
        """Report what was drawn, as nothing comes after it, and why."""
        self._count_drawn(self._drawn)
        if self.report.stopped:
            return
        if not self.report.errors:
            raise ImageryError("no cell of the area has enough imagery under it to be encoded")
        self.report.stopped = f"no block could be encoded: {next(iter(self.report.errors))}"

    def _count_drawn(self, blocks: Iterable[Chunk]) -> None:
        """Report blocks as they were when drawn, those that are not tried again."""
        for drawn in map(self._drawn.__getitem__, blocks):
            if isinstance(drawn, str):
                self.report.fail(drawn)
            else:
                self.report.add(drawn)

    def fill(self, executor: Executor, sample: Sample | None = None) -> None:
        """Store what was sampled, stream the rest; a block counts once it is marked here.

        Stops where too many blocks fail. Raises CubeError where the ledger cannot be written or
        the lock is lost.
        """
        where, self._created = (self.plan.url, self.report.generation), True
        work = BuildWork(self.work, Once(partial(BlockWriter, *where)))
        ledger = Ledger(*where)
        if sample:
            self._store_sample(work, ledger, sample)
        rest = (b for b in self._blocks(self.todo) if sample is None or b not in sample)
        with listening(self._within), closing(executor.stream(work, rest)) as outcomes:
            for outcome in outcomes:
                if outcome.result is None:
                    self._fail(outcome.item, outcome.error)
                else:
                    self._show(outcome.item, outcome.result)
                    self._mark(ledger, outcome.item, outcome.result)
                    self._count(outcome.result)
                self._tick()
                if self.report.stopped:
                    self._count_drawn(b for b in self._drawn if b in self._lacking)
                    break

    def _store_sample(self, work: BuildWork, ledger: Ledger, sample: Sample) -> None:
        for block, encoded in sample.parked():
            result = work.store(block, encoded)
            self._mark(ledger, block, result)
            if not sample.is_recalled(block):
                self._count(result)
            sample.drop(block)
        sample.clear()

    def _mark(self, ledger: Ledger, block: Chunk, result: BlockResult) -> None:
        self.lock.check()
        print_ = result.provenance.fingerprint
        ledger.mark(block.index, result.status, print_, result.checks)
        self._lacking.discard(block)

    def _count(self, result: BlockResult) -> None:
        self.report.add(result)
        if result.status == Status.BROKEN:
            self._lack(result.provenance.errors[0])
        else:
            self._failed_in_a_row = 0

    def _fail(self, block: Chunk, error: str) -> None:
        self._lacking.discard(block)
        self.report.fail(error)
        self._lack(error, failed=True)

    def _lack(self, error: str, *, failed: bool = False) -> None:
        """Stop the run where an incomplete block is one too many.

        Blocks that lack imagery are no sign that nothing works: one broken file has many.
        """
        self._failed_in_a_row = self._failed_in_a_row + 1 if failed else 0
        lacking = self.report.blocks_failed + self.report.blocks_broken + len(self._lacking)
        if self.max_failed is not None and lacking > self.max_failed:
            blocks = "1 block" if lacking == 1 else f"{lacking} blocks"
            self.report.stopped = f"{blocks} failed, the last: {error}"
        elif self._failed_in_a_row >= _HOPELESS:
            self.report.stopped = f"{_HOPELESS} blocks in a row failed, the last: {error}"

    def _show(self, block: Chunk, made: Encoded | BlockResult) -> None:
        """Put a block into the overview, which is saved now and then."""
        self.mosaic.put(block, made.picture, {i.date for i in made.provenance.items if i.date})
        if self._created and time.monotonic() - self._saved > SAVING_SECONDS:
            keep_overview(self.plan.url, self.report.generation, self.mosaic)
            self._saved = time.monotonic()

    def _tick(self, blocks: int = 1) -> None:
        self.encoded += blocks
        if self.progress:
            self.progress(self.encoded, len(self.todo))

    def _within(self, share: float) -> None:
        """Tell how far the block under way has come."""
        if self.progress and share < 1:
            self.progress(self.encoded + share, len(self.todo))

    def _blocks(self, places: NDArray[np.intp]) -> Iterator[Chunk]:
        """Made one at a time: a country has hundreds of thousands."""
        return (self.plan.grid.chunk(int(row), int(col)) for row, col in places)
