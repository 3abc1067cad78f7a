"""Executors: equal results wherever they run, streams that are bounded, plain errors."""

from __future__ import annotations

import asyncio
import gc
import inspect
import itertools
import os
import pickle
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from distributed.comm.core import CommClosedError

from geoloc.errors import ClusterError, ImageryError, UsageError
from geoloc.executors import (
    InlineExecutor,
    Lazy,
    choose,
    one_line,
    open_cluster,
    still_wanted,
)
from geoloc.executors.cuda import cuda_arguments
from geoloc.executors.local import local_arguments
from geoloc.executors.workers import DaskExecutor, _quiet


@dataclass
class Squares:
    """Squares numbers in two steps; refuses multiples of ``bad``."""

    bad: int = 10**9

    def read(self, item: int) -> tuple[int, int]:
        if item % self.bad == 0:
            raise ImageryError(f"no imagery under {item}\nand a second line")
        return item, os.getpid()

    def finish(self, item: int, data: tuple[int, int]) -> tuple[int, int, int]:
        if item % self.bad == 1:
            raise ZeroDivisionError
        return data[0] ** 2, data[1], os.getpid()


@dataclass
class Watched:
    """Records who ran when."""

    log: list[str] = field(default_factory=list)

    def read(self, item: int) -> int:
        time.sleep(0.05)
        self.log.append(f"read {item}")
        return threading.get_ident()

    def finish(self, item: int, data: int) -> bool:
        time.sleep(0.1)
        self.log.append(f"finished {item}")
        return data == threading.get_ident()


def test_inline_keeps_the_order_and_goes_on_after_failures() -> None:
    outcomes = list(InlineExecutor().stream(Squares(bad=4), range(2, 7)))
    assert [o.item for o in outcomes] == [2, 3, 4, 5, 6]
    assert [o.result and o.result[0] for o in outcomes] == [4, 9, None, None, 36]
    assert outcomes[2].error == "no imagery under 4"
    assert outcomes[3].error == "ZeroDivisionError"


def test_inline_reads_ahead_in_other_threads() -> None:
    work = Watched()
    outcomes = list(InlineExecutor(read_ahead=2).stream(work, range(4)))
    assert [o.result for o in outcomes] == [False] * 4
    assert work.log.index("read 1") < work.log.index("finished 0")


def test_inline_takes_items_only_as_room_comes_free() -> None:
    taken: list[int] = []

    def endless() -> Iterator[int]:
        while True:
            taken.append(len(taken))
            yield taken[-1]

    with closing(InlineExecutor(read_ahead=3).stream(Squares(), endless())) as outcomes:
        assert next(outcomes).item == 0
        assert next(outcomes).item == 1
        assert len(taken) <= 4


@dataclass
class Waiting:
    """Reads as long as that is wanted, or for a minute."""

    started: threading.Event = field(default_factory=threading.Event)
    given_up: list[int] = field(default_factory=list)

    def read(self, item: int) -> int:
        if item:
            self.started.set()
        for _ in range(item * 600):
            if not still_wanted():
                self.given_up.append(item)
                break
            time.sleep(0.1)
        return item

    def finish(self, _item: int, data: int) -> int:
        assert self.started.wait(60)
        return data


def test_what_is_read_ahead_is_given_up_when_the_work_ends() -> None:
    work = Waiting()
    outcomes = InlineExecutor(read_ahead=2).stream(work, [0, 1, 1])
    with closing(outcomes):
        assert next(outcomes).result == 0
    assert work.given_up in ([1], [1, 1]) and still_wanted()


def test_a_running_scheduler_gives_the_same(
    scheduler: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "geoloc"), open_cluster(scheduler) as executor:
        assert scheduler in executor.description
        # before any work, so that it can be watched
        assert f"{scheduler}, 1 worker, http://" in caplog.text
        outcomes = sorted(executor.stream(Squares(bad=4), range(2, 30)), key=lambda o: o.item)
    inline = list(InlineExecutor().stream(Squares(bad=4), range(2, 30)))
    assert [(o.item, o.error) for o in outcomes] == [(o.item, o.error) for o in inline]
    assert [o.result and o.result[0] for o in outcomes] == [
        o.result and o.result[0] for o in inline
    ]


def test_a_cluster_is_given_a_bounded_number_of_items(scheduler: str) -> None:
    taken = 0

    def endless() -> Iterator[int]:
        nonlocal taken
        while True:
            taken += 1
            yield taken

    with open_cluster(scheduler) as executor:
        with closing(executor.stream(Squares(), endless())) as outcomes:
            for _ in range(10):
                next(outcomes)
        assert taken <= 10 + 2 * 2
        again = list(executor.stream(Squares(), range(3)))  # the stream left nothing behind
        assert sorted(o.item for o in again) == [0, 1, 2]


def test_workers_that_know_nothing_of_the_work_are_told_again(scheduler: str) -> None:
    """As those of a scheduler that was started anew behind the client's back."""
    with open_cluster(scheduler) as executor:
        assert isinstance(executor, DaskExecutor)
        with closing(executor.stream(Squares(), range(2, 42))) as outcomes:
            found = [next(outcomes)]
            executor.client.run(_forget)
            found.extend(outcomes)
    assert sorted((o.item, o.result and o.result[0]) for o in found) == [
        (n, n * n) for n in range(2, 42)
    ]


def _forget() -> None:
    from geoloc.executors import workers

    workers._SHARED.clear()


