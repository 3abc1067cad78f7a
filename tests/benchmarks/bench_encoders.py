"""Cells per second of patch and dense encoding, side by side, and what dense changes.

Run with ``python -m tests.benchmarks.bench_encoders``. It prints ratios of one run on this
machine and asserts nothing. DenseNet-161 has seeded random weights: its speed is that of trained
ones, its errors are not (a random trunk hardly forgets its padding), so they are shown only to
be read beside its own jitter. The sandbox model's errors are those of a trained network.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from geoloc.domain import CHUNK_SIZE, Grid
from geoloc.encoders import fidelity
from geoloc.encoders.formats.networks import build_network, weights_bytes
from geoloc.encoders.overhead import OverheadEncoder, PatchEncoder, open_overhead, open_patches
from geoloc.models.load import load_model
from geoloc.models.model import SHIPPED, Model, write_model

STEP = 10.0  # m
SAMPLED = 24  # cells compared patch by patch
GRID = Grid("EPSG:32636", 300_000.0, 5_598_000.0, STEP, CHUNK_SIZE, CHUNK_SIZE)

Pixels = tuple[NDArray[np.uint8], NDArray[np.bool_]]


@dataclass(frozen=True)
class Measured:
    """One model's figures."""

    name: str
    encoder: OverheadEncoder
    patch_rate: float
    dense_rate: float
    dense: fidelity.Fidelity
    jitter: fidelity.Fidelity


def main() -> None:
    """Measure and print."""
    console = Console(width=140)
    console.print(
        f"torch {torch.__version__}, {torch.get_num_threads()} CPU threads, step {STEP:g} m; dense "
        f"on one block of {CHUNK_SIZE} x {CHUNK_SIZE} cells, patch by patch on {SAMPLED} of them"
    )
    with tempfile.TemporaryDirectory() as folder:
        measured = [measure("densenet161 (random weights)", densenet(Path(folder)))]
    if (SHIPPED / "model.json").is_file():
        measured.append(measure("sandbox model", load_model("sandbox")))
    console.print(table(measured))
    console.print(
        "error: RMS difference over the spread of the vectors (1 = no better than their mean); "
        "rho: Spearman of distances; jitter: the same network, patches moved by 2 px.\n"
        "Random weights mean little in the columns of errors; the ratio of speeds is what counts."
    )


def densenet(directory: Path) -> Model:
    """DenseNet-161 with 365 classes, served at stride 16."""
    torch.manual_seed(0)
    network = {"format": "torchvision", "arch": "densenet161", "weights": "w.safetensors"}
    spec: dict[str, Any] = {
        "name": "densenet161",
        "classes": [f"class {i}" for i in range(365)],
        "dim": 365,
        "ground": network,
        "overhead": {
            **network,
            "patch_px": 224,
            "gsd": (0.5, 1.0),
            "preferred_gsd": 0.625,
            "methods": ("dense", "patch"),
            "dense": {"stride": 16, "pool_px": 224},
        },
    }
    weights = weights_bytes(build_network("densenet161", 365))
    return write_model(directory, spec, {"w.safetensors": weights})


def measure(name: str, model: Model) -> Measured:
    """Speeds and errors of a model's two methods on the same pixels."""
    dense = open_overhead(model, STEP, "dense")
    patch = open_patches(model, STEP, gsd=dense.gsd)
    read = world(dense, patch)
    rng = np.random.default_rng(0)
    rows, cols = rng.integers(0, CHUNK_SIZE, (2, SAMPLED))
    sample = fidelity.read_sample(read, patch, GRID, rows, cols)
    patch.encode_patches(sample.patches[:2, :, :-4, :-4])  # warm up
    exact, patch_seconds = timed(lambda: fidelity.exact_vectors(patch, sample))
    window = dense.window(GRID)
    pixels, valid = read(window)
    vectors, dense_seconds = timed(lambda: dense.encode(pixels, valid, window, GRID))
    found = fidelity.compare(vectors[sample.rows, sample.cols], exact)
    moved = fidelity.jitter(patch, sample, exact)
    rates = len(exact) / patch_seconds, GRID.size / dense_seconds
    return Measured(name, dense, *rates, found, moved)


def world(dense: OverheadEncoder, patch: PatchEncoder) -> Callable[[Grid], Pixels]:
    """Synthetic imagery around the block: fields, streets, noise; seeded."""
    margin = patch.spec.patch_px
    grid = dense.window(GRID).pad(margin)
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0 : grid.ny, 0 : grid.nx]
    fields = rng.integers(40, 200, (3, grid.ny // 97 + 1, grid.nx // 131 + 1))
    base = fields[:, y // 97, x // 131].astype(np.int16)
    base[:, (x % 211 < 9) | (y % 173 < 9)] = 150
    noise = rng.integers(-25, 26, grid.shape, dtype=np.int16)
    pixels = (base + noise).clip(0, 255).astype(np.uint8)

    def read(window: Grid) -> Pixels:
        row = round((grid.top - window.top) / grid.step)
        col = round((window.left - grid.left) / grid.step)
        part = pixels[:, row : row + window.ny, col : col + window.nx]
        return part, np.ones(window.shape, dtype=np.bool_)

    return read


def timed(work: Callable[[], NDArray[np.float32]]) -> tuple[NDArray[np.float32], float]:
    """What it answers, and the seconds that it took."""
    start = time.perf_counter()
    answer = work()
    return answer, time.perf_counter() - start


def table(measured: list[Measured]) -> Table:
    """The figures, a row per model and method."""
    made = Table(title="overhead encoding")
    for heading in ("network", "method"):
        made.add_column(heading)
    for heading in ("m/px", "format", "cells/s", "ratio", "error", "rho", "jitter", "jitter rho"):
        made.add_column(heading, justify="right")
    for m in measured:
        about = m.encoder.describe()
        shared = f"{about['gsd']:.3f}", str(about["precision"])
        patch = f"{m.patch_rate:.1f}", "1", "0", "1"
        ratio = m.dense_rate / m.patch_rate
        dense = f"{m.dense_rate:.0f}", f"{ratio:.0f} x", *errors(m.dense)
        made.add_row(m.name, "patch", *shared, *patch, *errors(m.jitter))
        made.add_row("", f"dense, stride {about['stride']}", *shared, *dense, "", "")
    return made


def errors(found: fidelity.Fidelity) -> tuple[str, str]:
    """Relative error and rank correlation, written out."""
    return f"{found.relative_error:.3f}", f"{found.spearman:.3f}"


if __name__ == "__main__":
    main()
