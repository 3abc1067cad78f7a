"""The other processes of a training: started, watched, and ended with this one.

Each is a Python of its own that is given the same training on its standard input, trains its share
and writes nothing. It ends as soon as that input is closed, so that none outlives a killed run.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import torch

from ..errors import ClusterError, GeolocError, one_line
from .engine import Precision
from .machine import FabricEngine, Machine

READY = "ready"
"""The line by which a process says that it is about to join the others."""
_GRACE = 20.0  # s in which a process notices by itself that another has failed


@contextmanager
def joined(machine: Machine, precision: Precision, training: str) -> Iterator[FabricEngine]:
    """The engine of process 0; the others are given ``training`` (JSON), see `worker`.

    Raises ClusterError with the reason where one of them fails.
    """
    world = machine.processes()
    if world == 1:
        yield FabricEngine(machine, precision)
        return
    threads = torch.get_num_threads()
    with _others(machine, world, training) as others:
        try:
            share_threads(machine, world)
            engine = FabricEngine(machine, precision, world=world, port=others.port)
            try:
                yield engine
            finally:
                engine.close()
        except GeolocError:
            raise
        except Exception as error:
            others.raise_failure()
            raise ClusterError(f"the processes lost each other ({one_line(error)})") from error
        finally:
            torch.set_num_threads(threads)


def share_threads(machine: Machine, world: int) -> None:
    """Processes on the CPU share its cores."""
    if machine.kind() == "cpu":
        torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // world))


class _Others:
    """The running processes 1, 2, …, and the port where all meet."""

    def __init__(self, machine: Machine, world: int, training: str) -> None:
        self.port = _free_port()
        self.over = threading.Event()
        self.failures: dict[int, str] = {}
        self.ready = threading.Semaphore(0)
        self.running = [self._start(machine, world, rank, training) for rank in range(1, world)]

    def _start(self, machine: Machine, world: int, rank: int, training: str) -> Any:
        root = str(Path(__file__).parents[2])
        paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
        process = subprocess.Popen(
            [sys.executable, "-m", "geoloc.training.worker"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        )  # fmt: skip
        given = {"rank": rank, "world": world, "port": self.port, "training": training,
                 "machine": machine.model_dump(mode="json")}  # fmt: skip
        assert process.stdin is not None and process.stdout is not None
        with suppress(BrokenPipeError):
            process.stdin.write(json.dumps(given) + "\n")
            process.stdin.flush()
        threading.Thread(target=self._listen, args=(rank, process), daemon=True).start()
        return process

    def _listen(self, rank: int, process: Any) -> None:
        """Take what a process says; one that failed is not waited for by the others for long."""
        last = _hear(process.stdout, self.ready)
        code = process.wait()
        if code == 0 or self.over.is_set():
            return
        self.failures[rank] = last or f"ended with {code}"
        self.ready.release()
        if not self.over.wait(_GRACE):
            print(f"error: {self.reason()}", file=sys.stderr, flush=True)
            os._exit(1)

    def wait(self) -> None:
        """Until all are ready. Raises ClusterError for one that failed before."""
        for _ in self.running:
            self.ready.acquire()
            self.raise_failure()

    def reason(self) -> str:
        """Of the first failure, one line."""
        rank, last = next(iter(self.failures.items()))
        return f"process {rank} of {len(self.running) + 1} of the training failed: {last}"

    def raise_failure(self) -> None:
        """Raise ClusterError if a process has failed."""
        for process in self.running:
            with suppress(subprocess.TimeoutExpired):
                process.wait(0.2)
        if self.failures:
            raise ClusterError(self.reason())

    def end(self) -> None:
        """Close their input, on which they end."""
        self.over.set()
        for process in self.running:
            with suppress(OSError):
                process.stdin.close()
        for process in self.running:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()


def _hear(lines: IO[str], ready: threading.Semaphore) -> str:
    """The last line that is said, besides that of being ready."""
    last = ""
    with suppress(ValueError):
        for line in lines:
            if line.strip() == READY:
                ready.release()
            else:
                last = line.strip() or last
    return last


@contextmanager
def _others(machine: Machine, world: int, training: str) -> Iterator[_Others]:
    others = _Others(machine, world, training)
    try:
        others.wait()
        yield others
    finally:
        others.end()


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
    return port
