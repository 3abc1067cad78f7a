# ruff: noqa: E402
"""What regions of a country cost: photos against points, in one pass, here, in NumPy and in faiss.

``python -m tests.benchmarks.bench_regions [POINTS [PHOTOS]]``: by default 1,000,000 points of 365
classes (int8, 365 MB on disk) and 1 and 1,000 photos, regions of 25 km. The same number of threads
for everybody; rates are of processor time, so that a busy machine spoils no ratio. NumPy takes
fewer photos, as it takes a photo at a time: its rate counts. faiss keeps float32 vectors, so it has
a part of the points, and knows no regions: it finds the best 20 points of all.
"""

from __future__ import annotations

import os

THREADS = len(os.sched_getaffinity(0))
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = str(THREADS)

import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import faiss
import numpy as np
from numpy.typing import NDArray

from geoloc.cube import Cube
from geoloc.domain import Points, Regions
from geoloc.models import Quantizer
from geoloc.scenes import PLACES365
from geoloc.search import Query, RegionMin, TopK, reduce_scan

from ..point_place import write_point_cube

F32 = NDArray[np.float32]
DIM, BLOCK, TOP = len(PLACES365), 65_536, 20
MOST_FLOATS = 300_000  # points in faiss, which keeps 1,460 bytes of each in memory
WEST, SOUTH, EAST, NORTH = 22.1, 44.4, 40.2, 52.4  # as large as Ukraine


class Vectors:
    """Vectors as a network's: a mixture of patterns and noise, made chunk by chunk."""

    patterns = np.random.default_rng(0).normal(0, 1.5, (12, DIM)).astype(np.float32)

    def __getitem__(self, points: tuple[slice, ...]) -> F32:
        start, stop = points[0].start, points[0].stop
        rng = np.random.default_rng(start)
        noise = rng.standard_normal((stop - start, DIM), np.float32)
        return noise + rng.standard_normal((stop - start, 12), np.float32) @ self.patterns


def make_cube(folder: Path, count: int) -> Cube:
    """Points all over a country."""
    xy = np.random.default_rng(0).uniform((WEST, SOUTH), (EAST, NORTH), (count, 2))
    points = Points.along_curve("EPSG:4326", xy)
    return write_point_cube(
        folder / "cube.zarr", points, Vectors(), size=1024, classes=PLACES365,
        quantizer=Quantizer.of_range(-30, 30),
    )  # fmt: skip


def timed(name: str, photos: int, points: int, work: Callable[[], object]) -> None:
    start, spent = time.perf_counter(), time.process_time()
    work()
    seconds, spent = time.perf_counter() - start, time.process_time() - spent
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    rate = points * photos / spent / 1e6
    print(
        f"{name:<46}{photos:>7}{seconds:>9.2f} s{spent:>9.2f} s{rate:>12.1f}{peak:>8.2f} GB",
        flush=True,
    )


def numpy_regions(cube: Cube, photos: F32, region: NDArray[np.int32], regions: int) -> F32:
    """The smallest distance of each region by the study's form, block by block."""
    best = np.full((len(photos), regions), np.inf, np.float32)
    for start in range(0, cube.domain.size, BLOCK):
        cells = cube.features.decode(cube.read(slice(start, start + BLOCK)))
        for row, photo in zip(best, photos, strict=True):
            distances = np.sqrt(((cells - photo) ** 2).mean(-1))
            np.minimum.at(row, region[start : start + BLOCK], distances)
    return best


def main(count: int, many: int) -> None:
    """Measure and print."""
    print(f"{count:,} points x {DIM} classes, {THREADS} threads\n")
    print(f"{'':<46}{'photos':>7}{'time':>11}{'processors':>11}{'M pairs/s':>12}{'peak':>11}")
    with tempfile.TemporaryDirectory() as folder:
        cube = make_cube(Path(folder), count)
        layout = Regions.of(cube.domain, 25_000)
        rng = np.random.default_rng(2)
        photos = cube.features.decode(cube.read(slice(0, BLOCK)))[:: max(1, BLOCK // many)][:many]
        photos = photos + rng.normal(0, 2, photos.shape).astype(np.float32)

        def regions(number: int, sample: int = 0) -> object:
            kept = RegionMin.of(layout, number, sample)
            return reduce_scan(cube, Query(photos[:number]), kept, threads=THREADS)

        regions(1)  # compiles
        for number in (1, many):
            timed("regions: smallest, second, count", number, count, lambda n=number: regions(n))
        timed("regions: with a low quantile", many, count, lambda: regions(many, 32))
        timed(f"best {TOP} points, none apart", 1, count, lambda: reduce_scan(
            cube, Query(photos[:1]), TopK(cube.domain, 1, TOP, 0.0), threads=THREADS))  # fmt: skip
        region = layout.index(cube.domain.centres(np.arange(count)))
        timed("NumPy, float32, the study's form", 1, count,
              lambda: numpy_regions(cube, photos[:1], region, layout.count))  # fmt: skip
        found = regions(1)[0].best  # type: ignore[index]
        expected = numpy_regions(cube, photos[:1], region, layout.count)[0]
        there = np.isfinite(found)
        error = np.abs(found[there] - expected[there]).max() / expected[there].mean()
        index = faiss.IndexFlatL2(DIM)
        faiss.omp_set_num_threads(THREADS)
        some = min(count, MOST_FLOATS)
        for start in range(0, some, BLOCK):
            index.add(cube.features.decode(cube.read(slice(start, min(start + BLOCK, some)))))
        for number in (1, many):
            timed(f"faiss Flat, float32, {some:,} points, best {TOP}", number, some,
                  lambda n=number: index.search(photos[:n], TOP))  # fmt: skip
    print(f"\n{layout.count} regions; largest difference from NumPy: {error:.1e} of the mean")


if __name__ == "__main__":
    told = [int(text.replace(",", "")) for text in sys.argv[1:3]]
    main(*(told + [1_000_000, 1000][len(told) :]))
