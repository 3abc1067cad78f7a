"""A network between machines: each in a network namespace of its own, joined by a bridge."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

from geoloc.area import load_area
from geoloc.cube import Ledger, Status, generation_exists
from geoloc.errors import CubeError
from geoloc.jobs.build import build_cube

from .small_place import SmallPlace, write_place

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
PORT = 8786
NODES = ("scheduler", "worker-1", "worker-2", "client")
BLOCKS = 5  # in one row, each 4 cells high; one more than two workers have in hand
PATIENCE = 240.0  # s for whatever is waited for, on a busy machine
LOST_AFTER = "12s"
"""Dask gives a peer up that has not answered for so long; 30 s if nothing is said."""


def ip(*words: str) -> str:
    """What the command printed."""
    return subprocess.run(["ip", *words], check=True, capture_output=True, text=True).stdout


def await_(what: Callable[[], bool], told: str) -> None:
    end = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < end, f"in vain waited for: {told}"
        time.sleep(0.05)


@dataclass
class Machines:
    """Four of them. ``prefix``: of the namespaces' names, or empty for loopback addresses."""

    prefix: str = ""
    running: list[subprocess.Popen[str]] = field(default_factory=list)

    def address(self, node: str) -> str:
        number = NODES.index(node) + 1
        return f"10.77.0.{number}" if self.prefix else f"127.0.0.{number}"

    def start(self, node: str, folder: Path, *words: str) -> subprocess.Popen[str]:
        """A Python program on a machine; what it says goes to ``folder/<node>.log``."""
        there = ["ip", "netns", "exec", f"{self.prefix}-{node}"] if self.prefix else []
        wait = {"DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": LOST_AFTER, "OMP_NUM_THREADS": "1"}
        with (folder / f"{node}.log").open("w") as log:
            process = subprocess.Popen(
                [*there, sys.executable, *words], cwd=ROOT, env={**os.environ, **wait},
                stdout=subprocess.PIPE, stderr=log, text=True,
            )  # fmt: skip
        self.running.append(process)
        return process

    def port(self, node: str) -> dict[str, Any]:
        """The state of the bridge's port to a machine."""
        hub = f"{self.prefix}-hub"
        facts: dict[str, Any] = json.loads(ip("-n", hub, "-s", "-j", "link", "show", node))[0]
        return facts

    def sent(self, node: str) -> int:
        """Bytes that have come from a machine."""
        return int(self.port(node)["stats64"]["rx"]["bytes"])

    def unplug(self, node: str) -> None:
        ip("-n", f"{self.prefix}-hub", "link", "set", node, "down")
        assert "UP" not in self.port(node)["flags"]

    def stop(self) -> None:
        for process in self.running:
            process.kill()
            process.communicate()


@contextmanager
def namespaces() -> Iterator[str]:
    """A namespace a machine, and one with a bridge that joins them; gone at the end."""
    prefix = f"geoloc-{uuid.uuid4().hex[:8]}"
    with ExitStack() as stack:
        for name in ("hub", *NODES):
            ip("netns", "add", f"{prefix}-{name}")
            stack.callback(ip, "netns", "delete", f"{prefix}-{name}")
        hub = f"{prefix}-hub"
        ip("-n", hub, "link", "add", "bridge", "type", "bridge")
        ip("-n", hub, "link", "set", "bridge", "up")
        for number, node in enumerate(NODES, 1):
            there = f"{prefix}-{node}"
            ip("-n", hub, "link", "add", node, "type", "veth", "peer", "name", "eth0",
               "netns", there)  # fmt: skip
            ip("-n", hub, "link", "set", node, "master", "bridge", "up")
            ip("-n", there, "address", "add", f"10.77.0.{number}/24", "dev", "eth0")
            for device in ("lo", "eth0"):
                ip("-n", there, "link", "set", device, "up")
        yield prefix


