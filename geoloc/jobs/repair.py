"""Repairs a cube: what is damaged is restored where it can be, or computed again.

In this order, each under the cube's lock: the name of the current generation, the small arrays
(from another generation that holds the same), the ledger (from what lies on the store), and
then, as by a build, the blocks that are not what was written, of which every one is read.
"""

from __future__ import annotations

from ..area import Area
from ..arrays import U8
from ..cube import (
    LedgerState,
    create_root,
    current_generation,
    hold_lock,
    plan_blocks,
    restore_contents,
    restore_current,
    restore_ledger,
)
from ..domain import Domain
from ..errors import CubeError
from ..progress import Progress
from .build import build_cube
from .plan import BuildPlan, plan_build
from .points import as_built, points_of, stored_points
from .report import BuildReport


def repair_cube(
    area: Area,
    *,
    method: str | None = None,
    cluster: str = "auto",
    progress: Progress | None = None,
) -> BuildReport:
    """Repair the current generation of an area's cube; the report's notes say what was.

    Every block is read. Damaged ones are marked as missing and computed again, to the very bytes
    that they held as long as their imagery is the same. Raises CubeError where there is no cube,
    where somebody writes to it, or where what is damaged can be had from nowhere; else as
    ``build_cube``.
    """
    area = as_built(area)
    domain = None if area.points is None else _points_there(area)
    notes = restore_metadata(plan_build(area, method, domain=domain))
    domain = None if area.points is None else stored_points(area.cube)  # as they are now
    report = build_cube(
        area, method=method, cluster=cluster, progress=progress, read_all=True, domain=domain
    )
    report.notes[:0] = notes
    if not notes and not report.blocks_damaged:
        report.notes.append("nothing was damaged")
    return report


def _points_there(area: Area) -> Domain:
    """The points of the cube; those of the file where the cube's cannot be read."""
    try:
        return stored_points(area.cube)
    except CubeError:
        return points_of(area)


def restore_metadata(plan: BuildPlan) -> list[str]:
    """Restore what can be of names, small arrays and ledger; one line for each thing restored."""
    notes = restore_name(plan.url)
    generation = current_generation(plan.url)
    if generation is None:
        return notes
    with hold_lock(plan.url, "cube repair"):
        restored = restore_contents(plan.url, generation)
        notes += [f"{generation}/{name} was restored" for name in restored]
        state = restore_ledger(plan.url, generation, lambda: _planned(plan))
    return notes + _ledger_notes(state)


def restore_name(url: str) -> list[str]:
    """Restore the name of the generation that readers open, and the root's metadata."""
    create_root(url)
    with hold_lock(url, "cube repair"):
        named = restore_current(url)
    return [] if named is None else [f"CURRENT was written anew: {named}"]


def _planned(plan: BuildPlan) -> U8:
    return plan_blocks(plan.domain, plan.polygon)


def _ledger_notes(state: LedgerState | None) -> list[str]:
    if state is None:
        return []
    return [f"the ledger was restored: {state.sound} blocks are whole, {state.lost} are not"]
