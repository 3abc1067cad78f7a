"""What a cube would take before it is begun: blocks, bytes, time, cost, for several steps.

Blocks are counted exactly; nothing is held per cell, so that a country is planned in seconds.
Seconds are measured: growing squares of cells, in the middle of a block that has imagery, are
read and encoded where the build would run, until one takes long enough to be told from noise.
From the largest of them (seconds ``t``, ``n`` cells, ``p`` pixels of window), where cells and
pixels are summed over all blocks, those at the right and bottom edge being smaller::

    hours of all workers         = t * cells / n / 3600         method patch: a network run a cell
                                   t * pixels / p / 3600        method dense: a trunk over pixels
    imagery bytes                = pixels * 3                   decoded; margins are read twice
    cube bytes                   = blocks * 128^2 * (D + 4)     int8 features, float32 norm

Imagery bytes are those of decoded pixels (``decode`` of ``StageStats``), not what is read or
fetched for them. Chunks at an edge are stored whole.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from ..area import Area, Bounds
from ..area.ground import numbers
from ..arrays import U8, Bools
from ..cube import Status, plan_blocks
from ..domain import Chunk, Domain, Grid, Points
from ..encoders.windows import windows
from ..errors import CubeError, GeolocError
from ..executors import Executor, open_cluster
from ..imagery import Source
from ..imagery.source import FromServer
from ..points.survey import Survey, neighbours, survey_points
from ..progress import rate_words
from .cache import imagery_at_hand
from .extent import placed
from .plan import BuildPlan, ModelEncoder, plan_build, require_imagery, step_of
from .points import LONLAT, begun_points, points_of
from .rim import Rim, foresee_rim
from .tasks import Encoder, EncodeTask

STEPS = (10.0, 16.0, 25.0, 100.0)

_ENOUGH_SECONDS = 1.0
_RUNS = 3
_SMALLEST = 8  # cells along a side of the first square
_LOOKED_AT = 200  # blocks, until one with imagery is found
_SAMPLE_SEED = 0
_BLOCKS_AROUND = 4  # of points that lie together, over which shared tiles are counted


@dataclass(frozen=True)
class Measured:
    """A square of cells that was read and encoded; ``gpu``: on a GPU. ``requests``: of tiles, per
    point of those around; None for other imagery, and for grids."""

    seconds: float
    cells: int
    pixels: int
    method: str
    gpu: bool
    requests: float | None = None


@dataclass(frozen=True)
class StepCost:
    """One row of the plan; ``step`` is 0 for points. ``hours`` are those of all workers together;
    ``problem`` says why the model cannot encode at this step, and the figures that depend on it
    are 0; ``imagery_bytes`` are of decoded pixels, margins included; ``requests``: of tiles."""

    step: float
    method: str = ""
    gsd: float = 0.0
    blocks: int = 0
    cells: int = 0
    imagery_bytes: int = 0
    requests: int | None = None
    cube_bytes: int = 0
    hours: float = 0.0
    elapsed_hours: float = 0.0
    cost: float | None = None
    problem: str = ""

    def texts(self) -> list[str]:
        """For people."""
        step = f"{self.step:g} m" if self.step else "points"
        if self.problem:
            return [step, self.problem, *[""] * 8]
        return [
            step,
            f"{self.method} {self.gsd:.3g} m/px",
            f"{self.blocks:,}",
            f"{self.cells:,}",
            _size(self.imagery_bytes),
            "" if self.requests is None else f"{self.requests:,}",
            _size(self.cube_bytes),
            _hours(self.hours),
            _hours(self.elapsed_hours),
            "" if self.cost is None else f"{self.cost:,.2f}",
        ]


@dataclass(frozen=True)
class CubePlan:
    """The plan of an area's cube, one row for each step, the finest first.

    ``step`` is the area's own; ``crs``, ``bounds`` where it lies, and ``placed_by`` what says so:
    its bounds, its geometry, or its imagery.
    """

    area: str
    cluster: str
    workers: int
    sample: Measured
    rows: tuple[StepCost, ...]
    step: float
    crs: str
    bounds: Bounds
    placed_by: str
    rim: Rim

    @property
    def noun(self) -> str:
        """What has a vector each."""
        return "cells" if self.step else "points"

    def headings(self) -> tuple[str, ...]:
        """Of ``StepCost.texts``."""
        return ("step", "method", "blocks", self.noun, "pixels decoded", "requests", "cube",
                "worker time", "elapsed", "cost")  # fmt: skip

    @property
    def unit(self) -> str:
        """What an hour of a worker is."""
        return "GPU-hours" if self.sample.gpu else "CPU worker-hours"

    @property
    def _worker(self) -> str:
        return "GPU" if self.sample.gpu else "one worker's"

    def cells_in(self, hours: float, row: StepCost) -> int:
        """Cells that so many hours of a worker buy."""
        return round(row.cells * hours / row.hours) if row.hours else 0

    @property
    def own(self) -> StepCost:
        """The row of the area's own step."""
        return next(row for row in self.rows if row.step == self.step)

    def summary(self) -> str:
        """For people, a few lines."""
        s = self.sample
        rate = rate_words(s.cells / s.seconds, self.noun)
        lines = [
            self._extent(),
            f"measured ({self.cluster}): {s.cells:,} {self.noun} ({s.pixels / 1e6:.1f} Mpx) in "
            f"{s.seconds:.2f} s, {rate} a worker, {s.method}",
        ]
        budget = self._budget(self.own) if self.own.hours else None
        parts = (*lines, budget, self.rim.summary(self.own.cells, self.noun))
        return "\n".join(line for line in parts if line)

    def _extent(self) -> str:
        if not self.step:
            west, south, east, north = self.bounds
            return (
                f"{self.area}: {self.own.cells:,} points from {south:.4f}, {west:.4f} to "
                f"{north:.4f}, {east:.4f} (latitude, longitude)"
            )
        left, bottom, right, top = self.bounds
        width, height = right - left, top - bottom
        as_far = ", as far as its imagery reaches" if self.placed_by == "imagery" else ""
        return (
            f"{self.area}: {width / 1000:,.4g} x {height / 1000:,.4g} km "
            f"{numbers(self.bounds)} in {self.crs}{as_far}"
        )

    def _budget(self, row: StepCost) -> str:
        """What the area takes; of one that takes more, what a hundred hours are good for."""
        share = 100 / row.hours
        if share >= 1:
            return f"the whole area takes {_hours(row.hours)} of {self._worker} time"
        return (
            f"100 {self.unit} buy {self.cells_in(100, row):,} "
            f"{f'cells at {row.step:g} m' if row.step else 'points'}: "
            f"{100 * share:.3g} % of the area"
        )

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        rows = [
            {**asdict(row), "cells_per_100_hours": self.cells_in(100, row)} for row in self.rows
        ]
        unsearchable = round(self.rim.share * self.own.cells)
        facts = {"unit": self.unit, "cells_unsearchable": unsearchable}
        return {**asdict(self), "rows": rows, **facts}


