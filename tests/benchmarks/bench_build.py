# ruff: noqa: E402
"""What building costs beside the network: workers, Dask, memory, resuming, refreshing.

``python -m tests.benchmarks.bench_build``: an encoder that takes a known time stands for the
network, so that what is measured is everything else. Ratios within one run count; the seconds
are those of this machine at this moment.

Ukraine at 10 m, on paper. Inputs: area A = 603,550 km2; step s = 10 m; block b = 128 cells;
D = 365 classes; GSD g = 0.5 m/px and margin m = 320 px on each side (``encoder.window``);
c = cells/s of one worker (``geoloc cube plan`` measures it, figure below for 1,000); w = workers;
o = 7 ms, Dask's overhead of a block; r = 70,000 finished blocks/s that a build begun again goes
past; f = 3 ms a block to look at its imagery and take it over (o, r and f: measured here, on two
busy cores, f on a disk, where a block taken over is linked); p = 1 % of the blocks changed.

    cells            A / s^2                            6.04e9
    blocks           cells / b^2, and 3 % at the border 379,000
    cube             blocks * b^2 * (D + 4) bytes       2.29 TB
    imagery, pixels  blocks * ((b s / g + 2 m)^2) * 3   11.7 TB decoded, 64 % of it without margins
    build            blocks * b^2 / (c w)               1,727 h / w at c = 1,000: 17 h with w = 100
    overhead         blocks * o                         0.7 h of the client's, in that time
    resume           blocks / r                         5 s
    refresh          p * build + blocks * f             17 h / w, and 0.3 h
"""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import hashlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import psutil
import xarray as xr
from numpy.typing import NDArray

from geoloc.build import BuildPlan, build_blocks
from geoloc.cluster import Executor, InlineExecutor
from geoloc.cluster.workers import DaskExecutor
from geoloc.cube import Quantizer, Status, create_generation
from geoloc.grid import Grid
from geoloc.imagery.source import as_window
from geoloc.refresh import refresh_blocks

from ..cubes import CoarseEncoder, grid_of, plan_of
from ..memory import peak_rss

BLOCK = 128
DIM = 365


@dataclass(frozen=True)
class Noise:
    """Endless imagery; what lies west of ``changed_from`` columns of blocks is another day's."""

    changed: int = 0
    gsd: float = 10.0

    def bounds(self, crs: str) -> tuple[float, float, float, float]:  # noqa: ARG002
        return (0, 0, 1e7, 1e7)

    def covers(self, window: Grid) -> bool:  # noqa: ARG002
        return True

    def fingerprint(self, window: Grid) -> str:
        return hashlib.sha256(f"{window.bounds} {self._day(window)}".encode()).hexdigest()

    def read(self, window: Grid) -> xr.DataArray:
        seed = [int(window.left), int(window.top), self._day(window)]
        pixels = np.random.default_rng(seed).integers(0, 255, (3, *window.shape), np.uint8)
        return as_window(pixels, np.ones(window.shape, np.bool_), window, (), ())

    def _day(self, window: Grid) -> int:
        index = round((window.left - 300_000) / (BLOCK * 10)) + 1000 * round(
            (5_600_000 - window.top) / (BLOCK * 10)
        )
        return int(index < self.changed)


class Slow(CoarseEncoder):
    """Takes processor time, as a network does."""

    def encode(
        self, pixels: NDArray[np.uint8], valid: NDArray[np.bool_], window: Grid, cells: Grid
    ) -> NDArray[np.float32]:
        few = super().encode(pixels, valid, window, cells)
        end = time.thread_time() + 0.1
        while time.thread_time() < end:
            np.square(few)
        return few


