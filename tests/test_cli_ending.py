"""SIGTERM and SIGHUP in the middle of a command: what they leave, and what it says."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import psutil
import pytest

from geoloc.cube import Cube
from tests.media import save
from tests.small_place import SmallPlace, write_place

ROOT = Path(__file__).parent.parent

COMMAND = """
import importlib, os, signal, sys
from geoloc.cli import main
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # as where the tests were not started by nohup
where, number, count, *words = sys.argv[1:]
module, _, name = where.partition(":")
owner = importlib.import_module(module)
*path, last = name.split(".")
for part in path:
    owner = getattr(owner, part)
real, left = getattr(owner, last), [int(count)]
def signalled(*args, **options):
    left[0] -= 1
    if not left[0]:
        if seen := os.environ.get("GEOLOC_TEST_SEEN"):
            import pathlib, psutil
            pathlib.Path(seen).write_text(str(len(psutil.Process().children(recursive=True))))
        os.kill(os.getpid(), int(number))
    return real(*args, **options)
setattr(owner, last, signalled)
sys.argv = ["geoloc", *words]
main()
"""


def ended(
    where: str, *words: object, count: int = 1, number: int = signal.SIGTERM, mark: str = ""
) -> subprocess.CompletedProcess[str]:
    """A command that gets a signal as it calls a function (``module:name``) for the n-th time.

    ``mark``: in its environment, and so in that of every process that it starts.
    """
    told = [sys.executable, "-c", COMMAND, where, str(int(number)), str(count), *map(str, words)]
    return subprocess.run(
        told, cwd=ROOT, check=False, capture_output=True, text=True, timeout=300,
        env={**os.environ, "GEOLOC_TEST_MARK": mark},
    )  # fmt: skip


def marked(mark: str) -> list[psutil.Process]:
    """The processes whose environment holds a mark."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("GEOLOC_TEST_MARK") == mark:
                found.append(process)
    return found


def assert_in_order(done: subprocess.CompletedProcess[str], code: int = 143) -> None:
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert done.stderr.strip().splitlines()[-1].startswith("error: interrupted; what was finished")
    assert "Traceback" not in done.stderr


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> SmallPlace:
    """Two blocks; the first test builds them."""
    return write_place(
        tmp_path_factory.mktemp("ending") / "here", ny=10, nx=140, step=16, cache=True
    )


def test_a_build_that_is_ended_lets_go_of_the_cube_and_goes_on_later(place: SmallPlace) -> None:
    words = ("cube", "build", place.area, "--method", "dense", "--cluster", "inline", "--json")
    copying = ended("geoloc.jobs.cache:TileJob.record", *words)
    assert_in_order(copying)
    encoding = ended("geoloc.jobs.blocks:BlockJob.record", *words, count=2, number=signal.SIGHUP)
    assert_in_order(encoding, 129)
    assert not list(place.folder.rglob("LOCK"))
    assert "building testville: " in encoding.stderr  # how far it came
    again = ended("os:abort", *words)  # which nobody calls
    assert again.returncode == 0, again.stderr
    report = json.loads(again.stdout)
    assert report["blocks_reused"] > 0
    assert report["blocks_reused"] + report["blocks_done"] == 2
    assert Cube.open(place.cube).complete


@pytest.mark.slow
def test_ctrl_c_in_the_middle_of_a_build_loses_nothing(tmp_path: Path) -> None:
    place = write_place(tmp_path / "here", ny=2, nx=3 * 128 + 9, step=160)  # four blocks
    words = ("cube", "build", place.area, "--method", "patch", "--json")
    stopped = ended("geoloc.jobs.blocks:BlockJob.record", *words, count=3, number=signal.SIGINT)
    assert_in_order(stopped, 1)
    again = ended("os:abort", *words)
    assert again.returncode == 0, again.stderr
    report = json.loads(again.stdout)
    assert 2 <= report["blocks_reused"] < 4
    assert report["blocks_reused"] + report["blocks_done"] == 4


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("geoloc.query.session:reduce_scan", ["query", "AREA", "PHOTO"]),
        ("geoloc.report.earth:write_kml", ["scene", "AREA", "beach"]),
        ("geoloc.bulk.reading:_write_preview", ["bulk", "AREA", "FOLDER"]),
    ],
)
def test_a_query_that_is_ended_leaves_no_half(
    place: SmallPlace, tmp_path: Path, where: str, words: list[str]
) -> None:
    save(tmp_path / "in" / "a.jpg", 1)
    names = {"AREA": place.area, "PHOTO": tmp_path / "in/a.jpg", "FOLDER": tmp_path / "in"}
    command = [names.get(word, word) for word in words]
    assert_in_order(ended(where, *command, "--out", tmp_path / "out"))
    left = {path.name for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert {name for name in left if not name.startswith("progress.sqlite")} == set()


def test_the_second_signal_ends_it_at_once() -> None:
    code = (
        "import os, signal\n"
        "from geoloc.cli.ending import Terminated, end_in_order\n"
        "end_in_order()\n"
        "try:\n    os.kill(os.getpid(), signal.SIGTERM)\n"
        "except Terminated as end:\n"
        "    print(end.code, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "print('still there')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split()) == (-signal.SIGTERM, ["143"])


def test_what_nohup_ignores_stays_ignored() -> None:
    code = (
        "import signal\n"
        "from geoloc.cli.ending import end_in_order\n"
        "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "end_in_order()\n"
        "print(signal.getsignal(signal.SIGHUP) == signal.SIG_IGN)\n"
        "print(signal.getsignal(signal.SIGTERM).__name__)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "_end"]


FLOW_RUN = """
import os, signal, sys
from prefect.utilities.engine import capture_sigterm
from geoloc.jobs.build import build_blocks
from tests.cubes import grid_of, mosaic, plan_of
def told(done, total):
    if done >= 1:
        os.kill(os.getpid(), signal.SIGTERM)
grid = grid_of(150, 150)
with capture_sigterm():  # as every flow run is
    build_blocks(plan_of(sys.argv[1], grid, mosaic(grid)), cluster="inline", progress=told)
"""


def test_a_flow_run_that_is_cancelled_lets_go_of_the_cube(tmp_path: Path) -> None:
    """A Prefect worker sends SIGTERM, of which Prefect makes an exception of its own."""
    pytest.importorskip("prefect")
    told = [sys.executable, "-c", FLOW_RUN, str(tmp_path / "cube.zarr")]
    done = subprocess.run(told, cwd=ROOT, check=False, capture_output=True, timeout=300)
    assert done.returncode == -signal.SIGTERM, done.stderr
    assert (tmp_path / "cube.zarr").exists()
    assert not (tmp_path / "cube.zarr" / "LOCK").exists()


@pytest.mark.slow
def test_workers_of_this_machine_end_with_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = write_place(tmp_path / "here", ny=2, nx=264, step=160)
    words = ["cube", "build", place.area, "--method", "patch", "--cluster", "local", "--json"]
    mark, seen = uuid4().hex, tmp_path / "seen"
    monkeypatch.setenv("GEOLOC_TEST_SEEN", str(seen))
    done = ended("geoloc.jobs.blocks:BlockJob.record", *words, mark=mark)
    assert_in_order(done)
    assert int(seen.read_text()) > 1  # workers were there
    _, alive = psutil.wait_procs(marked(mark), timeout=60)
    assert not alive
    assert not list(place.folder.rglob("LOCK"))