def plan_cube(
    area: Area,
    *,
    method: str | None = None,
    cluster: str = "auto",
    steps: Sequence[float] = STEPS,
    price: float | None = None,
) -> CubePlan:
    """Count an area's blocks and measure a sample of them; writes nothing.

    ``price`` of a worker's hour gives costs in its currency. Raises as ``build_cube``, and
    CubeError where no block with imagery is found to measure.
    """
    given, area = area, placed(area)
    survey = _survey(area)
    domain = None if area.points is None else points_of(area) if survey is None else survey.domain
    plan = plan_build(area, method, imagery_at_hand(area), domain=domain)
    require_imagery(plan)
    rim = foresee_rim(plan.domain, plan.source, plan.open_encoder().describe(), plan.polygon)
    status = plan_blocks(plan.domain, plan.polygon)
    blocks = int((status == Status.MISSING).sum()) if survey is None else survey.blocks
    with open_cluster(cluster, blocks=blocks) as executor:
        if survey is None:
            sample = measure(plan, status, executor)
        else:
            sample = _measure_among(plan, area, executor)
        own = step_of(plan.domain) or 0.0
        plans = [_at_step(plan, step) for step in sorted({own, *steps})] if own else [plan]
        rows = [_cost(one, sample, executor.workers, survey) for one in plans]
        if price is not None:
            rows = [replace(row, cost=row.hours * price) for row in rows]
        return CubePlan(
            area=area.name,
            cluster=executor.description,
            workers=executor.workers,
            sample=sample,
            rows=tuple(rows),
            step=own,
            crs=plan.domain.crs,
            bounds=plan.domain.bounds if survey is None else survey.survey.bounds,
            placed_by=_placed_by(given),
            rim=rim,
        )


