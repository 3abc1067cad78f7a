"""Makes small cubes from given features, for the tests of those who read cubes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geoloc.cube import (
    BlockWriter,
    Cube,
    CubeSpec,
    Ledger,
    Provenance,
    Quantizer,
    Status,
    create_generation,
    publish,
)
from geoloc.grid import Grid


def grid_of(ny: int, nx: int, step: float = 10) -> Grid:
    """A lattice in UTM zone 36N."""
    return Grid("EPSG:32636", 300_000.0, 5_600_000.0, step, ny, nx)


def write_cube(
    url: str | Path,
    features: NDArray[np.float32],
    *,
    grid: Grid | None = None,
    classes: tuple[str, ...] | None = None,
    weights: NDArray[np.float32] | None = None,
    metric: NDArray[np.float32] | None = None,
    model_name: str = "tiny",
    model_digest: str = "0" * 64,
    area: str = "testville",
) -> Cube:
    """A finished cube that holds float32 ``(y, x, feature)``, NaN where missing."""
    ny, nx, dim = features.shape
    grid = grid or grid_of(ny, nx)
    spec = CubeSpec.of_grid(grid, polygon=None, imagery={}, model=model_digest, encoding={})
    flat = features.reshape(-1, dim)
    quantizer = Quantizer.fit(np.nanmin(flat, axis=0), np.nanmax(flat, axis=0))
    create_generation(
        url,
        "g0001",
        spec,
        quantizer,
        np.zeros(grid.block_shape(), np.uint8),
        classes=classes or tuple(f"class_{i}" for i in range(dim)),
        model_name=model_name,
        area=area,
        weights=weights,
        metric=metric,
    )
    writer, ledger = BlockWriter(url, "g0001"), Ledger(url, "g0001")
    for block in grid.blocks():
        writer.write(block, features[block.slices])
        writer.record(block, Provenance(fingerprint="ab" * 32))
        ledger.mark(block.row, block.col, Status.DONE, "ab" * 32)
    publish(url, "g0001")
    return Cube.open(url)
