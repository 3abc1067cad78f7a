"""A new executor is a file and a line: one that is registered here builds and queries."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from geoloc.cube import Cube
from geoloc.errors import UsageError
from geoloc.executors import Executor, Outcome, Task, check_kind, kinds, one_line, open_cluster
from geoloc.executors.registry import EXECUTORS
from geoloc.jobs.build import build_blocks
from geoloc.search import Query

from .array_cube import heatmaps
from .cubes import CoarseEncoder, grid_of, mosaic, plan_of

GRID = grid_of(300, 420)


class Backwards:
    """All items at once, the last one first."""

    description, workers = "backwards", 1
    opened, closed = 0, 0

    def stream(
        self, work: Task[Any, Any, Any], items: Iterable[Any]
    ) -> Generator[Outcome[Any, Any], None, None]:
        for item in reversed(list(items)):
            try:
                yield Outcome(item, work.finish(item, work.read(item)))
            except Exception as error:  # noqa: BLE001 one item's failure does not stop the others
                yield Outcome(item, None, one_line(error))


@contextmanager
def open_backwards(kind: str) -> Iterator[Executor]:
    assert kind == "backwards"
    Backwards.opened += 1
    yield Backwards()
    Backwards.closed += 1


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("backwards_executor")
    module.open_backwards = open_backwards  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "backwards_executor", module)
    monkeypatch.setitem(EXECUTORS, "backwards", "backwards_executor:open_backwards")


@pytest.mark.usefixtures("registered")
def test_a_registered_executor_builds_and_queries(tmp_path: Path) -> None:
    plan = plan_of(tmp_path / "a", GRID, mosaic(GRID, gsd=10), open_encoder=CoarseEncoder)
    build_blocks(plan_of(tmp_path / "b", GRID, plan.source, open_encoder=CoarseEncoder))
    report = build_blocks(plan, cluster="backwards")
    assert (report.cluster, report.blocks_done) == ("backwards", 12)
    mine, theirs = Cube.open(plan.url), Cube.open(tmp_path / "b")
    everything = slice(None), slice(None)
    np.testing.assert_array_equal(mine.read(*everything), theirs.read(*everything))
    query = Query(np.array([[10, 200, 30, 4, 50]], np.float32))
    with open_cluster("backwards") as executor:
        there = heatmaps(mine, query, executor=executor)
    np.testing.assert_array_equal(there, heatmaps(mine, query))
    assert Backwards.opened == Backwards.closed == 2


@pytest.mark.usefixtures("registered")
def test_its_word_is_known_and_offered() -> None:
    assert check_kind("backwards") == "backwards" and "backwards" in kinds()
    with pytest.raises(UsageError, match="say auto, inline, local, cuda, backwards or the address"):
        check_kind("forwards")


def test_others_words_are_not() -> None:
    with pytest.raises(UsageError, match="--cluster backwards: say auto, inline, local, cuda or"):
        check_kind("backwards")