@dataclass(frozen=True, eq=False)
class _Surveyed:
    """A file of points that was read in parts; ``domain``: some of its points, drawn evenly."""

    survey: Survey
    domain: Points

    @property
    def blocks(self) -> int:
        return -(-self.survey.count // self.domain.chunk_size)


def _survey(area: Area) -> _Surveyed | None:
    """Of an area of points without a cube so far, and without a polygon: others are read whole."""
    if area.points is None or area.polygon is not None or begun_points(area.cube) is not None:
        return None
    survey = survey_points(area.points)
    return _Surveyed(survey, Points.along_curve(LONLAT, survey.drawn))


def _measure_among(plan: BuildPlan, area: Area, executor: Executor) -> Measured:
    """Measure points that lie together, as those of a block do, around one with imagery."""
    assert area.points is not None
    work = replace(plan.task, polygon=None)
    index = _first_with_imagery(work, (work.domain.chunk(n, size=1) for n in _drawn(work.domain)))
    most = _BLOCKS_AROUND * work.domain.chunk_size
    around = neighbours(area.points, work.domain.xy(index)[0], most)
    near = Points.along_curve(LONLAT, around)
    work = replace(work, domain=near)
    requests = _requests(work.source, work.windows(near.chunk(0, size=near.size)))
    return replace(_measured(work, near.chunk(0), executor), requests=requests)


def _drawn(domain: Domain) -> list[int]:
    drawn = np.random.default_rng(_SAMPLE_SEED).permutation(domain.size)[:_LOOKED_AT]
    return [int(number) for number in drawn]


def _placed_by(area: Area) -> str:
    if area.points is not None:
        return "points"
    if area.bounds is not None:
        return "bounds"
    return "imagery" if area.geometry is None else "geometry"


def measure(plan: BuildPlan, status: U8, executor: Executor) -> Measured:
    """Read and encode growing squares of cells until one takes long enough.

    ``status`` (of the blocks' grid) says which blocks belong to the area.
    """
    work = replace(plan.task, polygon=None)
    inside = np.argwhere(status == Status.MISSING)
    drawn = np.random.default_rng(_SAMPLE_SEED).permutation(inside)[:_LOOKED_AT].tolist()
    return _measured(
        work, _first_with_imagery(work, (work.domain.chunk(*place) for place in drawn)), executor
    )


def _measured(work: EncodeTask, block: Chunk, executor: Executor) -> Measured:
    encoding = work.encoder().describe()
    square = _middle(block, _SMALLEST)
    _run(work, square, executor)  # loads the network and fills the caches
    side = _SMALLEST
    while True:
        seconds = _run(work, square, executor)
        if seconds >= _ENOUGH_SECONDS or square == block:
            # one run may meet a busy machine
            seconds = min(seconds, *(_run(work, square, executor) for _ in range(_RUNS - 1)))
        if seconds >= _ENOUGH_SECONDS or square == block:
            break
        side *= _growth(seconds, len(block.shape))
        square = _middle(block, side)
    pixels = sum(window.size for window in work.windows(square))
    method, gpu = str(encoding.get("method", "")), executor.description.startswith("cuda")
    return Measured(seconds, int(np.prod(square.shape)), pixels, method, gpu)


def _growth(seconds: float, axes: int) -> int:
    """By what power of two a square may be wider without taking longer than is enough, at least 2.

    Time does not grow faster than the number of cells.
    """
    wanted = (_ENOUGH_SECONDS / seconds) ** (1 / axes)
    return int(2 ** max(1, math.floor(math.log2(wanted))))


def _requests(source: Source, windows: Sequence[Grid]) -> float | None:
    """Tiles to ask for per window, some of which share them; None for other imagery."""
    if not isinstance(source, FromServer):
        return None
    return len(frozenset[Hashable]().union(*map(source.requests, windows))) / len(windows)


def _requests_of(plan: BuildPlan, encoder: Encoder, blocks: int) -> int | None:
    """Of all blocks of a grid, by the one in its middle: tiles at their edges count twice."""
    middle = plan.domain.chunk(*(n // 2 for n in plan.domain.chunk_grid()))
    one = _requests(plan.source, windows(encoder, plan.domain, middle))
    return None if one is None else round(blocks * one)


def _run(work: EncodeTask, square: Chunk, executor: Executor) -> float:
    """Seconds of one worker: reading runs beside encoding, so that the longer of both counts."""
    with closing(executor.stream(work, [square])) as outcomes:
        outcome = next(outcomes)
    if outcome.result is None:
        raise CubeError(f"the sample block could not be encoded: {outcome.error}")
    seconds = outcome.result.spent.seconds
    return max(seconds["read"] + seconds["decode"], seconds["encode"], 1e-6)


def _first_with_imagery(work: EncodeTask, blocks: Iterable[Chunk]) -> Chunk:
    """The first of some blocks whose middle has imagery."""
    for block in blocks:
        (middle,) = work.windows(_middle(block, 1))
        if work.source.covers(middle) and work.source.read(middle).coords["valid"].values.any():
            return block
    raise CubeError("no block with imagery was found to measure: correct the bounds or the imagery")


def _middle(block: Chunk, side: int) -> Chunk:
    """The chunk of ``side`` cells a side that holds the middle of a block, or all of the block."""
    if side >= block.size:
        return block
    middle = ((a + b) // 2 for a, b in zip(block.start, block.stop, strict=True))
    return block.domain.chunk(*(i // side for i in middle), size=side)


def _at_step(plan: BuildPlan, step: float) -> BuildPlan:
    """The plan of a grid with cells of another size."""
    if step == step_of(plan.domain):
        return plan
    grid = Grid.from_bounds(plan.domain.crs, plan.domain.bounds, step)
    encoder = plan.open_encoder
    if isinstance(encoder, ModelEncoder):
        encoder = replace(encoder, step=step)
    return replace(plan, domain=grid, open_encoder=encoder)


def _cost(
    plan: BuildPlan, sample: Measured, workers: int, survey: _Surveyed | None = None
) -> StepCost:
    try:
        encoder = plan.open_encoder()
    except GeolocError as error:
        return StepCost(step_of(plan.domain) or 0.0, problem=str(error))
    encoding = encoder.describe()
    inside = plan_blocks(plan.domain, plan.polygon) == Status.MISSING
    blocks = int(inside.sum()) if survey is None else survey.blocks
    cells, pixels = _encoded(encoder, plan.domain, inside)
    if survey is not None:  # windows of points are of one size
        cells, pixels = survey.survey.count, pixels // cells * survey.survey.count
    share = cells / sample.cells if sample.method == "patch" else pixels / sample.pixels
    hours = sample.seconds * share / 3600
    if isinstance(plan.domain, Grid):
        requests = _requests_of(plan, encoder, blocks)
    else:
        requests = None if sample.requests is None else round(cells * sample.requests)
    return StepCost(
        step=step_of(plan.domain) or 0.0,
        method=str(encoding.get("method", "")),
        gsd=float(encoding.get("gsd", 0.0)),
        blocks=blocks,
        cells=_cells(plan) if survey is None else survey.survey.count,
        imagery_bytes=3 * pixels,
        requests=requests,
        cube_bytes=blocks * plan.domain.chunk_size**inside.ndim * (plan.features.dim + 4),
        hours=hours,
        elapsed_hours=hours / max(workers, 1),
    )


def _cells(plan: BuildPlan) -> int:
    """Cells inside of the polygon, by its area."""
    if plan.polygon is None:
        return plan.domain.size
    if not isinstance(plan.domain, Grid):
        inside = plan.domain.chunk(0, size=plan.domain.size).inside(plan.polygon)
        return plan.domain.size if inside is None else int(np.count_nonzero(inside))
    return int(min(plan.polygon.area / plan.domain.step**2 + 0.5, plan.domain.size))


def _encoded(encoder: Encoder, grid: Domain, inside: Bools) -> tuple[int, int]:
    """Cells, and pixels with margins, of all blocks ``inside`` (of the blocks' grid).

    Blocks are of four kinds, so that nothing is held for each: all but those of the last row
    and column are whole. Windows of a kind may differ by a step of the encoder's lattice.
    """
    if not isinstance(grid, Grid):  # points have windows of one size
        blocks = (grid.chunk(*index) for index in np.argwhere(inside).tolist())
        points = sum(math.prod(block.shape) for block in blocks)
        (window,) = windows(encoder, grid, grid.chunk(0, size=1))
        return points, points * window.size
    cells = pixels = 0
    for rows, row in _kinds(inside.shape[0]):
        for cols, col in _kinds(inside.shape[1]):
            count = int(inside[rows, cols].sum())
            one = grid.window(*grid.chunk(row, col).slices)
            cells += count * one.size
            pixels += count * (encoder.window(one).size if count else 0)
    return cells, pixels


def _kinds(count: int) -> tuple[tuple[slice, int], tuple[slice, int]]:
    """Blocks along an axis that have one size, and one of them: all but the last, the last."""
    return (slice(0, count - 1), 0), (slice(count - 1, count), count - 1)


def _size(number: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:,.3g} TB"


def _hours(hours: float) -> str:
    return f"{hours:,.1f} h" if hours >= 1 else f"{hours * 3600:,.0f} s"
