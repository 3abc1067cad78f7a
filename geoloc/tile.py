"""Tiles an area's imagery into Zarr, on the lattice that its encoder reads; resumable.

``imagery.tiling`` says when that pays, and how the copy is laid out.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .area import Area, ZarrImagery
from .cluster import open_cluster
from .errors import AreaError, ImageryError
from .grid import Grid
from .imagery import open_source, require_overlap
from .imagery.tiling import TiledSpec, TileLedger, TileResult, TileWork, open_ledger
from .imagery.zarr import TILE, TileState, tile_of

Progress = Callable[[int, int], None]
"""Told how many of how many tiles are written."""


@dataclass
class TileReport:
    """What a run did; ``valid_pixels`` counts this run's tiles alone."""

    url: str
    pixels: int
    gsd: float
    cluster: str = ""
    tiles_done: int = 0
    tiles_reused: int = 0
    tiles_broken: int = 0
    tiles_failed: int = 0
    tiles_outside: int = 0
    valid_pixels: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    """Messages, and in how many tiles each came up."""
    seconds: float = 0.0

    def add(self, result: TileResult) -> None:
        """Count a tile that was written."""
        broken = result.state == TileState.BROKEN
        self.tiles_broken += broken
        self.tiles_done += not broken
        self.valid_pixels += result.valid
        for error in result.errors:
            self.errors[error] = self.errors.get(error, 0) + 1

    def fail(self, error: str) -> None:
        """Count a tile that could not be made."""
        self.tiles_failed += 1
        self.errors[error] = self.errors.get(error, 0) + 1

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return asdict(self)

    def summary(self) -> str:
        """For people, a few lines."""
        lines = [
            f"{self.url}: {self.tiles_done} tiles written, {self.tiles_reused} already there, "
            f"{self.tiles_broken + self.tiles_failed} incomplete, {self.tiles_outside} outside; "
            f"{self.gsd:g} m per px, {self.seconds:.1f} s"
        ]
        return "\n".join(lines + [f"{error} ({n} tiles)" for error, n in self.errors.items()])

    def raise_if_incomplete(self) -> None:
        """Raise ImageryError where tiles failed or lack imagery that could not be read."""
        if short := self.tiles_failed + self.tiles_broken:
            raise ImageryError(
                f"{short} of {short + self.tiles_done + self.tiles_reused} tiles are incomplete "
                f"({next(iter(self.errors), 'unknown error')}): mend the cause and run the same "
                "command again; only these are tiled"
            )


def tile_imagery(
    area: Area,
    *,
    method: str | None = None,
    out: str | None = None,
    cluster: str = "auto",
    progress: Progress | None = None,
) -> TileReport:
    """Tile an area's imagery to ``out`` (default: ``area.tiled``), or what is missing of it.

    Raises AreaError, ModelError, ImageryError or ClusterError before any work, ImageryError
    where the copy cannot be written, SpecMismatchError where another copy lies there.
    """
    start = time.perf_counter()
    if isinstance(area.imagery, ZarrImagery):
        raise AreaError(f"the imagery of {area.name} is tiled already: {area.imagery.path}")
    url = out or area.tiled.path
    lattice = encoder_lattice(area, method)
    source = open_source(area.imagery)
    require_overlap(source, area.grid)
    polygon = None if area.polygon is None else hashlib.sha256(area.polygon.wkb).hexdigest()
    spec = TiledSpec(lattice, area.imagery.recorded(), polygon)
    ledger = open_ledger(url, spec, plan_tiles(area, lattice))
    report = TileReport(
        url,
        lattice.size,
        lattice.step,
        tiles_reused=int((ledger.state == TileState.DONE).sum()),
        tiles_outside=int((ledger.state == TileState.OUTSIDE).sum()),
    )
    _run(TileWork(url, lattice, source), ledger, report, cluster, progress)
    report.seconds = time.perf_counter() - start
    return report


def encoder_lattice(area: Area, method: str | None) -> Grid:
    """The pixels that encoding the whole area reads, margin included."""
    from .encoders import load_model, open_overhead

    return open_overhead(load_model(area.model), area.step, method).window(area.grid)


def plan_tiles(area: Area, lattice: Grid) -> NDArray[np.uint8]:
    """First states ``(tile_y, tile_x)``: OUTSIDE where no cell of the polygon needs a tile."""
    shape = lattice.block_shape(TILE)
    states = np.full(shape, TileState.MISSING, np.uint8)
    if area.polygon is None:
        return states
    import shapely

    reach = area.grid.left - lattice.left + lattice.step  # how far cells look
    shapely.prepare(area.polygon)
    side = TILE * lattice.step
    left = lattice.left + np.arange(shape[1]) * side
    for row in range(shape[0]):
        top = lattice.top - row * side
        boxes = shapely.box(left - reach, top - side - reach, left + side + reach, top + reach)
        states[row, ~shapely.intersects(area.polygon, boxes)] = TileState.OUTSIDE
    return states


def _run(
    work: TileWork,
    ledger: TileLedger,
    report: TileReport,
    cluster: str,
    progress: Progress | None,
) -> None:
    todo = np.argwhere(np.isin(ledger.state, (TileState.MISSING, TileState.BROKEN)))
    if not len(todo):
        return
    tiles = (tile_of(work.lattice, int(row), int(col)) for row, col in todo)
    with open_cluster(cluster, blocks=len(todo)) as executor:
        report.cluster = executor.description
        with closing(executor.stream(work, tiles)) as outcomes:
            for count, outcome in enumerate(outcomes, 1):
                if outcome.result is None:
                    report.fail(outcome.error)
                else:
                    ledger.mark(outcome.item, outcome.result.state)
                    report.add(outcome.result)
                if progress is not None:
                    progress(count, len(todo))