@pytest.fixture
def machines() -> Iterator[Machines]:
    """In namespaces; where they are refused, processes on loopback addresses of their own."""
    with ExitStack() as stack:
        try:
            prefix = stack.enter_context(namespaces())
        except (OSError, subprocess.CalledProcessError):
            prefix = ""
        there = Machines(prefix)
        stack.callback(there.stop)  # before the namespaces go
        yield there


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> SmallPlace:
    """Some blocks, built in this process."""
    made = write_place(tmp_path_factory.mktemp("place") / "here", ny=4, nx=128 * BLOCKS, step=16)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # on a busy machine several wait for each other
    try:
        build_cube(load_area(made.area), cluster="inline").raise_if_incomplete()
    finally:
        torch.set_num_threads(threads)
    return made


@dataclass
class Build:
    """``geoloc cube build AREA --cluster tcp://…`` from the client's machine."""

    cube: Path
    process: subprocess.Popen[str]
    log: Path

    @property
    def done(self) -> int:
        """Blocks in the ledger."""
        try:
            if not generation_exists(self.cube, "g0001"):
                return 0
            return int((Ledger(self.cube, "g0001").status == Status.DONE).sum())
        except CubeError:  # half laid out
            return 0

    def report(self) -> dict[str, Any]:
        """What it says at its end; it must end well."""
        told, _ = self.process.communicate(timeout=PATIENCE)
        assert self.process.returncode == 0, self.log.read_text()
        facts: dict[str, Any] = json.loads(told)
        return facts


def cluster(machines: Machines, folder: Path) -> str:
    """A scheduler and two workers, held by a gate; the scheduler's address."""
    host = machines.address("scheduler")
    address = f"tcp://{host}:{PORT}"
    dask = ("-m", "dask")
    about = folder / "scheduler.json"
    machines.start(
        "scheduler", folder, *dask, "scheduler", "--host", host, "--port", str(PORT),
        "--no-dashboard", "--scheduler-file", str(about),
    )  # fmt: skip
    for node in ("worker-1", "worker-2"):
        machines.start(
            node, folder, *dask, "worker", address, "--host", machines.address(node),
            "--nthreads", "1", "--no-nanny", "--no-dashboard", "--local-directory",
            str(folder / node), "--preload", "tests.held_worker",
        )  # fmt: skip
    log = folder / "scheduler.log"
    await_(lambda: log.read_text().count("Register worker addr") == 2, "both workers")
    return address


def begin(machines: Machines, place: SmallPlace, folder: Path, address: str) -> Build:
    """A build on a cluster; ``folder``: of its cube."""
    folder.mkdir()
    area = place.folder / f"{folder.name}.yaml"
    area.write_text(place.area.read_text().replace("cube.zarr", str(folder / "cube.zarr")))
    build = machines.start(
        "client", folder, "-m", "geoloc", "cube", "build", str(area), "--cluster", address, "--json"
    )
    return Build(folder / "cube.zarr", build, folder / "client.log")


def stored(cube: Path) -> dict[str, bytes]:
    files = {str(p.relative_to(cube)): p for p in cube.rglob("*") if p.is_file()}
    return {name: p.read_bytes() for name, p in files.items() if name != "g0001/zarr.json"}


def test_machines_on_a_network_build_the_same_cube_also_when_a_link_goes_down(
    machines: Machines, place: SmallPlace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    monkeypatch.setenv("GEOLOC_TEST_GATE", str(gate))
    address = cluster(machines, tmp_path)
    build = begin(machines, place, tmp_path / "all", address)
    report = build.report()
    assert report["blocks_done"] == BLOCKS
    assert f"{address}, 2 workers" in report["cluster"]
    assert stored(build.cube) == stored(place.cube)
    if not machines.prefix:
        pytest.skip("a link of one's own takes root, iproute2 and network namespaces")
    # nothing but the bridge lies between them
    assert min(machines.sent(node) for node in NODES) > 10_000

    gate.unlink()
    build = begin(machines, place, tmp_path / "cut", address)
    await_(lambda: build.done > 0, "the first blocks")
    machines.unplug("worker-2")
    sent = machines.sent("worker-2")
    assert build.done <= 2 < BLOCKS  # the others are held
    gate.touch()
    report = build.report()
    assert (report["blocks_done"], report["blocks_failed"]) == (BLOCKS, 0)
    assert stored(build.cube) == stored(place.cube)
    assert machines.sent("worker-2") == sent
    assert "Remove worker" in (tmp_path / "scheduler.log").read_text()
