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
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, field
from itertools import count, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .area import Area
from .blocks import BlockResult, BuildReport, BuildWork, Encoder, EncodeWork, Sample, sample_size
from .cluster import Executor, open_cluster
from .cube import (
    Cube,
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

    from .encoders import Model
    from .encoders.fidelity import Fidelity

Progress = Callable[[int, int], None]
"""Told how many of how many blocks are encoded."""

FIRST_GENERATION = "g0001"

_SAMPLE_SEED = 0


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
                if outcome.result is None:
                    self._fail(outcome.error)
                else:
                    self._mark(ledger, outcome.item, outcome.result)
                self._tick()

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


@dataclass(frozen=True)
class Verification:
    """How far a cube is from recomputing its cells patch by patch, beside the 2 px jitter.

    ``error`` and ``jitter`` are encoders.fidelity's figures: relative error and Spearman.
    """

    method: str
    error: Fidelity
    jitter: Fidelity

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return asdict(self)

    def summary(self) -> str:
        """For people, a few lines."""
        rows = {f"cube ({self.method})": self.error, "2 px jitter": self.jitter}
        return "\n".join(
            f"{name:<16} relative error {f.relative_error:.3f}   Spearman {f.spearman:.4f}   "
            f"({f.cells} cells)"
            for name, f in rows.items()
        )


def verify_cube(
    cube: Cube,
    area: Area,
    model: Model,
    *,
    cells: int = 200,
    seed: int = 0,
    progress: Progress | None = None,
) -> Verification:
    """Recompute sampled cells patch by patch, at the cube's own GSD.

    Raises SpecMismatchError for another model, ImageryError where no sampled cell has imagery.
    """
    from .encoders import fidelity, open_patches

    cube.require_model(model.name, model.digest)
    source = open_source(area.imagery)
    encoder = open_patches(model, cube.grid.step, gsd=cube.spec.encoding.get("gsd"))
    rows, cols = _cells_with_vectors(cube, cells, seed)
    done = count(1)

    def read(window: Grid) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        image = source.read(window)
        (progress or _silent)(next(done), len(rows))
        return image.values, image.coords["valid"].values

    sample = fidelity.read_sample(read, encoder, cube.grid, rows, cols)
    exact = fidelity.exact_vectors(encoder, sample)
    places = zip(sample.rows.tolist(), sample.cols.tolist(), strict=True)
    stored = [cube.read(slice(y, y + 1), slice(x, x + 1))[0, 0] for y, x in places]
    error = fidelity.compare(cube.quantizer.decode(np.stack(stored)), exact)
    jitter = fidelity.jitter(encoder, sample, exact)
    return Verification(str(cube.spec.encoding.get("method")), error, jitter)


def _cells_with_vectors(
    cube: Cube, wanted: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns of cells drawn at random among those that have a vector."""
    drawn = np.random.default_rng(seed).integers(0, cube.grid.size, 20 * wanted)
    places = (divmod(index, cube.grid.nx) for index in dict.fromkeys(drawn.tolist()))
    there = (place for place in places if cube.vector(*place) is not None)
    chosen = np.array(list(islice(there, wanted)), np.int64).reshape(-1, 2)
    if not len(chosen):
        raise CubeError(f"cube {cube.url} holds no vectors to verify")
    return chosen[:, 0], chosen[:, 1]
