"""A build under fire: workers, scheduler and client killed at random, and the cube is the same."""

from __future__ import annotations

import asyncio
import hashlib
import multiprocessing
import os
import random
import signal
import socket
import time
from collections import Counter
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from geoloc.build import BuildPlan, build_blocks
from geoloc.cube import Ledger, Status, current_generation, generation_exists
from geoloc.errors import GeolocError
from geoloc.grid import Grid
from geoloc.imagery.source import as_window

from .cubes import TinyEncoder, grid_of, plan_of

GRID = grid_of(128 * 9, 128 * 10)
KILLS = 24
EARLY = 5  # of them, before the first block counts
PATIENCE = 240.0  # seconds for all of it, on a busy machine


@dataclass(frozen=True)
class LoggedSource:
    """Endless noise; each window that is read leaves a line in a log."""

    log: str
    gsd: float = 2.5

    def bounds(self, crs: str) -> tuple[float, float, float, float]:  # noqa: ARG002
        return (0, 0, 1e7, 1e7)

    def covers(self, window: Grid) -> bool:  # noqa: ARG002
        return True

    def fingerprint(self, window: Grid) -> str:
        return hashlib.sha256(repr(window.bounds).encode()).hexdigest()

    def read(self, window: Grid) -> xr.DataArray:
        with Path(self.log).open("a") as log:
            log.write(f"{window.left} {window.top}\n")
        time.sleep(0.02)
        rng = np.random.default_rng([int(window.left), int(window.top)])
        pixels = rng.integers(0, 255, (3, *window.shape), np.uint8)
        return as_window(pixels, np.ones(window.shape, np.bool_), window, (), ())


def plan_at(path: Path, log: Path) -> BuildPlan:
    return plan_of(path, GRID, LoggedSource(str(log)))


def run_scheduler(port: int) -> None:
    import dask
    from distributed import Scheduler

    dask.config.set({"distributed.comm.timeouts.connect": "3s"})  # to workers that are dead

    async def serve() -> None:
        async with Scheduler(host="127.0.0.1", port=port, dashboard=False) as scheduler:
            await scheduler.finished()

    asyncio.run(serve())


def run_worker(port: int) -> None:
    from distributed import Worker

    async def serve() -> None:
        async with Worker(f"tcp://127.0.0.1:{port}", nthreads=2, dashboard=False) as worker:
            await worker.finished()

    asyncio.run(serve())


def run_client(port: int, path: Path, log: Path) -> None:
    import dask

    dask.config.set({"distributed.comm.timeouts.connect": "3s"})
    try:
        report = build_blocks(plan_at(path, log), cluster=f"tcp://127.0.0.1:{port}")
        report.raise_if_incomplete()
    except GeolocError as error:
        assert "\n" not in str(error)
        with log.with_suffix(".errors").open("a") as errors:
            errors.write(f"{error}\n")
        os._exit(1)  # Dask's threads may wait for a scheduler that is gone


@dataclass
class Battlefield:
    """A scheduler, two workers and a client, each started anew when it is dead."""

    path: Path
    log: Path
    port: int = 0
    alive: dict[str, BaseProcess] = field(default_factory=dict)
    finished: bool = False
    cut_short: int = 0

    def __post_init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(["tests.test_build_kills", "distributed"])

    def muster(self) -> None:
        client = self.alive.get("client")
        if client is not None and client.exitcode == 0:
            self.finished = True
            return
        jobs: dict[str, tuple[Any, tuple[Any, ...]]] = {
            "scheduler": (run_scheduler, (self.port,)),
            "worker 1": (run_worker, (self.port,)),
            "worker 2": (run_worker, (self.port,)),
            "client": (run_client, (self.port, self.path, self.log)),
        }
        for name, (target, args) in jobs.items():
            if name not in self.alive or not self.alive[name].is_alive():
                process = self.context.Process(target=target, args=args, daemon=True)
                process.start()
                self.alive[name] = process

    def wait(self, blocks: int, seconds: float = 4) -> None:
        """Until so many more blocks are read, or nothing happens for a while; and a moment."""
        length = self.log.stat().st_size if self.log.exists() else 0
        end = time.monotonic() + seconds
        while time.monotonic() < end and len(self.read_since(length)) < blocks:
            if self.alive["client"].exitcode == 0:
                return
            time.sleep(0.02)
        time.sleep(random.uniform(0, 0.05))

    def kill(self, name: str) -> None:
        process = self.alive[name]
        assert process.pid is not None
        if process.is_alive():
            os.kill(process.pid, signal.SIGKILL)
        process.join()

    def done(self) -> set[tuple[int, int]]:
        """Blocks that the ledger names."""
        if not generation_exists(self.path, "g0001"):
            return set()
        status = Ledger(self.path, "g0001").status
        return {(int(row), int(col)) for row, col in np.argwhere(status == Status.DONE)}

    def read_since(self, offset: int) -> set[tuple[int, int]]:
        """Blocks whose imagery was read after the log had this length."""
        window = TinyEncoder().window(GRID)
        lines = self.log.read_text()[offset:].splitlines() if self.log.exists() else []
        places = [tuple(map(float, line.split())) for line in lines]
        return {
            (round((window.top - y) / 1280), round((x - window.left) / 1280)) for x, y in places
        }


def stored(root: Path) -> dict[str, bytes]:
    files = (p for p in root.rglob("*") if p.is_file())
    names = ((str(p.relative_to(root)), p) for p in files)
    return {name: p.read_bytes() for name, p in names if name != "g0001/zarr.json"}


def fight(field_: Battlefield, rng: random.Random, wanted: int) -> Counter[str]:
    """Kill at random until so many are dead, then let the build end; who was killed how often."""
    killed: Counter[str] = Counter()
    snapshots: list[tuple[int, set[tuple[int, int]]]] = []
    end = time.monotonic() + PATIENCE
    while not field_.finished:
        assert time.monotonic() < end, f"not finished; killed so far: {killed}"
        field_.muster()
        field_.wait(blocks=rng.randint(1, 6))
        early = killed.total() >= EARLY and not field_.done()  # let the sample be drawn
        if killed.total() < wanted and not early and not field_.finished:
            victim = rng.choice(["worker 1", "worker 2", "scheduler", "client"])
            field_.kill(victim)
            killed[victim.split()[0]] += 1
            done = field_.done()
            field_.cut_short += 0 < len(done) < 90
            length = field_.log.stat().st_size if field_.log.exists() else 0
            snapshots.append((length, done))
    for length, done in snapshots:
        again = done & field_.read_since(length)
        assert not again, f"finished blocks were computed again: {again}"
    return killed


@pytest.mark.slow
@pytest.mark.endurance
def test_killed_at_random_the_cube_is_the_same(tmp_path: Path) -> None:
    peace = tmp_path / "peace"
    build_blocks(plan_at(peace, tmp_path / "peace.log"), cluster="inline")
    rng, killed, attempt, cut_short = random.Random(11), Counter[str](), 0, 0
    while killed.total() < KILLS:
        path = tmp_path / f"war-{attempt}"
        field_ = Battlefield(path, tmp_path / f"war-{attempt}.log")
        try:
            killed += fight(field_, rng, KILLS - killed.total())
        finally:
            for process in field_.alive.values():
                process.kill()
        assert current_generation(path) == "g0001"
        assert stored(path) == stored(peace)
        attempt += 1
        cut_short += field_.cut_short
    print(f"killed {dict(killed)} in {attempt} builds, {cut_short} times with blocks done")
    assert cut_short >= 5  # not only before the first block
    assert min(killed[name] for name in ("worker", "scheduler", "client")) >= 3
