# ruff: noqa: E402
"""How many cells a second a query compares: here, in NumPy and in faiss, on equal numbers.

``python -m tests.benchmarks.bench_search``: 200,000 cells of 365 classes, the best of several
runs taken in turns. In memory everybody has one thread, whose processor time counts, so that a
busy machine spoils no ratio; from disk the wall clock counts. The fraction of bandwidth is the
bytes of the cells in a method's own form, read once, over what a plain sum of 512 MB reaches.
"""

from __future__ import annotations

import os

# Read by the libraries when they are loaded: one thread for everybody.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np
from numpy.typing import NDArray

from geoloc.cube import Cube
from geoloc.models import Distance, FeatureSpace
from geoloc.scenes import PLACES365
from geoloc.search import Heatmaps, Query, TopK, reduce_scan
from geoloc.search.distance import distance_kernel, scene_kernel

from ..cubes import write_cube

F32 = NDArray[np.float32]
NY, NX, DIM = 400, 500, 365
CELLS = NY * NX
MANY, TOP = 64, 20
ROUNDS, SHORT = 4, 0.1  # turns; seconds below which a case is repeated within a turn
FAISS_BLOCK = 64  # its 8-bit code is fast only for whole multiples of so many dimensions


@dataclass
class Case:
    """One thing to measure: ``photos`` compared with all cells, which take ``bytes_`` to read."""

    name: str
    photos: int
    bytes_: int
    work: Callable[[], object]
    clock: Callable[[], float] = time.thread_time
    seconds: float = float("inf")

    def run(self) -> None:
        start = self.clock()
        self.work()
        self.seconds = min(self.seconds, self.clock() - start)

    @property
    def rate(self) -> float:
        """Million photo-cells a second."""
        return CELLS * self.photos / self.seconds / 1e6

    def text(self, bandwidth: float) -> str:
        used = self.bytes_ / self.seconds / bandwidth
        return f"{self.name:<44}{self.photos:>7}{self.rate:>12.2f}{used:>12.0%}"


def measure(cases: list[Case]) -> None:
    """The fastest of several runs of each, in turns: a busy moment then hits no one alone."""
    for _ in range(ROUNDS):
        for case in cases:
            case.run()
            for _ in range(min(5, int(SHORT / case.seconds))):
                case.run()


def make_cube(folder: Path) -> Cube:
    """Cells whose logits are a mixture of smooth patterns and noise, as those of a network."""
    rng = np.random.default_rng(0)
    weights = rng.normal(0, 1.5, (12, DIM)).astype(np.float32)
    features = rng.normal(0, 1, (NY, NX, DIM)).astype(np.float32)
    features += rng.normal(0, 1, (NY, NX, 12)).astype(np.float32) @ weights
    return write_cube(folder / "cube.zarr", features, classes=PLACES365)


def reference(cells: F32, photos: F32, weights: F32) -> F32:
    """The distance as the study's code writes it, a photo at a time over float32 cells."""
    return np.stack([np.sqrt(((weights * (cells - b)) ** 2).sum(-1)) for b in photos])


