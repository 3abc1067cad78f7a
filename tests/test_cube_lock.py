"""The lock of a cube: one writer, owners that are gone, clocks that differ, disk and S3 alike."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from geoloc.cube import create_root, hold_lock, lock
from geoloc.cube.lock import LOCK, Owner
from geoloc.cube.store import list_folder, open_store, read_text, write_text
from geoloc.errors import CubeError, UnavailableError

from . import cubes

ROOT = Path(__file__).parent.parent

s3_bucket = cubes.s3_bucket  # the fixture


@pytest.fixture(params=["disk", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty cube."""
    place = str(tmp_path / "cube.zarr")
    if request.param == "s3":
        # a name of its own: moto's buckets outlive its servers
        place = f"{request.getfixturevalue('s3_bucket')}/{tmp_path.name}/cube.zarr"
    create_root(place)
    return place


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "BEAT", 0.1)


def leave_behind(url: str, **changes: object) -> Owner:
    """A lock whose owner does not renew it."""
    owner = replace(Owner.this_process("cube build"), **changes)  # type: ignore[arg-type]
    write_text(open_store(url, read_only=False), LOCK, owner.to_text())
    return owner


def held(url: str) -> Owner | None:
    text = read_text(open_store(url), LOCK)
    return None if text is None else Owner.parse(text)


def test_one_at_a_time(url: str) -> None:
    with hold_lock(url, "cube build") as mine:
        mine.check()
        with pytest.raises(CubeError, match=r"written by process \d+ of .* \(cube build\)") as told:
            hold_lock(url, "cube refresh").__enter__()
        assert "\n" not in str(told.value)
    assert held(url) is None
    with hold_lock(url, "cube refresh"):
        pass


def test_of_many_at_once_one_gets_it(url: str) -> None:
    got, refused = [], []
    barrier, over = threading.Barrier(6), threading.Event()

    def try_it() -> None:
        barrier.wait()
        try:
            with hold_lock(url, "cube build"):
                got.append(1)
                over.wait(20)
        except CubeError:
            refused.append(1)
            if len(refused) == 5:
                over.set()

    threads = [threading.Thread(target=try_it) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(got), len(refused)) == (1, 5)


HOLD = """
import sys, time
from geoloc.cube import hold_lock
with hold_lock(sys.argv[1], "cube build"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_killed_owner_on_this_machine_is_known_at_once(tmp_path: Path) -> None:
    create_root(tmp_path)
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(CubeError, match=f"process {process.pid} of"):
            hold_lock(tmp_path, "cube build").__enter__()
        process.kill()
    start = time.monotonic()
    with hold_lock(tmp_path, "cube build"):
        assert time.monotonic() - start < 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["zarr.json"]


DIE_WHILE_BREAKING = """
import os, sys
from geoloc.cube import hold_lock, lock
lock.sync = lambda deletion: os._exit(9)
hold_lock(sys.argv[1], "cube build").__enter__()
"""


def test_a_lock_is_free_though_those_who_broke_it_were_killed(url: str) -> None:
    leave_behind(url, started=12345.0)
    for _ in range(2):
        command = [sys.executable, "-c", DIE_WHILE_BREAKING, url]
        assert subprocess.run(command, cwd=ROOT, check=False).returncode == 9
    with hold_lock(url, "cube build") as mine:
        mine.check()
    assert list_folder(open_store(url)) == ["zarr.json"]


def test_another_process_with_the_same_number_is_not_the_owner(url: str) -> None:
    leave_behind(url, started=12345.0)  # the pid was given out again
    with hold_lock(url, "cube build"):
        pass


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("skew", [-3600.0, 3600.0])
def test_an_owner_elsewhere_that_is_gone_is_waited_for_and_replaced(url: str, skew: float) -> None:
    now = time.time() + skew  # its clock is an hour off, whichever way
    leave_behind(url, machine="elsewhere", since=now, renewed=now)
    with hold_lock(url, "cube build") as mine:
        mine.check()


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("skew", [-3600.0, 0.0, 3600.0])
def test_an_owner_elsewhere_that_lives_is_respected_whatever_its_clock(
    url: str, skew: float
) -> None:
    other = leave_behind(url, machine="elsewhere", renewed=time.time() + skew)
    over = threading.Event()

    def live() -> None:
        store = open_store(url, read_only=False)
        while not over.wait(0.05):
            alive = replace(other, renewed=time.time() + skew)
            write_text(store, LOCK, alive.to_text())

    thread = threading.Thread(target=live)
    thread.start()
    try:
        with pytest.raises(UnavailableError, match="being written by"):
            hold_lock(url, "cube build").__enter__()
    finally:
        over.set()
        thread.join()


def test_a_fresh_lock_from_elsewhere_is_believed(url: str) -> None:
    leave_behind(url, machine="elsewhere", host="node7", user="ann")
    start = time.monotonic()
    with pytest.raises(CubeError, match="of ann on node7"):
        hold_lock(url, "cube build").__enter__()
    assert time.monotonic() - start < 2


@pytest.mark.usefixtures("quick")
def test_a_damaged_lock_is_replaced(url: str) -> None:
    write_text(open_store(url, read_only=False), LOCK, "{not json")
    with hold_lock(url, "cube build"):
        assert held(url) is not None


@pytest.mark.usefixtures("quick")
def test_a_lock_that_was_taken_over_is_noticed(url: str) -> None:
    """As after the owner's machine slept for an hour."""
    with hold_lock(url, "cube build") as mine:
        thief = leave_behind(url, host="node7")
        for _ in range(100):
            time.sleep(0.05)
            try:
                mine.check()
            except CubeError as error:
                assert "taken over by" in str(error)
                break
        else:
            pytest.fail("not noticed")
    assert held(url) == thief  # and it is not ours to remove


@pytest.mark.usefixtures("quick")
def test_signs_of_life(url: str) -> None:
    with hold_lock(url, "cube build"):
        first = held(url)
        time.sleep(0.5)
        later = held(url)
        assert first is not None
        assert later is not None
        assert later.renewed > first.renewed
        assert later.token == first.token


def test_an_owner_that_is_dead_and_unburied_holds_nothing(url: str) -> None:
    """A zombie: nobody asks for it where a container has no init."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        started = psutil.Process(child.pid).create_time()
        leave_behind(url, pid=child.pid, started=started)
        with pytest.raises(UnavailableError):
            hold_lock(url, "cube build").__enter__()
        child.kill()
        while psutil.Process(child.pid).status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)
        with hold_lock(url, "cube build") as mine:
            mine.check()
    finally:
        child.kill()
        child.wait()


def test_a_claim_to_break_a_lock_does_not_outlive_who_was_killed(url: str) -> None:
    store = open_store(url, read_only=False)
    dead = replace(Owner.this_process("cube build"), started=1.0)
    theirs = replace(Owner.this_process("cube build"), machine="elsewhere")
    write_text(store, f"{LOCK}.broken-1", dead.to_text())
    write_text(store, f"{LOCK}.broken-2", theirs.to_text())
    with hold_lock(url, "cube build"):
        pass
    assert [name for name in list_folder(store) if name.startswith(LOCK)] == [f"{LOCK}.broken-2"]
