"""The real commands, each in a process of its own that is killed at a chosen moment.

Most are children of a server that has imported everything beforehand, so that a kill takes a
second; some are ``python -m geoloc``, as users start it. An audit hook of the child, which leaves
the code as it is, counts what it does to files below the folder of the place: that is the order
in which bytes are written, and what shots are aimed at.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psutil

PRELOADED = (
    "torch", "torchvision", "rasterio", "rasterio.warp", "zarr", "obstore", "obstore.store",
    "numba", "pyarrow.parquet", "PIL.Image", "av", "pyproj", "shapely", "dask.array", "xarray",
    "distributed", "safetensors.torch", "yaml", "pandas", "geoloc.cli", "geoloc.query",
    "geoloc.query.repeat", "geoloc.bulk", "geoloc.jobs.build", "geoloc.jobs.refresh",
    "geoloc.jobs.cache",
    "geoloc.training.train", "geoloc.models.fetch", "geoloc.encoders.overhead",
    "geoloc.encoders.ground", "geoloc.imagery.geotiff", "tests.benchmarks.killing",
)  # fmt: skip
_CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.truncate"}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
KILLED = {-signal.SIGKILL, -signal.SIGALRM, -signal.SIGTERM}


@dataclass(frozen=True)
class Shot:
    """``before``: just before change number ``at``; ``after``: ``delay`` s after it began;
    ``time``: ``delay`` s after the start, at ``victim``."""

    how: Literal["never", "before", "after", "time"] = "never"
    at: int = 0
    delay: float = 0.0
    signal: int = signal.SIGKILL
    victim: Literal["group", "parent", "worker"] = "group"
    whole: bool = False
    """A process of its own from the start: ``python -m geoloc``."""


@dataclass(frozen=True)
class Run:
    """``code``: exit code, or the signal that ended it, negative; ``changes`` that it began."""

    code: int
    changes: tuple[str, ...]
    out: str
    err: str
    seconds: float
    shot: Shot

    @property
    def killed(self) -> bool:
        """Whether it was hit: by what cannot be caught, or by SIGTERM, which it may end on."""
        hit = self.shot.signal == signal.SIGTERM and self.shot.how != "never" and self.code != 0
        return self.code in KILLED or hit


class Runner:
    """``folder``: of the place and all that commands write; ``logs`` beside it."""

    def __init__(self, folder: Path, logs: Path) -> None:
        self.folder, self.logs = folder, logs
        logs.mkdir(parents=True, exist_ok=True)
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(list(PRELOADED))

    def run(self, args: Sequence[str], shot: Shot | None = None) -> Run:
        """One command, to its end or its death; its children are dead as well afterwards."""
        shot, start = shot or Shot(), time.monotonic()
        for name in ("out", "err", "changes"):
            (self.logs / name).write_bytes(b"")
        code = (self._exec if shot.whole else self._fork)(list(args), shot)
        changes = (self.logs / "changes").read_text(errors="replace").splitlines()
        out, err = ((self.logs / name).read_text(errors="replace") for name in ("out", "err"))
        return Run(code, tuple(changes), out, err, time.monotonic() - start, shot)

    def _fork(self, args: list[str], shot: Shot) -> int:
        process = self._context.Process(
            target=_command, args=(args, str(self.logs), str(self.folder), shot)
        )
        process.start()
        assert process.pid is not None
        self._shoot(process.pid, shot, lambda seconds: process.join(seconds))
        process.join()
        _end_group(process.pid)
        assert process.exitcode is not None
        return process.exitcode

    def _exec(self, args: list[str], shot: Shot) -> int:
        with (self.logs / "out").open("wb") as out, (self.logs / "err").open("wb") as err:
            process = subprocess.Popen(
                [sys.executable, "-m", "geoloc", *args], stdout=out, stderr=err,
                stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip

        def wait(seconds: float) -> None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(seconds)

        self._shoot(process.pid, shot, wait)
        process.wait()
        _end_group(process.pid)
        return process.returncode

    def _shoot(self, pid: int, shot: Shot, wait: Any) -> None:
        if shot.how != "time":
            return
        wait(shot.delay)
        try:
            if shot.victim == "worker":
                below = psutil.Process(pid).children(recursive=True)
                os.kill(random.choice(below).pid if below else pid, shot.signal)
            elif shot.victim == "parent":
                os.kill(pid, shot.signal)
            else:
                os.killpg(pid, shot.signal)
        except (ProcessLookupError, psutil.NoSuchProcess):
            pass  # it ended by itself


def _end_group(pid: int) -> None:
    """Workers of a parent that was killed end by themselves; here they get no time for it."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _command(args: list[str], logs: str, root: str, shot: Shot) -> None:
    os.setsid()
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(f"{logs}/{name}", os.O_WRONLY | os.O_TRUNC), number)
    _count_changes(os.open(f"{logs}/changes", os.O_WRONLY | os.O_APPEND), root, shot)
    from geoloc.cli import main

    sys.argv = ["geoloc", *args]
    main()


def _count_changes(log: int, root: str, shot: Shot) -> None:
    """Note each change of files below ``root`` as it begins, and shoot at the one aimed at."""
    seen = 0

    def hook(event: str, told: tuple[Any, ...]) -> None:
        nonlocal seen
        if event not in _CHANGES and not (event == "open" and _writes(told)):
            return
        path = str(told[1 if event in ("os.rename", "os.link") else 0])
        if path.startswith("/") and not path.startswith(root):
            return
        seen += 1
        os.write(log, f"{event.removeprefix('os.')} {path.removeprefix(root)}\n".encode())
        if seen == shot.at and shot.how == "before":
            os.kill(os.getpid(), shot.signal)
        elif seen == shot.at and shot.how == "after":
            # the default action of this signal is the end, as sudden as by SIGKILL
            signal.setitimer(signal.ITIMER_REAL, max(shot.delay, 1e-6))

    sys.addaudithook(hook)


def _writes(told: tuple[Any, ...]) -> bool:
    path, _, flags = told
    return isinstance(path, str | bytes | os.PathLike) and bool(flags & _WRITES)
