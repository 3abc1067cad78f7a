"""What goes wrong around a build, each told in one line: disks, permissions, buckets, clusters."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from geoloc.cube import Cube, Ledger, Status, create_root
from geoloc.domain import Grid
from geoloc.errors import ClusterError, CubeError, ImageryError
from geoloc.executors import open_cluster
from geoloc.imagery import ArraySource
from geoloc.jobs import calibration
from geoloc.jobs.build import build_blocks
from geoloc.jobs.calibration import WINDOWS

from . import cubes
from .cubes import grid_of, mosaic, plan_of

ROOT = Path(__file__).parent.parent
GRID = grid_of(300, 420)  # 3 x 4 blocks

s3_bucket = cubes.s3_bucket  # the fixture


@pytest.fixture(scope="module")
def source() -> ArraySource:
    return mosaic(GRID)


def one_line(error: pytest.ExceptionInfo[Exception]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


# --- stores ---


@pytest.fixture
def small_disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A file system of 600 kB, or of as many as the test asks for."""
    place = tmp_path / "disk"
    place.mkdir()
    size = f"size={getattr(request, 'param', 600)}k"
    mount = ["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(place)]
    if os.getuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small tmpfs takes root and a kernel that allows it")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_bucket_that_goes_while_blocks_are_written(s3_bucket: str, source: ArraySource) -> None:
    boto3 = pytest.importorskip("boto3")

    def delete(done: float, _: int) -> None:
        if done == 1:
            bucket = boto3.resource("s3").Bucket("cubes")
            bucket.objects.all().delete()
            bucket.delete()

    with pytest.raises(CubeError) as caught:
        build_blocks(plan_of(f"{s3_bucket}/gone.zarr", GRID, source), progress=delete)
    assert f"{s3_bucket}/gone.zarr" in one_line(caught)


@pytest.mark.parametrize("small_disk", [1300], indirect=True)
def test_a_full_disk_is_told_and_the_build_goes_on_when_there_is_room(
    small_disk: Path, tmp_path: Path, source: ArraySource
) -> None:
    plan = plan_of(small_disk / "cube.zarr", GRID, source)
    try:
        report = build_blocks(plan)
        assert report.blocks_failed > 0
        assert all("No space left on device" in error for error in report.errors)
        with pytest.raises(CubeError, match="No space left on device"):
            report.raise_if_incomplete()
    except CubeError as error:  # where not even the ledger could be written
        assert "No space left on device" in str(error)
        assert "\n" not in str(error)
    if os.getuid() == 0:
        subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
    kept = int((Ledger(plan.url, "g0001").status == Status.DONE).sum())
    again = build_blocks(plan)
    assert (again.blocks_reused, again.blocks_done) == (kept, 12 - kept)
    assert 0 < kept < 12
    there = tmp_path / "peace"
    build_blocks(plan_of(there, GRID, source))
    everything = slice(None), slice(None)
    np.testing.assert_array_equal(
        Cube.open(plan.url).read(*everything), Cube.open(there).read(*everything)
    )


BUILD_AS_NOBODY = """
import sys
from geoloc.jobs.build import build_blocks
from geoloc.errors import GeolocError
from tests.cubes import grid_of, mosaic, plan_of
grid = grid_of(20, 30)
plan = plan_of(sys.argv[1], grid, mosaic(grid))
import os
os.setuid(65534)
try:
    build_blocks(plan)
except GeolocError as error:
    print(error)
    sys.exit(error.exit_code)
"""


@pytest.mark.skipif(os.getuid() != 0, reason="becoming somebody without permission takes root")
def test_no_permission(tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o755)
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    command = [sys.executable, "-c", BUILD_AS_NOBODY, str(locked / "cube.zarr")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert "Permission denied" in done.stdout
    assert "correct the permissions" in done.stdout
    assert done.stdout.count("\n") == 1


class Refusing(BaseHTTPRequestHandler):
    """An S3 that knows nobody."""

    def _refuse(self) -> None:
        body = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
        self.send_response(403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _refuse  # noqa: N815 the library's names

    def log_message(self, *_: object) -> None:
        """Quietly."""


def test_no_permission_on_s3(monkeypatch: pytest.MonkeyPatch, source: ArraySource) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    try:
        with pytest.raises(CubeError, match=r"cube s3://cubes/a\.zarr: ") as caught:
            build_blocks(plan_of("s3://cubes/a.zarr", GRID, source))
        assert "403" in one_line(caught) or "denied" in one_line(caught).lower()
        assert "check these credentials" in one_line(caught)
    finally:
        server.shutdown()


def test_a_missing_bucket(s3_bucket: str, source: ArraySource) -> None:
    with pytest.raises(CubeError) as caught:
        build_blocks(plan_of(s3_bucket.replace("cubes", "nobucket") + "/a.zarr", GRID, source))
    assert "nobucket" in one_line(caught)
    assert "make it" in one_line(caught)


def test_a_cube_made_by_a_newer_geoloc(tmp_path: Path, source: ArraySource) -> None:
    plan = plan_of(tmp_path, GRID, source)
    build_blocks(plan)
    document = tmp_path / "g0001" / "zarr.json"
    text = document.read_text()
    document.write_text(text.replace('"geoloc_cube": 2', '"geoloc_cube": 3'))
    assert document.read_text() != text
    for use in (lambda: build_blocks(plan), lambda: Cube.open(tmp_path)):
        with pytest.raises(
            CubeError, match="has format 3, this geoloc reads up to 2: install"
        ) as e:
            use()
        one_line(e)


def test_credentials_from_a_profile(
    s3_bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = os.environ["AWS_ENDPOINT_URL"]
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    (tmp_path / "credentials").write_text(
        "[default]\naws_access_key_id = wrong\naws_secret_access_key = wrong\n"
        "[desk]\naws_access_key_id = testing\naws_secret_access_key = te%sting\n"
    )
    (tmp_path / "config").write_text(
        f"[profile desk]\nregion = us-east-1\nendpoint_url = {endpoint}\n"
        "[profile office]\nsso_session = office\n"
    )
    monkeypatch.setenv("AWS_PROFILE", "desk")
    url = f"{s3_bucket}/{tmp_path.name}.zarr"
    create_root(url)
    monkeypatch.setenv("AWS_PROFILE", "office")
    with pytest.raises(CubeError, match=r"office requires a login \(sso_session\): run eval"):
        create_root(url)
    monkeypatch.setenv("AWS_PROFILE", "nowhere")
    with pytest.raises(CubeError, match="AWS_PROFILE nowhere is in neither"):
        create_root(url)


# --- failing blocks ---


@dataclass(frozen=True)
class Dying:
    """Imagery whose archive goes down after so many reads."""

    good: ArraySource
    reads: int
    seen: list[int] = field(default_factory=list)

    def __getattr__(self, name: str) -> object:
        return getattr(self.good, name)

    def read(self, window: object) -> object:
        self.seen.append(1)
        if len(self.seen) > self.reads:
            raise ImageryError("the archive is offline")
        return self.good.read(window)  # type: ignore[arg-type]


def test_a_build_ends_when_everything_fails(tmp_path: Path) -> None:
    grid = grid_of(128 * 8, 128 * 9)
    source = mosaic(grid, gsd=10)
    plan = plan_of(tmp_path, grid, Dying(source, WINDOWS + 20), open_encoder=cubes.CoarseEncoder)  # type: ignore[arg-type]
    report = build_blocks(plan)
    assert (report.blocks_done, report.blocks_failed, report.published) == (20, 50, False)
    with pytest.raises(CubeError, match="50 blocks in a row failed, the last: the archive is off"):
        report.raise_if_incomplete()
    again = build_blocks(plan_of(tmp_path, grid, source, open_encoder=cubes.CoarseEncoder))
    assert again.blocks_reused > 0
    assert Cube.open(tmp_path).complete


@dataclass(frozen=True)
class Refused(Dying):
    """Imagery whose archive refuses after so many reads, which leaves holes with an error.

    ``share`` of a window's rows are read all the same.
    """

    share: float = 0.0

    def read(self, window: Grid) -> xr.DataArray:  # type: ignore[override]
        self.seen.append(1)
        if len(self.seen) <= self.reads:
            return self.good.read(window)
        left, bottom, right, top = window.bounds
        hole = (left, bottom, right, top - self.share * (top - bottom))
        return replace(self.good, broken=(hole,)).read(window)


def test_a_build_ends_when_the_archive_refuses_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibration, "_MOST", 200)
    grid = grid_of(128 * 8, 128 * 9)
    source = Refused(mosaic(grid, gsd=10), 0)
    plan = plan_of(tmp_path, grid, source, open_encoder=cubes.CoarseEncoder)  # type: ignore[arg-type]
    report = build_blocks(plan)
    assert (report.blocks_done, report.blocks_broken, report.published) == (0, 0, False)
    assert len(source.seen) == 200
    with pytest.raises(CubeError, match=r"no block could be encoded: array: .*: fix"):
        report.raise_if_incomplete()


def test_blocks_under_a_broken_file_do_not_keep_a_build_from_the_others(tmp_path: Path) -> None:
    """The first 60 of 72 lie under it; whatever was drawn, all others are there after a run."""
    grid = grid_of(128 * 8, 128 * 9)
    left, bottom, right, top = grid.bounds
    pad = 4 * 1280.0  # the encoder's margin, of blocks under the file as well
    north = (left - pad, top - (top - bottom) * 6.5 / 8, right + pad, top + pad)
    source = replace(mosaic(grid, gsd=10), broken=(north,))
    for _ in range(2):
        plan = plan_of(tmp_path, grid, source, open_encoder=cubes.CoarseEncoder)
        report = build_blocks(plan)
        assert (report.stopped, report.published) == (None, True)
        assert report.blocks_done + report.blocks_reused + report.blocks_broken == 72
        assert report.blocks_broken >= 54
    assert report.blocks_reused >= 9


def test_a_build_goes_on_while_blocks_hold_some_cells(tmp_path: Path) -> None:
    grid = grid_of(128 * 8, 128 * 9)
    source = Refused(mosaic(grid, gsd=10), 0, share=0.5)
    plan = plan_of(tmp_path, grid, source, open_encoder=cubes.CoarseEncoder)  # type: ignore[arg-type]
    report = build_blocks(plan)
    assert (report.stopped, report.blocks_broken) == (None, 72)


@dataclass
class Picky:
    """Squares numbers, but not on the worker that takes odd ones first."""

    attempts: str

    def read(self, item: int) -> int:
        with Path(self.attempts).open("a") as log:
            log.write(f"{item} {os.getpid()}\n")
        return item

    def finish(self, item: int, data: int) -> int:
        lines = [line.split() for line in Path(self.attempts).read_text().splitlines()]
        first = next(pid for number, pid in lines if int(number) == item)
        if item % 2 and first == str(os.getpid()):
            raise OSError(5, "Input/output error")
        if item == 4:
            raise ImageryError("no imagery under 4")
        return data**2


def start(command: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)


@contextmanager
def remote_cluster(tmp_path: Path, workers: int = 2) -> Iterator[str]:
    """A Dask scheduler and workers, all on addresses of their own; the scheduler's address."""
    about = tmp_path / "scheduler.json"
    dask = [sys.executable, "-m", "dask"]
    processes = [
        start([*dask, "scheduler", "--host", "127.0.0.2", "--port", "0", "--no-dashboard",
               "--scheduler-file", str(about)])
    ]  # fmt: skip
    try:
        end = time.monotonic() + 60
        while not about.exists() or not about.read_text().strip().endswith("}"):
            assert time.monotonic() < end, "the scheduler does not start"
            time.sleep(0.1)
        address = str(json.loads(about.read_text())["address"])
        processes += [
            start([*dask, "worker", address, "--host", f"127.0.0.{3 + i}", "--nthreads", "2",
                   "--no-nanny", "--no-dashboard", "--local-directory", str(tmp_path / f"w{i}")])
            for i in range(workers)
        ]  # fmt: skip
        yield address
    finally:
        for process in processes:
            process.kill()
            process.communicate()


@pytest.mark.slow
def test_a_remote_cluster_gives_the_same_bytes(tmp_path: Path, source: ArraySource) -> None:
    build_blocks(plan_of(tmp_path / "here", GRID, source), cluster="inline")
    with remote_cluster(tmp_path) as address:
        assert address.startswith("tcp://127.0.0.2:")
        while True:  # both workers, so that both have something to do
            with open_cluster(address) as executor:
                if executor.workers == 2:
                    break
        report = build_blocks(plan_of(tmp_path / "there", GRID, source), cluster=address)
        assert report.blocks_done == 12
        assert f"{address}, 2 workers, http" in report.cluster  # the dashboard's address
        log = tmp_path / "attempts"
        with open_cluster(address) as executor:
            outcomes = {o.item: o for o in executor.stream(Picky(str(log)), range(1, 7))}
    assert {item: o.result for item, o in outcomes.items()} == {
        1: 1, 2: 4, 3: 9, 4: None, 5: 25, 6: 36
    }  # fmt: skip
    assert outcomes[4].error == "no imagery under 4"
    lines = [tuple(line.split()) for line in log.read_text().splitlines()]
    assert len({pid for number, pid in lines if number == "3"}) == 2  # the second try elsewhere
    assert len([1 for number, _ in lines if number == "4"]) == 3  # bounded
    names = {
        str(p.relative_to(tmp_path / "here")) for p in (tmp_path / "here").rglob("*") if p.is_file()
    }
    for name in names - {"g0001/zarr.json"}:
        assert (tmp_path / "here" / name).read_bytes() == (tmp_path / "there" / name).read_bytes()


STRANGE_WORKER = """
import asyncio, sys
import distributed.versions as versions
from distributed import Scheduler, Worker
real = versions.get_package_info
def strange(packages):
    return {**real(packages), sys.argv[1]: sys.argv[2] or None}
async def serve():
    async with Scheduler(host="127.0.0.1", port=0, dashboard=False) as scheduler:
        versions.get_package_info = strange
        async with Worker(scheduler.address, dashboard=False):
            print(scheduler.address, flush=True)
            await scheduler.finished()
asyncio.run(serve())
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("package", "version", "told"),
    [("distributed", "2019.1.0", "has distributed 2019.1.0, here is 20"),
     ("geoloc", "", "has geoloc missing, here is ")],
)  # fmt: skip
def test_a_cluster_of_other_versions_is_refused(package: str, version: str, told: str) -> None:
    command = [sys.executable, "-c", STRANGE_WORKER, package, version]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as p:
        try:
            assert p.stdout is not None
            address = p.stdout.readline().strip()
            with pytest.raises(ClusterError, match=told) as caught, open_cluster(address):
                pass
            assert "install the same versions" in one_line(caught)
        finally:
            p.kill()


def test_a_cluster_without_workers_is_not_waited_for_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from distributed import LocalCluster

    from .test_executors import Squares

    monkeypatch.setattr("geoloc.executors.workers._NO_WORKERS_SECONDS", 0.5)
    monkeypatch.setattr("geoloc.executors.workers._ASK_SECONDS", 0.1)
    with (
        LocalCluster(
            n_workers=1,
            threads_per_worker=1,
            processes=False,
            protocol="tcp",
            dashboard_address=":0",
        ) as cluster,
        open_cluster(cluster.scheduler_address) as executor,
    ):
        outcomes = executor.stream(Squares(), count(1))
        assert next(outcomes).error == ""
        cluster.scale(0)
        with pytest.raises(ClusterError, match="has had no worker for"):
            for _ in outcomes:
                pass
