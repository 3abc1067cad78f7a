"""A generation after another: it takes over blocks that stay the same, and computes the others.

A refresh does that where imagery has changed, and appending where points are added: what is there
is never touched, and readers stay with it until nothing is lacking any more that it has.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arrays import U8, Bools
from ..cube import (
    BlockCopier,
    Cube,
    CubeLock,
    CubeSpec,
    Ledger,
    create_generation,
    current_generation,
    finish_generation,
    generation_exists,
    next_generation,
    plan_blocks,
    remember_imagery,
    require_spec,
    stored_spec,
)
from ..cube.store import number_of
from ..domain import Status
from .blocks import BlockJob, Manner, begin_report
from .overview import Mosaic, open_mosaic, read_pixels
from .plan import BuildPlan
from .report import BuildReport
from .run import THREADS

_AT_ONCE = 1024  # blocks between two writings of the ledger


def succeed(
    plan: BuildPlan, old: Cube, spec: CubeSpec, kept: Bools, prints: U8, manner: Manner
) -> BuildReport:
    """Make the generation after ``old``, of which ``kept`` (of the new blocks' grid) stays.

    ``prints``: fingerprints that blocks are to have ``(*grid, 32)``; of blocks to be computed
    they tell what an earlier attempt left behind that still holds.
    """
    generation = _name_of_next(old, spec)
    outside = plan_blocks(plan.domain, plan.polygon) == Status.OUTSIDE
    if outside.shape == old.chunk_status.shape:
        outside = old.chunk_status == Status.OUTSIDE
    _lay_out(plan, old, generation, spec, outside)
    ledger = Ledger(plan.url, generation)
    # what an interrupted attempt left behind counts where its imagery is still the same
    unchanged = (ledger.status == Status.DONE) & (ledger.fingerprints() == prints).all(axis=-1)
    report = begin_report(plan, generation, ledger.status)
    report.blocks_reused = int(unchanged.sum())
    before = Ledger(plan.url, old.generation)
    report.blocks_copied = _take_over(before, ledger, prints, kept & ~unchanged, manner.lock)
    todo = np.argwhere(~kept & ~unchanged & ~outside)
    mosaic = _mosaic(plan, old, generation, kept)
    manner.run(BlockJob(plan, report, manner.lock, mosaic, spec, ledger.status), todo)
    _publish_unless_worse(old, report)
    return report


def append_points(plan: BuildPlan, manner: Manner) -> BuildReport:
    """Make the generation that holds all points of a plan, whose first are those of the current
    one. Blocks that are full stay, whatever has become of their imagery: a refresh sees to that.
    """
    old = Cube.open(plan.url)
    plan = plan.resuming(old.spec)
    spec = plan.spec(plan.task.encoder().describe())
    require_spec(plan.url, old.spec.model_copy(update={"domain": spec.domain}), spec)
    size = spec.block_size
    full = old.domain.size // size
    kept = np.zeros(plan.domain.chunk_grid(size), np.bool_)
    kept[:full] = old.chunk_status[:full] == Status.DONE
    prints = np.zeros((*kept.shape, 32), np.uint8)
    prints[:full] = Ledger(plan.url, old.generation).fingerprints()[:full]
    for place in np.argwhere(~kept).tolist():
        text = plan.task.fingerprint(plan.domain.chunk(*place))
        prints[tuple(place)] = np.frombuffer(bytes.fromhex(text), np.uint8)
    return succeed(plan, old, spec, kept, prints, manner)


def sizes_to_build(url: str, generation: str, wanted: int) -> list[int]:
    """How many points to build one after the other: what is there, what was begun, all wanted.

    ``generation``: the one that readers open, or the first.
    """
    if not generation_exists(url, generation):
        return [wanted]
    names = [generation]
    if current_generation(url) is not None:
        newest = next_generation(url, generation)
        names += [newest] if generation_exists(url, newest) else []
    counts = [stored_spec(url, name).domain.shape[0] for name in names]
    return sorted({*(count for count in counts if count <= wanted), wanted})


def _name_of_next(old: Cube, spec: CubeSpec) -> str:
    """The generation after ``old``: one that was begun of the same domain, or a new name."""
    name = next_generation(old.url, old.generation)
    if generation_exists(old.url, name) and stored_spec(old.url, name).domain != spec.domain:
        return f"g{number_of(name) + 1:04d}"
    return name


def _mosaic(plan: BuildPlan, old: Cube, generation: str, kept: Bools) -> Mosaic | None:
    """The overview to go on from: an interrupted refresh's, or what holds of the old one."""
    own = read_pixels(plan.url, generation)
    pixels = own or read_pixels(plan.url, old.generation)
    mosaic = open_mosaic(plan.domain, plan.source, old.spec.encoding, pixels)
    if own is None and mosaic is not None:
        mosaic.seen &= kept
        mosaic.changed = True
    return mosaic


def _lay_out(plan: BuildPlan, old: Cube, generation: str, spec: CubeSpec, outside: Bools) -> None:
    if generation_exists(plan.url, generation):
        remember_imagery(plan.url, generation, spec)
        return
    create_generation(
        plan.url,
        generation,
        spec,
        old.features,
        np.where(outside, np.uint8(Status.OUTSIDE), np.uint8(Status.MISSING)),
        model_name=old.model_name,
        area=plan.area,
        points=plan.points,
    )


def _take_over(old: Ledger, ledger: Ledger, today: U8, which: Bools, lock: CubeLock) -> int:
    """Copy blocks, ``which`` ``(block_y, block_x)``, with their checksums, a part at a time."""
    places = np.argwhere(which)
    known = old.checks()
    copier = BlockCopier(old.url, old.generation, ledger.generation)
    with ThreadPoolExecutor(THREADS) as pool:
        for part in parts(places):
            list(pool.map(copier.copy, *part.T.tolist()))
            lock.check()
            at = tuple(part.T)
            ledger.mark_many(part, Status.DONE, today[at], known[at])
    return len(places)


def _publish_unless_worse(old: Cube, report: BuildReport) -> None:
    """Readers move on once nothing is lacking that the old generation has."""
    status = Ledger(report.url, report.generation).status
    # what was the last block of fewer points may have been filled up
    here = tuple(slice(0, count) for count in old.chunk_status.shape)
    worse = (status[here] != Status.DONE) & (old.chunk_status == Status.DONE)
    if worse.any() or report.blocks_failed or report.stopped:
        report.notes.append(
            f"{int(worse.sum())} blocks are whole in {old.generation} only: readers stay there "
            "until the same command has completed them"
        )
        return
    finish_generation(report.url, report.generation, report.dates)
    report.published = True


def parts(places: NDArray[np.intp]) -> Iterator[NDArray[Any]]:
    """Places of blocks in portions that are entered in a ledger at once."""
    for start in range(0, len(places), _AT_ONCE):
        yield places[start : start + _AT_ONCE]
