"""Makes small cubes from given features, for the tests of those who read cubes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from geoloc.cube import (
    BlockWriter,
    Cube,
    CubeSpec,
    Ledger,
    Provenance,
    Status,
    create_generation,
    publish,
)
from geoloc.domain import Grid
from geoloc.imagery import ArraySource, Source
from geoloc.jobs.plan import BuildPlan
from geoloc.models import FeatureSpace, Quantizer


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
    readout: NDArray[np.float32] | None = None,
    model_name: str = "tiny",
    model_digest: str = "0" * 64,
    area: str = "testville",
    generation: str = "g0001",
    imagery: dict[str, Any] | None = None,
) -> Cube:
    """A finished cube that holds float32 ``(y, x, feature)``, NaN where missing."""
    ny, nx, dim = features.shape
    grid = grid or grid_of(ny, nx)
    spec = CubeSpec.of(grid, polygon=None, imagery=imagery or {}, model=model_digest, encoding={})
    flat = features.reshape(-1, dim)
    names = classes or tuple(f"class_{i}" for i in range(dim))
    quantizer = Quantizer.fit(np.nanmin(flat, axis=0), np.nanmax(flat, axis=0))
    create_generation(
        url,
        generation,
        spec,
        FeatureSpace(names, quantizer, weights, metric, readout),
        np.zeros(grid.chunk_grid(), np.uint8),
        model_name=model_name,
        area=area,
    )
    writer, ledger = BlockWriter(url, generation), Ledger(url, generation)
    for block in grid.chunks():
        writer.write(block, features[block.slices])
        writer.record(block, Provenance(fingerprint="ab" * 32))
        ledger.mark(block.index, Status.DONE, "ab" * 32)
    publish(url, generation)
    return Cube.open(url)


def step_of(*cubes: Cube) -> float:
    """The widest step of the codes of these cubes."""
    return float(max(cube.features.stored_code.scale.max() for cube in cubes))


class TinyEncoder:
    """A deterministic function of pixels with a margin: means and contrasts of 3 x 3 cells.

    2.5 m per px whatever the step; NaN where less than half of a cell's window is valid.
    """

    dim = 5
    gsd = 2.5

    def window(self, cells: Grid) -> Grid:
        margin, px = cells.pad(1), round(cells.step / self.gsd)
        return Grid(cells.crs, margin.left, margin.top, self.gsd, margin.ny * px, margin.nx * px)

    def encode(
        self,
        pixels: NDArray[np.uint8],
        valid: NDArray[np.bool_],
        window: Grid,
        cells: Grid,
    ) -> NDArray[np.float32]:
        px = window.ny // (cells.ny + 2)
        means = np.stack([_cell_means(band, px) for band in np.where(valid, pixels, 0)])
        share = _cell_means(valid, px)
        with np.errstate(invalid="ignore", divide="ignore"):
            r, g, b = np.where(share >= 0.5, means / share, np.nan)
        return np.stack([r, g, b, r - g, b * g / 100], axis=-1).astype(np.float32)

    def describe(self) -> dict[str, object]:
        return {"method": "tiny", "gsd": self.gsd}


class CoarseEncoder(TinyEncoder):
    """The same from one pixel a cell: quick."""

    gsd = 10


def _cell_means(values: NDArray[np.generic], px: int) -> NDArray[np.float64]:
    """Mean of each cell and its eight neighbours, inside a margin of one cell."""
    ny, nx = values.shape[0] // px, values.shape[1] // px
    cells = values.reshape(ny, px, nx, px).mean(axis=(1, 3), dtype=np.float64)
    shifted = [cells[dy : ny - 2 + dy, dx : nx - 2 + dx] for dy in range(3) for dx in range(3)]
    return np.mean(shifted, axis=0)


def mosaic(grid: Grid, gsd: float = 2.5, seed: int = 0) -> ArraySource:
    """Imagery in memory that covers a grid with a margin; smooth, asymmetric, noisy."""
    px = round(grid.step / gsd)
    padded = grid.pad(2)
    pixels = Grid(grid.crs, padded.left, padded.top, gsd, padded.ny * px, padded.nx * px)
    y, x = np.mgrid[0 : pixels.ny, 0 : pixels.nx].astype(np.float32)
    waves = [np.sin(x / 97 + y / 41), np.cos(x / 53), np.sin(y / 71 + 1)]
    noise = np.random.default_rng(seed).normal(0, 8, (3, *pixels.shape))
    values = np.clip(128 + 90 * np.stack(waves) + noise, 0, 255).astype(np.uint8)
    return ArraySource(values, pixels)


def plan_of(url: str | Path, grid: Grid, source: Source, **changes: Any) -> BuildPlan:
    """A build of this imagery by the tiny encoder."""
    plan = BuildPlan(
        url=str(url),
        domain=grid,
        source=source,
        open_encoder=TinyEncoder,
        features=FeatureSpace(("red", "green", "blue", "warm", "cold")),
        model_name="tiny",
        model_digest="7" * 64,
        imagery={"kind": "array"},
        area="testville",
    )
    return replace(plan, **changes)


@pytest.fixture
def s3_bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """``s3://cubes`` on a real S3 server on loopback, reached as users reach theirs."""
    moto = pytest.importorskip("moto.moto_server.werkzeug_app")
    serving = pytest.importorskip("werkzeug.serving")
    # S3 alone: moto's server of all services looks for the right one at every request
    quiet = {"log_request": lambda *_: None}
    server = serving.make_server(
        "127.0.0.1", 0, moto.create_backend_app("s3"), threaded=True,
        request_handler=type("Handler", (moto.MotoRequestHandler,), quiet),
    )  # fmt: skip
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    for name, value in {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    httpx.put(f"{endpoint}/cubes", trust_env=False).raise_for_status()
    try:
        yield "s3://cubes"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