def test_what_is_opened_once_is_opened_again_in_another_process() -> None:
    opened = []

    def opening() -> int:
        time.sleep(0.05)
        opened.append(0)
        return len(opened)

    once = Lazy(opening)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda _: once(), range(8))) == [1] * 8
    numbers = Lazy(partial(itertools.count, 7))
    assert next(numbers()) == 7
    sent: Lazy[Any] = pickle.loads(pickle.dumps(numbers))  # noqa: S301 our own
    assert (next(sent()), next(numbers())) == (7, 8)


@dataclass
class Timed:
    """Notes when each step of an item began and ended, in seconds."""

    def read(self, item: int) -> tuple[float, float]:  # noqa: ARG002 Task's signature
        began = time.monotonic()
        time.sleep(0.1)
        return began, time.monotonic()

    def finish(  # Task's signature
        self,
        item: int,  # noqa: ARG002
        data: tuple[float, float],
    ) -> tuple[float, float, float, float]:
        began = time.monotonic()
        time.sleep(0.1)
        return *data, began, time.monotonic()


def test_a_worker_of_one_thread_reads_while_it_finishes() -> None:
    """As a GPU's worker is: its thread alone decodes the next block while the card is busy."""
    from distributed import LocalCluster

    with (
        LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0") as cluster,
        open_cluster(cluster.scheduler_address) as executor,
    ):
        times = sorted(o.result for o in executor.stream(Timed(), range(8)) if o.result)
    assert len(times) == 8
    reads, finishes = [t[:2] for t in times], sorted(t[2:] for t in times)
    assert all(a[1] <= b[0] for a, b in pairwise(finishes))  # one at a time on the device
    beside = [any(f[0] < r[1] and r[0] < f[1] for f in finishes) for r in reads]
    assert sum(beside) >= 4  # all but the first ones, on a machine that is not busy


def test_local_workers_are_other_processes() -> None:
    with open_cluster("local") as executor:
        outcomes = list(executor.stream(Squares(), range(2, 8)))
    assert sorted(o.result[0] for o in outcomes if o.result) == [4, 9, 16, 25, 36, 49]
    assert os.getpid() not in {pid for o in outcomes if o.result for pid in o.result[1:]}


@dataclass
class Deadly(Squares):
    """The first process that is given this work dies of it."""

    flag: str = ""

    def __reduce__(self) -> Any:
        return _arrive, (self.flag,)


def _arrive(flag: str) -> Squares:
    try:
        Path(flag).touch(exist_ok=False)
    except FileExistsError:
        return Squares()
    os._exit(9)


def test_a_worker_that_is_lost_while_it_is_given_the_work_is_done_without(tmp_path: Path) -> None:
    flag = tmp_path / "dead"
    with open_cluster("local") as executor:
        outcomes = list(executor.stream(Deadly(flag=str(flag)), range(2, 8)))
    assert sorted(o.result[0] for o in outcomes if o.result) == [4, 9, 16, 25, 36, 49]
    assert flag.exists()


def test_nonsense_and_unreachable_clusters_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="say auto, inline, local"), open_cluster("many"):
        pass
    monkeypatch.setattr("geoloc.executors.workers._CONNECT_SECONDS", 0.5)
    with (
        pytest.raises(ClusterError, match="cannot be reached") as caught,
        open_cluster("tcp://127.0.0.1:1"),
    ):
        pass
    assert "\n" not in str(caught.value)


def test_cuda_without_a_gpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("geoloc.executors.cuda.gpu_count", lambda: 0)
    with pytest.raises(ClusterError, match="no CUDA device"), open_cluster("cuda"):
        pass


def test_cuda_arguments_are_those_of_the_real_class() -> None:
    dask_cuda = pytest.importorskip("dask_cuda")
    parameters = inspect.signature(dask_cuda.LocalCUDACluster.__init__).parameters
    assert cuda_arguments()["threads_per_worker"] == 1
    assert "threads_per_worker" in parameters
    assert any(p.kind is p.VAR_KEYWORD for p in parameters.values())  # for the rest


@pytest.mark.parametrize(
    ("gpus", "cores", "blocks", "kind"),
    [
        (1, 2, 4, "cuda"),
        (0, 2, 10_000, "inline"),
        (0, 32, 4, "inline"),
        (0, 32, 10_000, "local"),
        (0, 32, None, "local"),
    ],
)
def test_auto(gpus: int, cores: int, blocks: int | None, kind: str) -> None:
    assert choose(gpus, cores, blocks) == kind


@pytest.mark.parametrize("cores", [1, 2, 3, 4, 8, 12, 64])
def test_local_workers_use_each_core_about_once(cores: int) -> None:
    arguments = local_arguments(cores)
    used = arguments["n_workers"] * int(arguments["env"]["OMP_NUM_THREADS"])
    assert cores / 2 < used <= cores


def test_errors_are_one_line() -> None:
    assert one_line(ImageryError("a\nb")) == "a"
    assert one_line(OSError(28, "No space left on device")).startswith("OSError: [Errno 28]")
    assert one_line(ValueError()) == "ValueError"


def _given_up(error: Exception) -> None:
    """A future that failed and that nobody asked: asyncio tells of it once it is gone."""
    loop = asyncio.new_event_loop()
    loop.create_future().set_exception(error)
    gc.collect()
    loop.close()


def test_futures_that_went_with_their_connection_are_not_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with _quiet():
        _given_up(CommClosedError("closed while a build was cancelled"))
        assert caplog.records == []
        _given_up(ZeroDivisionError("told"))
    _given_up(CommClosedError("not of a build"))
    kinds = [record.exc_info[0] for record in caplog.records if record.exc_info]
    assert kinds == [ZeroDivisionError, CommClosedError]
