# ruff: noqa: E402
"""What building costs beside the network: workers, Dask, memory, resuming, refreshing, reading.

``python -m tests.benchmarks.bench_build``: an encoder that takes a known time stands for the
network, so that what is measured is everything else; but for the last line, which has the
shipped network encode a compressed COG. Ratios within one run count; the seconds
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
import rasterio
import xarray as xr
from numpy.typing import NDArray
from rasterio import Affine

from geoloc.area import GeotiffImagery
from geoloc.cube import Status, create_generation, hold_lock
from geoloc.domain import Grid
from geoloc.executors import Executor, InlineExecutor
from geoloc.executors.workers import DaskExecutor
from geoloc.imagery import open_source
from geoloc.imagery.source import as_window
from geoloc.jobs.blocks import BlockJob
from geoloc.jobs.build import build_blocks
from geoloc.jobs.overview import open_mosaic
from geoloc.jobs.plan import BuildPlan, ModelEncoder
from geoloc.jobs.refresh import refresh_blocks
from geoloc.jobs.report import BuildReport
from geoloc.jobs.run import Run
from geoloc.models import FeatureSpace, Quantizer

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
    return plan_of(folder, grid, Noise(changed), open_encoder=encoder, features=FeatureSpace(names))


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
    create_generation(folder, "g0001", spec, work.features.with_code(code), done, model_name="tiny")

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


def write_cog(path: Path, grid: Grid) -> None:
    """Fields and noise under a grid and its margins, 0.625 m per px, compressed, no overviews."""
    padded, gsd = grid.pad(40), 0.625
    ny, nx = (round(cells * grid.step / gsd) for cells in padded.shape)
    profile = {"driver": "COG", "dtype": "uint8", "count": 3, "crs": grid.crs,
               "width": nx, "height": ny, "compress": "deflate", "overviews": "none",
               "transform": Affine(gsd, 0, padded.left, 0, -gsd, padded.top)}  # fmt: skip
    rng = np.random.default_rng(0)
    fields = rng.integers(40, 200, (3, ny // 60 + 1, nx // 60 + 1), np.uint8)
    with rasterio.open(path, "w", **profile) as file:
        for band, coarse in enumerate(fields, 1):
            fine = coarse.repeat(60, axis=0).repeat(60, axis=1)[:ny, :nx]
            file.write(fine + rng.integers(0, 12, fine.shape, np.uint8), band)


def network_plan(folder: Path, grid: Grid) -> BuildPlan:
    """A build of the COG in ``folder`` by the shipped network."""
    from geoloc.models import load_model  # torch, which the processes that `peaks` weighs lack

    model = load_model("sandbox")
    source = open_source(GeotiffImagery(kind="geotiff", paths=(str(folder / "a.tif"),)))
    encoder = ModelEncoder(str(model.path), model.digest, grid.step, "dense")
    return plan_of(folder, grid, source, open_encoder=encoder, features=model.features)


def fill(plan: BuildPlan, url: Path, executor: Executor) -> BuildReport:
    """Read, encode and write all blocks of a plan, as a build does once it has a code."""
    dim = plan.features.dim
    code = Quantizer.fit(np.full(dim, -9, np.float32), np.full(dim, 9, np.float32))
    status = np.zeros(plan.domain.chunk_grid(), np.uint8)
    work = replace(plan, url=str(url), features=plan.features.with_code(code))
    encoding = work.task.encoder().describe()
    mosaic = open_mosaic(work.domain, work.source, encoding, None)
    report = BuildReport(str(url), "g0001")
    with hold_lock(url, "benchmark") as lock:
        job = BlockJob(work, report, lock, mosaic, work.spec(encoding), status)
        job.prepare(executor)
        run = Run(job, work.domain, np.argwhere(status == Status.MISSING))
        report.seconds = seconds(lambda: run.over(executor))
    assert report.blocks_done == status.size
    return report


def hidden(report: BuildReport) -> float:
    """Share of the time spent on reading in which a block was encoded or written."""
    spent = report.stage_seconds
    waited = report.seconds - spent["encode"] - spent["write"]
    return 1 - waited / (spent["read"] + spent["decode"])


def overlapping(folder: Path) -> None:
    """Reading beside encoding against one after the other: the best of rounds, in turns."""
    folder.mkdir()
    grid = grid_of(BLOCK * 2, BLOCK * 4)
    write_cog(folder / "a.tif", grid)
    plan = network_plan(folder, grid)
    # of one item ahead, the next is taken when this one is finished
    executors = {"in turn": InlineExecutor(read_ahead=1), "overlapped": InlineExecutor()}
    fill(plan, folder / "warm", executors["overlapped"])
    rounds: dict[str, list[BuildReport]] = {name: [] for name in executors}
    for i in range(3):
        for name, executor in executors.items():
            rounds[name].append(fill(plan, folder / f"{name} {i}", executor))
    best = {name: min(reports, key=lambda r: r.seconds) for name, reports in rounds.items()}
    told = "   ".join(
        f"{name} {report.blocks_done / report.seconds:.2f} blocks/s, "
        f"{hidden(report):.0%} of reading hidden"
        for name, report in best.items()
    )
    ratio = best["in turn"].seconds / best["overlapped"].seconds
    print(f"reading a COG beside encoding {told}   ({ratio:.2f}x)")


def main() -> None:
    """Print a line for each."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        workers_and_overhead(folder)
        memory(folder)
        resuming(folder / "resume")
        refreshing(folder / "refresh")
        overlapping(folder / "overlap")


if __name__ == "__main__":
    main()
