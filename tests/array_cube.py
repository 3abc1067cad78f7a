"""Cubes for tests, in memory, and whole maps of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoloc.candidates import Candidate, candidates_of
from geoloc.domain import Chunk, Grid
from geoloc.models import MISSING, FeatureSpace, Quantizer
from geoloc.scenes import PLACES365
from geoloc.search import Query, TopK, scan, scan_scenes

F32 = NDArray[np.float32]


@dataclass
class ArrayCube:
    """A cube in memory, with what search and candidates need of one."""

    codes: NDArray[np.int8]
    scale: F32
    offset: F32
    weights: F32 | None = None
    metric: F32 | None = None
    readout: F32 | None = None
    with_norm: bool = True
    crs: str = "EPSG:32636"
    reads: list[tuple[slice, ...]] = field(default_factory=list)

    @property
    def domain(self) -> Grid:
        return self.grid

    @property
    def grid(self) -> Grid:
        return Grid(self.crs, 300_000.0, 5_600_000.0, 10.0, *self.codes.shape[:2])

    @property
    def features(self) -> FeatureSpace:
        names = PLACES365[: self.codes.shape[2] if self.readout is None else len(self.readout)]
        code = Quantizer(self.scale, self.offset)
        return FeatureSpace(names, code, self.weights, self.metric, self.readout)

    def read(self, *cells: slice) -> NDArray[np.int8]:
        self.reads.append(cells)
        return self.codes[cells]

    def read_norm(self, *cells: slice) -> F32 | None:
        values = self.values()[cells]
        return self.features.distance().squared_norm(values) if self.with_norm else None

    def vector(self, *cell: int) -> F32 | None:
        value = self.values()[cell]
        return None if np.isnan(value[0]) else value

    def values(self) -> F32:
        values = self.codes * self.scale + self.offset
        values[self.codes[..., 0] == MISSING] = np.nan
        return values


def make_cube(
    ny: int = 30, nx: int = 21, dim: int = 37, seed: int = 0, *, missing: float = 0.1
) -> ArrayCube:
    rng = np.random.default_rng(seed)
    codes = rng.integers(-127, 128, (ny, nx, dim), dtype=np.int8)
    codes[rng.random((ny, nx)) < missing] = MISSING
    scale = rng.uniform(0.01, 0.1, dim).astype(np.float32)
    return ArrayCube(codes, scale, rng.normal(0, 3, dim).astype(np.float32))


def make_metric(dim: int, rank: int, seed: int = 5) -> F32:
    return np.random.default_rng(seed).normal(0, 1, (dim, rank)).astype(np.float32)


def photos(cube: ArrayCube, n: int, seed: int = 1) -> F32:
    rng = np.random.default_rng(seed)
    return rng.normal(0, 4, (n, len(cube.scale))).astype(np.float32)


def heatmaps(cube: Any, query: Query, *args: Any, **options: Any) -> F32:
    """Distances ``(photo, y, x)`` of a whole small cube; the polygon may come third."""
    options |= {"within": args[0]} if args else {}
    return whole(scan(cube, query, **options), cube, len(query.vectors))


def scene_heatmaps(cube: Any, names: Sequence[str]) -> F32:
    """The same for scenes."""
    return whole(scan_scenes(cube, names), cube, len(names))


def whole(pieces: Iterable[tuple[Chunk, F32]], cube: Any, maps: int) -> F32:
    """The pieces of a scan put together."""
    found = np.full((maps, *cube.grid.shape), np.nan, np.float32)
    for chunk, values in pieces:
        found[:, *chunk.slices] = values
    return found


def find_candidates(
    heatmap: F32, grid: Grid, top: int = 20, radius: float = 150
) -> list[Candidate]:
    """The candidates of a whole heatmap."""
    best = TopK(grid, 1, top, radius)
    best.add(grid.chunk(0, 0, size=max(grid.shape)), heatmap[None])
    return candidates_of(best.result()[0], grid)
