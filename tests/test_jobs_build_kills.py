"""A build under fire: workers, scheduler and client killed at random, and the cube is the same."""

from __future__ import annotations

import asyncio
import hashlib
import json
import multiprocessing
import os
import random
import signal
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from geoloc.cube import Ledger, Status, current_generation, generation_exists
from geoloc.domain import Grid
from geoloc.errors import GeolocError
from geoloc.imagery.source import as_window
from geoloc.jobs.build import build_blocks
from geoloc.jobs.plan import BuildPlan

from .cubes import TinyEncoder, grid_of, plan_of

Place = tuple[int, int]

GRID = grid_of(128 * 9, 128 * 10)
PORT = 8786
BLOCKS = 90
KILLS = 24
EARLY = 5  # of them, before the first block counts
HELD_AT = 40  # of the 64 windows for the code that a run may read before those are over
PATIENCE = 120.0  # seconds in which nothing happens at all, on a busy machine


class _Process:
    works = False  # whether this process is a worker


@dataclass(frozen=True)
class LoggedSource:
    """Endless noise; each block that is read leaves a line in a log, with the run's number.

    So do the small windows that the code is chosen from, in another one.
    """

    log: str
    run: int = 0
    gsd: float = 2.5

    def bounds(self, crs: str) -> tuple[float, float, float, float]:  # noqa: ARG002
        return (0, 0, 1e7, 1e7)

    def covers(self, window: Grid) -> bool:  # noqa: ARG002
        return True

    def fingerprint(self, window: Grid) -> str:
        return hashlib.sha256(repr(window.bounds).encode()).hexdigest()

    def read(self, window: Grid) -> xr.DataArray:
        origin = TinyEncoder().window(GRID)
        row = round((origin.top - window.top) / 1280)
        col = round((window.left - origin.left) / 1280)
        log = Path(self.log if window.ny > 100 else f"{self.log}.windows")
        while log.suffix == ".windows" and self._is_held(log):
            time.sleep(0.05)
        if _Process.works:  # the client reads for the overview what a killed one had seen
            with log.open("a") as lines:
                lines.write(f"{self.run} {row} {col}\n")
        time.sleep(0.02)
        rng = np.random.default_rng([int(window.left), int(window.top)])
        pixels = rng.integers(0, 255, (3, *window.shape), np.uint8)
        return as_window(pixels, np.ones(window.shape, np.bool_), window, (), ())

    def _is_held(self, log: Path) -> bool:
        return Path(f"{self.log}.hold").exists() and len(reads(log, self.run)) >= HELD_AT


def reads(log: Path | str, run: int | None = None) -> list[Place]:
    """Blocks that were read to be computed, by one run or by all, in the order of reading."""
    text = Path(log).read_text() if Path(log).exists() else ""
    lines = (tuple(map(int, line.split())) for line in text.splitlines())
    return [(row, col) for number, row, col in lines if run in (None, number)]


def plan_at(path: Path, log: Path, run: int = 0) -> BuildPlan:
    return plan_of(path, GRID, LoggedSource(str(log), run))


def run_scheduler(host: str) -> None:
    import dask
    from distributed import Scheduler

    dask.config.set({"distributed.comm.timeouts.connect": "3s"})  # to workers that are dead

    async def serve() -> None:
        async with Scheduler(host=host, port=PORT, dashboard=False) as scheduler:
            await scheduler.finished()

    asyncio.run(serve())


def run_worker(host: str) -> None:
    from distributed import Worker

    _Process.works = True

    async def serve() -> None:
        async with Worker(f"tcp://{host}:{PORT}", nthreads=2, dashboard=False) as worker:
            await worker.finished()

    asyncio.run(serve())


def run_client(host: str, path: Path, log: Path, run: int) -> None:
    import dask

    dask.config.set({"distributed.comm.timeouts.connect": "3s"})
    try:
        report = build_blocks(plan_at(path, log, run), cluster=f"tcp://{host}:{PORT}")
        report.raise_if_incomplete()
        log.with_suffix(".report").write_text(json.dumps(report.to_json()))
    except GeolocError as error:
        assert "\n" not in str(error)
        with log.with_suffix(".errors").open("a") as errors:
            errors.write(f"run {run}: {error}\n")
        os._exit(1)  # Dask's threads may wait for a scheduler that is gone


def own_address() -> str:
    """Of loopback: nobody else listens there, so the port is free each time it is wanted."""
    return ".".join(["127", *(str(1 + byte % 254) for byte in uuid.uuid4().bytes[:3])])