class Wide(CoarseEncoder):
    """As many features as a real network."""

    dim = DIM

    def encode(
        self, pixels: NDArray[np.uint8], valid: NDArray[np.bool_], window: Grid, cells: Grid
    ) -> NDArray[np.float32]:
        return np.tile(super().encode(pixels, valid, window, cells), (1, 1, DIM // 5))


class SlowWide(Wide, Slow):
    """Both."""


def plan(
    folder: Path | str, rows: int, cols: int, encoder: type[CoarseEncoder], changed: int = 0
) -> BuildPlan:
    grid = grid_of(BLOCK * rows, BLOCK * cols)
    names = tuple(f"class_{i}" for i in range(encoder.dim))
    return plan_of(folder, grid, Noise(changed), open_encoder=encoder, classes=names)


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


@dataclass
class Nothing:
    """Work that takes no time: what is left is the executor's own."""

    def read(self, item: int) -> int:
        return item

    def finish(self, item: int, data: int) -> int:  # noqa: ARG002 the protocol's signature
        return data


def overhead(executor: Executor) -> float:
    """Seconds of an item on which no work is done."""
    items = 300
    return seconds(lambda: list(executor.stream(Nothing(), range(items)))) / items


def workers_and_overhead(folder: Path) -> None:
    """1 and 2 workers in this run, in turns; and a block of nothing through both executors."""
    from distributed import Client, LocalCluster

    side, rates = 8, dict[int, float]()
    blocks = side * side
    for count in (1, 2):
        with (
            LocalCluster(
                n_workers=count, threads_per_worker=2, dashboard_address=":0", protocol="tcp"
            ) as cluster,
            Client(cluster) as client,
        ):
            address = cluster.scheduler_address
            build_blocks(plan(folder / f"warm{count}", 1, 2, SlowWide), cluster=address)
            work = plan(folder / f"w{count}", side, side, SlowWide)
            rates[count] = blocks / seconds(lambda p=work, a=address: build_blocks(p, cluster=a))  # type: ignore[misc]
            if count == 2:
                dask = DaskExecutor(client, "")
                each = overhead(dask)
    print(f"build, {blocks} blocks of 100 ms   1 worker {rates[1]:.2f} blocks/s   "
          f"2 workers {rates[2]:.2f} ({rates[2] / rates[1]:.2f}x)")  # fmt: skip
    inline = overhead(InlineExecutor())
    print(f"overhead of a block           Dask {1e3 * each:.1f} ms   inline {1e3 * inline:.2f} ms")


MEASURED = """
import resource, sys
from tests.benchmarks.bench_build import peaks
peaks(sys.argv[1], int(sys.argv[2]))
"""


def peaks(folder: str, side: int) -> None:
    """Build ``side`` x ``side`` blocks; print the peak RSS of this process and of its worker."""
    from distributed import LocalCluster

    with LocalCluster(n_workers=1, threads_per_worker=2, dashboard_address=":0") as cluster:
        build_blocks(plan(folder, side, side, Wide), cluster=cluster.scheduler_address)
        worker = max(peak_rss(child.pid) for child in psutil.Process().children(recursive=True))
    print(peak_rss(os.getpid()), worker)


def memory(folder: Path) -> None:
    """Client and worker as the area grows."""
    figures = []
    for times, side in ((1, 4), (4, 8), (16, 16)):
        command = [sys.executable, "-c", MEASURED, str(folder / f"m{side}"), str(side)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        client, worker = map(int, done.stdout.split())
        figures.append(f"{times}x: {client} / {worker} MiB")
        shutil.rmtree(folder / f"m{side}")
    print(f"peak RSS, client / worker     {'   '.join(figures)}   (1x: 16 blocks)")


def resuming(folder: Path) -> None:
    """A build of 100,000 finished blocks is begun again."""
    side = 317
    work = plan(folder, side, side, Wide)
    code = Quantizer.fit(np.zeros(DIM, np.float32), np.ones(DIM, np.float32))
    done = np.full((side, side), Status.DONE, np.uint8)
    spec = work.spec(Wide().describe())
    create_generation(folder, "g0001", spec, code, done, classes=work.classes, model_name="tiny")

    def resume() -> None:
        assert build_blocks(work, cluster="inline").blocks_reused == side * side

    print(f"resume, {side * side:,} blocks done     {seconds(resume):.2f} s")


def refreshing(folder: Path) -> None:
    """One block in a hundred changed, against building all of them."""
    work = plan(folder, 10, 20, Slow)
    built = seconds(lambda: build_blocks(work, cluster="inline"))
    changed = replace(work, source=Noise(changed=2))
    refreshed = seconds(lambda: refresh_blocks(changed, cluster="inline"))
    print(f"refresh, 2 of 200 changed     {refreshed:.2f} s, full build {built:.2f} s "
          f"({built / refreshed:.0f}x; 100 ms a block)")  # fmt: skip


def main() -> None:
    """Print a line for each."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        workers_and_overhead(folder)
        memory(folder)
        resuming(folder / "resume")
        refreshing(folder / "refresh")


if __name__ == "__main__":
    main()
