"""Brings a cube up to date: a new generation in which only what changed is computed.

Each block of the ledger carries the fingerprint of the imagery that it was made from. A refresh
compares it with the imagery of today; unchanged blocks are taken over byte by byte, the others
computed, and at the end readers are pointed to the new generation. Who opened the old one reads
on in it. The int8 code stays that of the first generation, so that distances stay comparable.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ..area import Area
from ..arrays import U8
from ..cube import (
    Cube,
    Ledger,
    Status,
    current_generation,
    damaged_blocks,
    generation_names,
    hold_lock,
    how_to_build,
    prune_generations,
    remember_imagery,
    require_spec,
)
from ..errors import CubeError
from ..imagery import notes_of
from ..progress import Progress
from .blocks import Manner, begin_report
from .build import from_area
from .overview import drop_overviews
from .plan import BuildPlan, require_imagery
from .points import as_built, stored_points
from .report import BuildReport
from .run import THREADS
from .succession import parts, succeed
from .tasks import EncodeTask


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
    area = as_built(area)
    blocks = partial(refresh_blocks, cluster=cluster, progress=progress, max_failed=max_failed)
    domain = None if area.points is None else stored_points(area.cube)
    return from_area(
        area,
        blocks,
        method=method,
        cluster=cluster,
        tiling=tiling,
        other_imagery=True,
        domain=domain,
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
    notes = require_imagery(plan)
    with hold_lock(plan.url, "cube refresh") as lock:
        report = _refresh(plan, Manner(lock, cluster, progress, max_failed))
    report.notes[:0] = notes_of(plan.source) + notes
    report.seconds = time.perf_counter() - start
    return report


def _require_built(url: str) -> None:
    if current_generation(url) is None:
        raise CubeError(f"cube {url} is not built yet: run {how_to_build(url)} first")


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


def _refresh(plan: BuildPlan, manner: Manner) -> BuildReport:
    old = Cube.open(plan.url)
    plan = plan.resuming(old.spec)
    task = plan.task
    spec = plan.spec(task.encoder().describe())
    require_spec(plan.url, old.spec.same_but_imagery(spec), spec)
    today = _todays_prints(plan, task, old.chunk_status)
    before = Ledger(plan.url, old.generation)
    same = (before.fingerprints() == today).all(axis=-1)
    # whose contents are damaged carries its checksum along, and is found when it is read
    for place in damaged_blocks(old, contents=False):
        same[place] = False
    if same[np.isin(old.chunk_status, (Status.DONE, Status.BROKEN))].all():
        remember_imagery(plan.url, old.generation, spec)
        return _nothing_changed(plan, old)
    kept = same & (old.chunk_status == Status.DONE)
    return succeed(plan, old, spec, kept, today, manner)


def _nothing_changed(plan: BuildPlan, old: Cube) -> BuildReport:
    report = begin_report(plan, old.generation, old.chunk_status)
    report.published = True
    report.notes.append("the imagery has not changed: no new generation was made")
    if not old.complete:
        report.notes.append(f"some blocks are incomplete: {how_to_build(plan.url)} completes them")
    return report


def _todays_prints(plan: BuildPlan, task: EncodeTask, status: U8) -> U8:
    prints = np.zeros((*status.shape, 32), np.uint8)
    inside = np.argwhere(status != Status.OUTSIDE)

    def look(place: NDArray[np.intp]) -> U8:
        text = task.fingerprint(plan.domain.chunk(*place.tolist()))
        return np.frombuffer(bytes.fromhex(text), np.uint8)

    with ThreadPoolExecutor(THREADS) as pool:
        for part in parts(inside):
            prints[tuple(part.T)] = list(pool.map(look, part))
    return prints
