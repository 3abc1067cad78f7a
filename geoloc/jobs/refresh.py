"""Brings a cube up to date: a new generation in which only what changed is computed.

Each block of the ledger carries the fingerprint of the imagery that it was made from. A refresh
compares it with the imagery of today; unchanged blocks are taken over byte by byte, the others
computed, and at the end readers are pointed to the new generation. Who opened the old one reads
on in it. The int8 code stays that of the first generation, so that distances stay comparable.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..area import Area
from ..cube import (
    BlockCopier,
    Cube,
    CubeLock,
    CubeSpec,
    Ledger,
    Status,
    create_generation,
    current_generation,
    damaged_blocks,
    finish_generation,
    generation_exists,
    generation_names,
    hold_lock,
    next_generation,
    prune_generations,
    remember_imagery,
    require_spec,
)
from ..errors import CubeError
from ..imagery import notes_of
from .build import BlockJob, begin_report, from_area
from .overview import Mosaic, drop_overviews, open_mosaic, read_pixels
from .plan import BuildPlan, require_imagery
from .report import BuildReport
from .run import THREADS, Progress, Run
from .tasks import EncodeTask

_AT_ONCE = 1024  # blocks between two writings of the ledger


def refresh_cube(
    area: Area,
    *,
    method: str | None = None,
    cluster: str = "auto",
    progress: Progress | None = None,
    tiling: Progress | None = None,
    max_failed: int | None = None,
) -> BuildReport:
    """Recompute the blocks of an area's cube whose imagery changed, into a new generation.

    Where the area keeps a tiled copy of its imagery, the tiles that changed are renewed first,
    and then the blocks over them; ``tiling`` is called with the progress of its tiles.

    Nothing changed: no new generation, and the report says so. Blocks that fail, or more than
    ``max_failed`` of them that end it: readers stay with the old generation, and the same command
    goes on later. Raises CubeError where there is
    no cube yet or somebody else writes to it, SpecMismatchError where more than the imagery
    differs, and else as ``build_cube``.
    """
    _require_built(area.cube)
    blocks = partial(refresh_blocks, cluster=cluster, progress=progress, max_failed=max_failed)
    return from_area(
        area, blocks, method=method, cluster=cluster, tiling=tiling, other_imagery=True
    )


def refresh_blocks(
    plan: BuildPlan,
    *,
    cluster: str = "auto",
    progress: Progress | None = None,
    max_failed: int | None = None,
) -> BuildReport:
    """``refresh_cube`` for a plan."""
    start = time.perf_counter()
    _require_built(plan.url)
    require_imagery(plan)
    with hold_lock(plan.url, "cube refresh") as lock:
        report = _refresh(plan, lock, cluster, progress, max_failed)
    report.notes[:0] = notes_of(plan.source)
    report.seconds = time.perf_counter() - start
    return report


def _require_built(url: str) -> None:
    if current_generation(url) is None:
        raise CubeError(f"cube {url} is not built yet: run 'geoloc cube build' first")


GRACE = 3600.0
"""Seconds for which a generation stays, by default, that somebody may still read."""


def prune_cube(url: str, keep: int, *, grace: float = 0.0, now: float | None = None) -> list[str]:
    """Delete all but the ``keep`` newest generations, never the current one; their names.

    ``grace``, ``now``: see `geoloc.cube.prune_generations`. Raises CubeError where there is no
    cube or somebody writes to it.
    """
    if current_generation(url) is None:
        raise CubeError(f"cube {url} has no finished generation: there is nothing to prune")
    with hold_lock(url, "cube prune"):
        removed = prune_generations(url, keep, grace=grace, now=now)
        drop_overviews(url, generation_names(url))
        return removed


def _refresh(
    plan: BuildPlan,
    lock: CubeLock,
    cluster: str,
    progress: Progress | None,
    max_failed: int | None,
) -> BuildReport:
    old = Cube.open(plan.url)
    plan = plan.resuming(old.spec)
    task = plan.task
    spec = plan.spec(task.encoder().describe())
    require_spec(plan.url, old.spec.same_but_imagery(spec), spec)
    today = _todays_prints(plan, task, old.done)
    before = Ledger(plan.url, old.generation)
    same = (before.fingerprints() == today).all(axis=-1)
    # whose contents are damaged carries its checksum along, and is found when it is read
    for place in damaged_blocks(old, contents=False):
        same[place] = False
    if same[np.isin(old.done, (Status.DONE, Status.BROKEN))].all():
        remember_imagery(plan.url, old.generation, spec)
        return _nothing_changed(plan, old)
    generation = next_generation(plan.url, old.generation)
    _lay_out(plan, old, generation, spec)
    ledger = Ledger(plan.url, generation)
    # what an interrupted refresh left behind counts where its imagery is still today's
    there = (ledger.status == Status.DONE) & (ledger.fingerprints() == today).all(axis=-1)
    report = begin_report(plan, generation, ledger.status)
    report.blocks_reused = int(there.sum())
    kept = same & (old.done == Status.DONE)
    report.blocks_copied = _take_over(before, ledger, today, kept & ~there, lock)
    todo = np.argwhere(~kept & ~there & (old.done != Status.OUTSIDE))
    job = BlockJob(plan, report, lock, _mosaic(plan, old, generation, kept), spec, ledger.status)
    with job.keeping_overview():
        Run(job, plan.domain, todo, progress, max_failed).on(cluster)
    _publish_unless_worse(old, report)
    return report


def _mosaic(plan: BuildPlan, old: Cube, generation: str, kept: NDArray[np.bool_]) -> Mosaic | None:
    """The overview to go on from: an interrupted refresh's, or what holds of the old one."""
    there = read_pixels(plan.url, generation)
    pixels = there or read_pixels(plan.url, old.generation)
    mosaic = open_mosaic(plan.domain, plan.source, old.spec.encoding, pixels)
    if there is None and mosaic is not None:
        mosaic.seen &= kept
        mosaic.changed = True
    return mosaic