@dataclass
class Battlefield:
    """A scheduler, two workers and a client, each started anew when it is dead.

    ``before``: for each run of the client, what the ledger named when it was started. No other
    client lived then, so that this is exact.
    """

    path: Path
    log: Path
    host: str = field(default_factory=own_address)
    alive: dict[str, BaseProcess] = field(default_factory=dict)
    before: list[set[Place]] = field(default_factory=list)
    finished: bool = False

    def __post_init__(self) -> None:
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(["tests.test_jobs_build_kills", "distributed"])

    def muster(self) -> None:
        """Start what is dead, unless the client has finished."""
        client = self.alive.get("client")
        if client is not None and client.exitcode == 0:
            self.finished = True
            return
        self._start("scheduler", run_scheduler, self.host)
        for name in ("worker 1", "worker 2"):
            self._start(name, run_worker, self.host)
        if client is None or not client.is_alive():
            self.before.append(self.done())
            run = len(self.before) - 1
            self._start("client", run_client, self.host, self.path, self.log, run)

    def _start(self, name: str, target: Any, *args: Any) -> None:
        if name not in self.alive or not self.alive[name].is_alive():
            process = self.context.Process(target=target, args=args, daemon=True)
            process.start()
            self.alive[name] = process

    def wait(self, blocks: int, seconds: float = 4) -> None:
        """Until so many more blocks are read, or nothing happens for a while; and a moment."""
        wanted = self.seen() + blocks
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.seen() < wanted:
            if self.alive["client"].exitcode == 0:
                return
            time.sleep(0.02)
        time.sleep(random.uniform(0, 0.05))

    def seen(self) -> int:
        """Windows and blocks that were read."""
        return len(reads(self.log)) + len(reads(f"{self.log}.windows"))

    def kill(self, name: str) -> None:
        process = self.alive[name]
        assert process.pid is not None
        if process.is_alive():
            os.kill(process.pid, signal.SIGKILL)
        process.join()

    def stop(self) -> None:
        for process in self.alive.values():
            process.kill()
            process.join()

    def done(self) -> set[Place]:
        """Blocks that the ledger names."""
        if not generation_exists(self.path, "g0001"):
            return set()
        status = Ledger(self.path, "g0001").status
        return {(int(row), int(col)) for row, col in np.argwhere(status == Status.DONE)}

    def told(self) -> str:
        """The last of what clients complained of."""
        errors = self.log.with_suffix(".errors")
        return errors.read_text()[-500:] if errors.exists() else "no client complained"


def victims(rng: random.Random) -> Iterator[str]:
    """Without end; of any four in a row, each is one."""
    while True:
        yield from rng.sample(["worker 1", "worker 2", "scheduler", "client"], 4)


@dataclass
class War:
    """Builds that are shot at until ``KILLS`` processes are dead."""

    rng: random.Random
    killed: Counter[str] = field(default_factory=Counter)
    before_any: int = 0
    with_some: int = 0

    def fight(self, place: Battlefield, early: int) -> None:
        """Kill at random, ``early`` times before a block counts, and let the build end."""
        hold = Path(f"{place.log}.hold")
        hold.touch()
        seen, since = (0, 0), time.monotonic()
        shots = victims(self.rng)
        while not place.finished:
            if early <= 0:
                hold.unlink(missing_ok=True)
            place.muster()
            place.wait(blocks=self.rng.randint(1, 6))
            if (now := (place.seen(), self.killed.total())) != seen:
                seen, since = now, time.monotonic()
            assert time.monotonic() - since < PATIENCE, f"stuck at {seen}: {place.told()}"
            done = len(place.done())
            if self.killed.total() < KILLS and (early > 0 or 0 < done < BLOCKS):
                self._shoot(place, next(shots), done)
                early -= 1

    def _shoot(self, place: Battlefield, victim: str, done: int) -> None:
        place.kill(victim)
        self.killed[victim.split()[0]] += 1
        self.before_any += done == 0
        self.with_some += done > 0


def stored(root: Path) -> dict[str, bytes]:
    """Files by name, but for the remains of files that were being written, which none reads."""
    files = (p for p in root.rglob("*") if p.is_file() and p.suffix != ".partial")
    names = ((str(p.relative_to(root)), p) for p in files)
    return {name: p.read_bytes() for name, p in names if name != "g0001/zarr.json"}


def assert_nothing_twice(place: Battlefield) -> None:
    """What the ledger named at the start of a run was not computed by it."""
    for run, done in enumerate(place.before):
        again = done & set(reads(place.log, run))
        assert not again, f"run {run} computed finished blocks again: {again}"
        assert run == 0 or done >= place.before[run - 1]
    report = json.loads(place.log.with_suffix(".report").read_text())
    assert report["blocks_reused"] == len(place.before[-1])
    assert report["blocks_done"] == BLOCKS - report["blocks_reused"]


@pytest.mark.slow
def test_killed_at_random_the_cube_is_the_same(tmp_path: Path) -> None:
    peace = tmp_path / "peace"
    build_blocks(plan_at(peace, tmp_path / "peace.log"), cluster="inline")
    war, runs, read = War(random.Random(11)), [], 0
    while war.killed.total() < KILLS:
        path = tmp_path / f"war-{len(runs)}"
        place = Battlefield(path, path.with_suffix(".log"))
        with ExitStack() as stack:
            stack.callback(place.stop)
            war.fight(place, early=EARLY if not runs else 0)
        assert current_generation(path) == "g0001"
        assert stored(path) == stored(peace)
        assert_nothing_twice(place)
        runs.append(len(place.before))
        read += len(reads(place.log))
    print(
        f"killed {dict(war.killed)}: {war.before_any} before any block counted, "
        f"{war.with_some} later; {runs} runs a build, {read} reads of {BLOCKS} blocks each"
    )
    assert war.before_any >= EARLY
    assert war.with_some >= KILLS // 2
    assert min(war.killed[name] for name in ("worker", "scheduler", "client")) >= KILLS // 4
