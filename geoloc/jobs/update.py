"""Updates a cube: what is missing is built, what has changed in its imagery is refreshed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ..area import Area
from ..cube import Cube, current_generation, damaged_blocks, stored_spec
from ..progress import Progress
from .build import build_cube
from .points import as_built, points_of, stored_points
from .refresh import refresh_cube
from .report import BuildReport


@dataclass
class UpdateReport:
    """The reports of an update's steps by name, ``build`` and ``refresh``, in their order."""

    steps: dict[str, BuildReport] = field(default_factory=dict)

    @property
    def blocks_done(self) -> int:
        """Blocks that were computed."""
        return sum(step.blocks_done for step in self.steps.values())

    def to_json(self) -> dict[str, Any]:
        """For machines: a report for each step that was taken."""
        return {name: step.to_json() for name, step in self.steps.items()}

    def summary(self) -> str:
        """For people, a few lines for each step."""
        return "\n".join(step.summary() for step in self.steps.values())

    def raise_if_incomplete(self) -> None:
        """As `BuildReport.raise_if_incomplete`, of the first step that lacks something."""
        for step in self.steps.values():
            step.raise_if_incomplete()


def update_cube(
    area: Area,
    *,
    method: str | None = None,
    cluster: str = "auto",
    progress: Callable[[str], Progress] | None = None,
    tiling: Progress | None = None,
    max_failed: int | None = None,
) -> UpdateReport:
    """Build what an area's cube lacks, then refresh what has changed in its imagery.

    What is whole and up to date is not touched. A step that leaves something incomplete is the
    last; the same call goes on from there. ``progress`` is called with the name of each step for
    what is to be called with its progress. Raises as ``build_cube`` and ``refresh_cube``.
    """
    report = UpdateReport()
    place = as_built(area)
    held = None if place is area else stored_points(area.cube)
    published = current_generation(area.cube) is not None
    for name in ("refresh", "build") if published and _has_moved_on(area) else ("build", "refresh"):
        built = report.steps.get("build")
        if name == "build" and published and _is_whole(area):
            continue
        if name == "refresh" and not (published or (built and built.blocks_reused)):
            continue  # all of it has just been made
        step = (partial(build_cube, domain=held) if name == "build" else refresh_cube)(
            place,
            method=method,
            cluster=cluster,
            progress=progress(name) if progress else None,
            tiling=tiling,
            max_failed=max_failed,
        )
        report.steps[name] = step
        if not step.complete:
            break
    return report


def _is_whole(area: Area) -> bool:
    """Whether a cube lacks nothing, be it blocks or points that the area's file has more of."""
    cube = Cube.open(area.cube)
    if not cube.complete or damaged_blocks(cube, contents=False):
        return False
    return area.points is None or points_of(area).size <= cube.domain.size


def _has_moved_on(area: Area) -> bool:
    """Whether the area names other imagery than its cube: then a build is refused."""
    stored = stored_spec(area.cube, current_generation(area.cube) or "")
    return bool(stored.differences(stored.model_copy(update={"imagery": area.imagery.recorded()})))