def _nothing_changed(plan: BuildPlan, old: Cube) -> BuildReport:
    report = begin_report(plan, old.generation, old.done)
    report.published = True
    report.notes.append("the imagery has not changed: no new generation was made")
    if not old.complete:
        report.notes.append("some blocks are incomplete: 'geoloc cube build' completes them")
    return report


def _todays_prints(
    plan: BuildPlan, task: EncodeTask, status: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    prints = np.zeros((*status.shape, 32), np.uint8)
    inside = np.argwhere(status != Status.OUTSIDE)

    def look(place: NDArray[np.intp]) -> NDArray[np.uint8]:
        text = task.fingerprint(plan.domain.chunk(*place.tolist()))
        return np.frombuffer(bytes.fromhex(text), np.uint8)

    with ThreadPoolExecutor(THREADS) as pool:
        for part in _parts(inside):
            prints[tuple(part.T)] = list(pool.map(look, part))
    return prints


def _lay_out(plan: BuildPlan, old: Cube, generation: str, spec: CubeSpec) -> None:
    if generation_exists(plan.url, generation):
        remember_imagery(plan.url, generation, spec)
        return
    create_generation(
        plan.url,
        generation,
        spec,
        old.features,
        np.where(old.done == Status.OUTSIDE, old.done, np.uint8(Status.MISSING)),
        model_name=old.model_name,
        area=plan.area,
        points=plan.points,
    )


def _take_over(
    old: Ledger,
    ledger: Ledger,
    today: NDArray[np.uint8],
    which: NDArray[np.bool_],
    lock: CubeLock,
) -> int:
    """Copy blocks, ``which`` ``(block_y, block_x)``, and mark them, a part at a time.

    Their checksums go with them; an older geoloc's blocks get theirs now.
    """
    places = np.argwhere(which)
    known = old.checks()
    copier = BlockCopier(old.url, old.generation, ledger.generation)
    with ThreadPoolExecutor(THREADS) as pool:
        for part in _parts(places):
            list(pool.map(copier.copy, *part.T.tolist()))
            lock.check()
            at = tuple(part.T)
            ledger.mark_many(part, Status.DONE, today[at], None if known is None else known[at])
    return len(places)


def _publish_unless_worse(old: Cube, report: BuildReport) -> None:
    """Readers move on once nothing is lacking that the old generation has."""
    status = Ledger(report.url, report.generation).status
    worse = (status != Status.DONE) & (old.done == Status.DONE)
    if worse.any() or report.blocks_failed or report.stopped:
        report.notes.append(
            f"{int(worse.sum())} blocks are whole in {old.generation} only: readers stay there "
            "until the same command has completed them"
        )
        return
    finish_generation(report.url, report.generation, report.dates)
    report.published = True


def _parts(places: NDArray[np.intp]) -> Iterator[NDArray[Any]]:
    for start in range(0, len(places), _AT_ONCE):
        yield places[start : start + _AT_ONCE]
