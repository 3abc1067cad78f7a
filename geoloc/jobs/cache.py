"""Tiles an area's imagery into Zarr, on the lattice that its encoder reads; resumable.

``imagery.tiling`` says when that pays, and how the copy is laid out. An area with ``keep: true``
has it done by every build and refresh; ``geoloc imagery tile`` does it apart.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..area import Area, Imagery, ZarrImagery
from ..cube import FIRST_GENERATION, CubeLock, current_generation, hold_lock, stored_encoding
from ..domain import Chunk, Grid
from ..errors import AreaError, ImageryError
from ..executors import Outcome, open_cluster
from ..imagery import notes_of, open_source, require_overlap
from ..imagery.cached.source import TILE, TileState, tile_of
from ..imagery.cached.tiles import (
    TiledSpec,
    TileLedger,
    TileResult,
    TileWork,
    is_whole,
    open_ledger,
)
from .extent import placed

Progress = Callable[[int, int], None]
"""Told how many of how many tiles are written."""

_THREADS = 16  # waiting for a store or for imagery's versions, not computing


@dataclass
class TileReport:
    """What a run did; ``valid_pixels`` counts this run's tiles alone.

    ``tiles_changed``: those finished before, but from imagery that has changed since;
    ``tiles_kept``: those of them that stay as they were, since it cannot be read now.
    """

    url: str
    pixels: int
    gsd: float
    cluster: str = ""
    tiles_done: int = 0
    tiles_reused: int = 0
    tiles_changed: int = 0
    tiles_kept: int = 0
    tiles_broken: int = 0
    tiles_failed: int = 0
    tiles_outside: int = 0
    valid_pixels: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    """Messages, and in how many tiles each came up."""
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, result: TileResult) -> None:
        """Count a tile that was read."""
        broken = result.state == TileState.BROKEN
        kept = not broken and bool(result.errors)
        self.tiles_broken += broken
        self.tiles_kept += kept
        self.tiles_done += not (broken or kept)
        self.valid_pixels += result.valid
        for error in result.errors:
            self._note(error)
        self.notes += [note for note in result.notes if note not in self.notes]

    def fail(self, error: str, state: TileState) -> None:
        """Count a tile that could not be made; ``state`` is what it is now."""
        self.tiles_kept += state == TileState.DONE
        self.tiles_failed += state != TileState.DONE
        self._note(error)

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return asdict(self)

    def summary(self) -> str:
        """For people, a few lines."""
        changed = f" ({self.tiles_changed} of changed imagery)" if self.tiles_changed else ""
        kept = f"{self.tiles_kept} left as they were, " if self.tiles_kept else ""
        lines = [
            f"{self.url}: {self.tiles_done} tiles written{changed}, {self.tiles_reused} already "
            f"there, {kept}{self.tiles_broken + self.tiles_failed} incomplete, "
            f"{self.tiles_outside} outside; {self.gsd:g} m per px, {self.seconds:.1f} s"
        ]
        lines += [f"{error} ({n} tiles)" for error, n in self.errors.items()]
        return "\n".join(lines + self.notes)

    def raise_if_incomplete(self) -> None:
        """Raise ImageryError where tiles failed or lack imagery that could not be read."""
        short = self.tiles_failed + self.tiles_broken + self.tiles_kept
        if short:
            state = "out of date" if short == self.tiles_kept else "incomplete"
            raise ImageryError(
                f"{short} of {short + self.tiles_done + self.tiles_reused} tiles are {state} "
                f"({next(iter(self.errors), 'unknown error')}): fix the cause and run the same "
                "command again; only these are tiled"
            )

    def _note(self, error: str) -> None:
        self.errors[error] = self.errors.get(error, 0) + 1


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
    start = time.perf_counter()
    if isinstance(area.imagery, ZarrImagery):
        raise AreaError(f"the imagery of {area.name} is tiled already: {area.imagery.path}")
    area = placed(area)
    url = out or area.tiled.path
    lattice = encoder_lattice(area, method)
    source = open_source(area.imagery)
    require_overlap(source, area.grid)
    polygon = None if area.polygon is None else hashlib.sha256(area.polygon.wkb).hexdigest()
    spec = TiledSpec(lattice, area.imagery.recorded(), polygon)
    with hold_lock(url, "imagery tile") as lock:
        states = plan_tiles(area, lattice)
        ledger = open_ledger(url, spec, states, other_imagery=other_imagery)
        work = TileWork(url, lattice, source)
        changed = _changed(work, ledger)
        report = TileReport(
            url,
            lattice.size,
            lattice.step,
            tiles_reused=int(((ledger.state == TileState.DONE) & ~changed).sum()),
            tiles_changed=int(changed.sum()),
            tiles_outside=int((ledger.state == TileState.OUTSIDE).sum()),
            notes=notes_of(source),
        )
        todo = changed | np.isin(ledger.state, (TileState.MISSING, TileState.BROKEN))
        _Run(work, ledger, report, lock, progress).over(np.argwhere(todo), cluster)
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


def plan_tiles(area: Area, lattice: Grid) -> NDArray[np.uint8]:
    """First states ``(tile_y, tile_x)``: OUTSIDE where no cell of the polygon needs a tile."""
    shape = lattice.chunk_grid(TILE)
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


def _changed(work: TileWork, ledger: TileLedger) -> NDArray[np.bool_]:
    """Which finished tiles ``(tile_y, tile_x)`` the origin would make otherwise today."""
    changed = np.zeros(ledger.state.shape, np.bool_)
    done = np.argwhere(ledger.state == TileState.DONE)

    def look(place: tuple[int, int]) -> bool:
        window = work.lattice.window(*tile_of(work.lattice, *place).slices)
        return work.source.fingerprint(window) != ledger.record(*place).fingerprint

    with ThreadPoolExecutor(_THREADS) as pool:
        changed[tuple(done.T)] = list(pool.map(look, done.tolist()))
    return changed


@dataclass(frozen=True)
class _Run:
    """One run over some tiles of a copy."""

    work: TileWork
    ledger: TileLedger
    report: TileReport
    lock: CubeLock
    progress: Progress | None

    def over(self, places: NDArray[np.intp], cluster: str) -> None:
        """Tile these places ``(n, 2)``."""
        if not len(places):
            return
        with open_cluster(cluster, blocks=len(places)) as executor:
            self.report.cluster = executor.description
            with closing(executor.stream(self.work, self._taken(places))) as outcomes:
                for count, outcome in enumerate(outcomes, 1):
                    self.lock.check()
                    self._settle(outcome)
                    if self.progress is not None:
                        self.progress(count, len(places))

    def _taken(self, places: NDArray[np.intp]) -> Iterator[Chunk]:
        """The tiles, each marked before anybody rewrites it."""
        for row, col in places.tolist():
            self.lock.check()
            tile = tile_of(self.work.lattice, row, col)
            self.ledger.mark(tile, TileState.MISSING)
            yield tile

    def _settle(self, outcome: Outcome[Chunk, TileResult]) -> None:
        tile, result = outcome.item, outcome.result
        if result is None:
            state = self.ledger.record(*tile.index).state  # as it was, if none touched it
            self.report.fail(outcome.error, state)
        else:
            state = result.state
            self.report.add(result)
        self.ledger.mark(tile, state)
