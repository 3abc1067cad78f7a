"""Builds feature cubes: imagery -> overhead encoder -> cube, block by block, resumable.

Each block is read, encoded and written on its own, wherever the executor runs it, and counts
once this process has named it in the cube's ledger. Memory is bounded by the blocks in flight,
whatever the area's size.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from itertools import islice

import numpy as np

from ..area import Area
from ..cube import (
    FIRST_GENERATION,
    Cube,
    Ledger,
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
from ..domain import Domain, Status
from ..errors import ImageryError, UsageError
from ..imagery import notes_of
from ..progress import Progress
from ..stores import local_path
from .blocks import BlockJob, Manner, begin_report
from .cache import tile_kept
from .extent import notes_of_growth, placed
from .overview import open_mosaic, read_pixels
from .plan import BuildPlan, plan_build, require_imagery
from .points import points_of
from .report import BuildReport
from .succession import append_points, sizes_to_build

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
    n: int | None = None,
    domain: Domain | None = None,
) -> BuildReport:
    """Build an area's cube, or what is still missing of it; see ``build_blocks``.

    Of an area of points: those of its file, or the first ``n``, or those given as ``domain``.
    Where the cube holds fewer of them, the others are appended, in a new generation that takes
    over what is there.

    Where the area keeps a tiled copy of its imagery, that is brought up to its origin first, and
    the cube is built from it; ``tiling`` is called with the progress of its tiles.

    Raises AreaError, ModelError, ImageryError or ClusterError before any work, CubeError where
    the cube cannot be written, SpecMismatchError where another cube lies there.
    """
    blocks = partial(
        build_blocks, cluster=cluster, progress=progress, max_failed=max_failed, read_all=read_all
    )
    if n is not None and area.points is None:
        raise UsageError(f"area {area.name} names no points, of which {n:,} could be built")
    if area.points is not None and domain is None:
        domain = points_of(area, n)
    report = from_area(area, blocks, method=method, cluster=cluster, tiling=tiling, domain=domain)
    if n is not None and domain is not None and domain.size > n:
        report.notes.append(
            f"{domain.size:,} points were begun in this cube before, more than the {n:,} wanted: "
            "all of them are kept, and built"
        )
    return report


def from_area(
    area: Area,
    blocks: Callable[[BuildPlan], BuildReport],
    *,
    method: str | None,
    cluster: str,
    tiling: Progress | None,
    other_imagery: bool = False,
    domain: Domain | None = None,
) -> BuildReport:
    """Do ``blocks`` with the plan of an area whose tiled copy, if it keeps one, is up to date.

    ``domain``: other than the area's own.
    """
    place = placed(area)
    copy = tile_kept(place, method, cluster, tiling, other_imagery=other_imagery)
    plan = plan_build(place, method, domain=domain)
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
    notes = require_imagery(plan)
    _begun(plan)[0].open_encoder()  # a step or method that the model refuses leaves no store behind
    create_root(plan.url)  # a store that cannot be written is found out before any work
    with hold_lock(plan.url, "cube build") as lock:
        report = _all_of(plan, Manner(lock, cluster, progress, max_failed), read_all=read_all)
    report.notes[:0] = notes_of(plan.source) + notes  # now that it has been asked for all there is
    report.seconds = time.perf_counter() - start
    return report


def _all_of(plan: BuildPlan, manner: Manner, *, read_all: bool) -> BuildReport:
    """Complete the generation that is there, and then append what points it does not hold."""
    begun, generation = _begun(plan)
    if plan.points is None:
        return _complete(begun, generation, manner, read_all=read_all)
    first, *others = sizes_to_build(plan.url, generation, plan.domain.size)
    report = _complete(begun.at_first(first), generation, manner, read_all=read_all)
    for size in others:
        if report.stopped:
            break
        report = append_points(plan.at_first(size), manner).with_earlier(report)
    return report


def _complete(plan: BuildPlan, generation: str, manner: Manner, *, read_all: bool) -> BuildReport:
    """Compute what a generation lacks, which is laid out if it is not there."""
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
    manner.run(BlockJob(plan, report, manner.lock, mosaic, spec, status), todo)
    _finish(report)
    return report


def _begun(plan: BuildPlan) -> tuple[BuildPlan, str]:
    """The plan with what a cube that was begun has settled, and the generation to build."""
    generation = current_generation(plan.url) or newest_finished(plan.url) or FIRST_GENERATION
    if generation != FIRST_GENERATION and not generation_exists(plan.url, generation):
        Cube.open(plan.url)  # says what is wrong
    stored = stored_spec(plan.url, generation) if generation_exists(plan.url, generation) else None
    return plan.resuming(stored), generation


def _forget_damaged(ledger: Ledger, report: BuildReport, *, read_all: bool) -> None:
    """Mark damaged blocks as missing, so that they are computed like any others."""
    cube = Cube(report.url, report.generation, check_digests=read_all)
    faults = damaged_blocks(cube, contents=read_all or _is_read_soon(cube))
    if not faults:
        return
    ledger.forget(np.array(list(faults)))
    report.blocks_damaged = len(faults)
    report.blocks_reused = int((ledger.status == Status.DONE).sum())
    some = "; ".join(f"{place} {why}" for place, why in islice(faults.items(), _SOME))
    report.notes.append(
        f"{len(faults)} damaged blocks were computed again: {some}"
        f"{' …' if len(faults) > _SOME else ''}"
    )


def _is_read_soon(cube: Cube) -> bool:
    blocks = int(np.isin(cube.chunk_status, (Status.DONE, Status.BROKEN)).sum())
    cells = blocks * cube.spec.block_size**cube.chunk_status.ndim
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
