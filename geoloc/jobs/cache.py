"""Tiles an area's imagery into Zarr, on the lattice that its encoder reads; resumable.

`imagery.cached.tiles` says when that pays, and how the copy is laid out. An area with
``cache: true`` has it done by every build and refresh; ``geoloc imagery tile`` does it apart.
"""

from __future__ import annotations

import hashlib
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from ..area import Area, Imagery, ZarrImagery
from ..arrays import U8, Bools
from ..cube import FIRST_GENERATION, CubeLock, current_generation, hold_lock, stored_encoding
from ..domain import Chunk, Grid, Status
from ..errors import AreaError
from ..imagery import notes_of, open_source, require_overlap, require_sharp
from ..imagery.cached.source import TILE, tile_of
from ..imagery.cached.tiles import (
    TiledSpec,
    TileLedger,
    TileResult,
    TileTask,
    is_whole,
    open_ledger,
)
from ..progress import Progress
from .extent import placed
from .plan import coarsest_of
from .report import TileReport
from .run import THREADS, Job, Run


def tile_imagery(
    area: Area,
    *,
    method: str | None = None,
    out: str | None = None,
    cluster: str = "auto",
    progress: Progress | None = None,
    other_imagery: bool = False,
) -> TileReport:
    """Tile an area's imagery to ``out`` (default: ``area.tiled``), or renew the copy there.

    Tiles are written that are missing or broken, or whose imagery has changed. ``other_imagery``:
    also where the copy was begun from another specification of imagery.

    Raises AreaError, ModelError, ImageryError or ClusterError before any work, CubeError where
    another process writes there, ImageryError where nobody can, SpecMismatchError where another
    copy lies there.
    """
    from ..models import load_model

    start = time.perf_counter()
    if isinstance(area.imagery, ZarrImagery):
        raise AreaError(f"the imagery of {area.name} is tiled already: {area.imagery.path}")
    area = placed(area)
    url = out or area.tiled.path
    lattice = encoder_lattice(area, method)
    source = open_source(area.imagery)
    require_overlap(source, area.grid)
    notes = require_sharp(source, area.grid, coarsest_of(load_model(area.model)))
    polygon = None if area.polygon is None else hashlib.sha256(area.polygon.wkb).hexdigest()
    spec = TiledSpec(lattice, area.imagery.recorded(), polygon)
    with hold_lock(url, "imagery tile") as lock:
        first = plan_tiles(area, lattice)
        ledger = open_ledger(url, spec, first, other_imagery=other_imagery)
        task = TileTask(url, lattice, source)
        changed = _changed(task, ledger)
        report = TileReport(
            url,
            lattice.size,
            lattice.step,
            tiles_reused=int(((ledger.status == Status.DONE) & ~changed).sum()),
            tiles_changed=int(changed.sum()),
            tiles_outside=int((ledger.status == Status.OUTSIDE).sum()),
            notes=notes_of(source) + notes,
        )
        todo = changed | np.isin(ledger.status, (Status.MISSING, Status.BROKEN))
        job = TileJob(task, ledger, report, lock)
        Run(job, lattice, np.argwhere(todo), progress, size=TILE).on(cluster)
    report.seconds = time.perf_counter() - start
    return report


def tile_kept(
    area: Area,
    method: str | None,
    cluster: str,
    progress: Progress | None,
    *,
    other_imagery: bool = False,
) -> TileReport | None:
    """The copy that an area keeps, brought up to its origin before a build; None if it keeps none.

    The lattice is that of the cube's own method. Raises as ``tile_imagery``, and ImageryError
    where no tile is whole.
    """
    if not area.keeps_copy:
        return None
    generation = current_generation(area.cube) or FIRST_GENERATION
    method = method or (stored_encoding(area.cube, generation) or {}).get("method")
    report = tile_imagery(
        area, method=method, cluster=cluster, progress=progress, other_imagery=other_imagery
    )
    if not report.tiles_done + report.tiles_reused + report.tiles_kept:
        report.raise_if_incomplete()
    return report


def imagery_at_hand(area: Area) -> Imagery:
    """What can be read now: the copy that an area keeps where that is whole, else its origin."""
    return area.tiled if area.keeps_copy and is_whole(area.tiled.path) else area.imagery


def encoder_lattice(area: Area, method: str | None) -> Grid:
    """The pixels that encoding the whole area reads, margin included."""
    from ..encoders import open_overhead
    from ..models import load_model

    return open_overhead(load_model(area.model), area.step, method).window(area.grid)


def plan_tiles(area: Area, lattice: Grid) -> U8:
    """First statuses ``(tile_y, tile_x)``: OUTSIDE where no cell of the polygon needs a tile."""
    shape = lattice.chunk_grid(TILE)
    status = np.full(shape, Status.MISSING, np.uint8)
    if area.polygon is None:
        return status
    import shapely

    reach = area.grid.left - lattice.left + lattice.step  # how far cells look
    shapely.prepare(area.polygon)
    side = TILE * lattice.step
    left = lattice.left + np.arange(shape[1]) * side
    for row in range(shape[0]):
        top = lattice.top - row * side
        boxes = shapely.box(left - reach, top - side - reach, left + side + reach, top + reach)
        status[row, ~shapely.intersects(area.polygon, boxes)] = Status.OUTSIDE
    return status


def _changed(task: TileTask, ledger: TileLedger) -> Bools:
    """Which finished tiles ``(tile_y, tile_x)`` the origin would make otherwise today."""
    changed = np.zeros(ledger.status.shape, np.bool_)
    done = np.argwhere(ledger.status == Status.DONE)

    def look(place: list[int]) -> bool:
        tile = tile_of(task.lattice, *place)
        return task.fingerprint(tile) != ledger.record(tile.index).fingerprint

    with ThreadPoolExecutor(THREADS) as pool:
        changed[tuple(done.T)] = list(pool.map(look, done.tolist()))
    return changed


@dataclass(frozen=True)
class TileJob(Job[TileResult]):
    """Tiles of a copy of imagery: read and written by workers, marked in the ledger here."""

    task: TileTask
    ledger: TileLedger
    report: TileReport
    lock: CubeLock

    def begin(self, tile: Chunk) -> None:
        """A tile counts no more before anybody rewrites it."""
        self.lock.check()
        self.ledger.mark(tile, Status.MISSING)

    def record(self, tile: Chunk, result: TileResult) -> str | None:
        """Mark a tile as what it is now."""
        self.report.add(result)
        self.ledger.mark(tile, result.status)
        return next(iter(result.errors), None)

    def fail(self, tile: Chunk, error: str) -> None:
        """Report a tile that could not be made; it is as it was, if nothing touched it."""
        status = self.ledger.record(tile.index).status
        self.report.fail(error, status)
        self.ledger.mark(tile, status)