def padded(values: F32) -> F32:
    width = -(-DIM // FAISS_BLOCK) * FAISS_BLOCK
    return np.pad(values, ((0, 0), (0, width - DIM)))


def cases_here(codes: NDArray[np.int8], cube: Cube, cells: F32, photos: F32) -> list[Case]:
    def case(name: str, count: int, distance: Distance, norm: F32 | None) -> Case:
        query, stored = Query(photos[:count]), norm is not None
        form = distance_kernel(query, distance, cube.features.stored_code, stored)
        size = codes.nbytes + (4 * CELLS if form.stored else 0)
        return Case(f"geoloc, int8{name}", count, size, lambda: form(codes, norm))

    matrix = np.random.default_rng(1).normal(0, 1, (DIM, DIM)).astype(np.float32)
    plain, metric = (FeatureSpace(PLACES365, metric=m).distance() for m in (None, matrix))
    norm, metric_norm = (distance.squared_norm(cells) for distance in (plain, metric))
    scene = scene_kernel(cube.features, (PLACES365.index("stadium-soccer"),))
    return [
        case("", 1, plain, norm),
        case("", MANY, plain, norm),
        case(", the query's own weights", 1, plain, None),
        case(", a model's metric", 1, metric, metric_norm),
        case(", a model's metric", MANY, metric, metric_norm),
        Case("geoloc, int8, a scene by name", 1, codes.nbytes, lambda: scene(codes, None)),
    ]


def cases_elsewhere(cells: F32, photos: F32) -> list[Case]:
    """NumPy takes a photo at a time, so 64 of them would only take 64 times as long."""
    faiss.omp_set_num_threads(1)
    weights = np.full(DIM, 1 / np.sqrt(DIM), np.float32)
    flat = faiss.IndexFlatL2(DIM)
    flat.add(cells)
    wide, wide_photos = padded(cells), padded(photos)
    code = faiss.IndexScalarQuantizer(wide.shape[1], faiss.ScalarQuantizer.QT_8bit)
    code.train(wide[::20])
    code.add(wide)
    name = f"faiss SQ8 padded to {wide.shape[1]}, top {TOP}"
    return [
        Case("NumPy, float32, the study's form", 1, cells.nbytes,
             lambda: reference(cells, photos[:1], weights)),
        Case(f"faiss Flat, float32, top {TOP}", 1, cells.nbytes,
             lambda: flat.search(photos[:1], TOP)),
        Case(f"faiss Flat, float32, top {TOP}", MANY, cells.nbytes,
             lambda: flat.search(photos, TOP)),
        Case(name, 1, wide.size, lambda: code.search(wide_photos[:1], TOP)),
        Case(name, MANY, wide.size, lambda: code.search(wide_photos, TOP)),
    ]  # fmt: skip


def cases_on_disk(cube: Cube, photos: F32, threads: int) -> list[Case]:
    def heatmaps(count: int) -> object:
        kept = Heatmaps.of(cube.grid, count)
        return reduce_scan(cube, Query(photos[:count]), kept, threads=threads)

    def candidates() -> object:
        return reduce_scan(cube, Query(photos[:1]), TopK(cube.grid, 1), threads=threads)

    name = f"Zarr on disk (cached), {threads} thread" + "s" * (threads > 1)
    whole = {
        "heatmap": (1, lambda: heatmaps(1)),
        "candidates": (1, candidates),
        "heatmaps": (MANY, lambda: heatmaps(MANY)),
    }
    return [
        Case(f"{name}: {what}", count, CELLS * DIM, work, time.perf_counter)
        for what, (count, work) in whole.items()
    ]


def main() -> None:
    """Measure and print."""
    numbers = np.ones(1 << 26, np.int64)
    memory = Case("a plain sum", 1, numbers.nbytes, numbers.sum)
    with tempfile.TemporaryDirectory() as folder:
        cube = make_cube(Path(folder))
        codes = cube.read(slice(0, NY), slice(0, NX)).reshape(CELLS, DIM)
        cells = cube.features.decode(codes)
        rng = np.random.default_rng(2)
        noise = rng.normal(0, 2, (MANY, DIM)).astype(np.float32)
        photos = cells[rng.integers(0, CELLS, MANY)] + noise
        here, elsewhere = cases_here(codes, cube, cells, photos), cases_elsewhere(cells, photos)
        processors = sorted({1, len(os.sched_getaffinity(0))})
        disk = [case for count in processors for case in cases_on_disk(cube, photos, count)]
        measure([memory, *here, *elsewhere, *disk])
        (found,) = reduce_scan(cube, Query(photos[:1]), Heatmaps.of(cube.grid, 1))
    expected = reference(cells, photos[:1], np.full(DIM, 1 / np.sqrt(DIM), np.float32))[0]
    report(memory, here, elsewhere, disk)
    error = np.abs(found[:].reshape(-1) - expected).max() / expected.mean()
    print(f"largest difference from NumPy: {error:.1e} of the mean distance")


def report(memory: Case, here: list[Case], elsewhere: list[Case], disk: list[Case]) -> None:
    """Print the table and the ratios."""
    bandwidth = memory.bytes_ / memory.seconds
    print(f"{CELLS:,} cells x {DIM} classes; one thread reads {bandwidth / 1e9:.1f} GB/s\n")
    print(f"{'':<44}{'photos':>7}{'M cells/s':>12}{'bandwidth':>12}")
    for case in (*here, *elsewhere, *disk):
        print(case.text(bandwidth))
    numpy_one, *indexes = elsewhere
    for own, flat, code in zip(here, indexes[:2], indexes[2:], strict=False):
        print(
            f"{own.photos} photo(s): {own.rate / numpy_one.rate:.0f} x NumPy, "
            f"{own.rate / flat.rate:.1f} x faiss Flat, {own.rate / code.rate:.1f} x faiss SQ8"
        )


if __name__ == "__main__":
    main()
