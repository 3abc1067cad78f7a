"""The real service of one machine for tests: ``deploy/local.py`` on a free port, and its API."""

from __future__ import annotations

import base64
import os
import secrets
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import yaml
from distributed import Client

ROOT = Path(__file__).parent.parent
FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
_TLS = httpx.create_ssl_context()


def fetch(method: str, url: str, **request: Any) -> httpx.Response:
    """``httpx.request``, which would read the certificates of TLS for every one."""
    return httpx.request(method, url, verify=_TLS, **request)


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait(what: str, look: Callable[[], Any], seconds: float = 150, pause: float = 0.5) -> Any:
    """What ``look`` answers once it is true; fails the test when it takes too long."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"no {what} after {seconds} s"
        time.sleep(pause)
    return found


@dataclass(frozen=True)
class Service:
    """A running service: ``home`` holds its logs, process ids and password."""

    home: Path
    port: int
    environment: dict[str, str]

    @property
    def page(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def password(self) -> str:
        return self.environment["PREFECT_API_AUTH_STRING"]

    def signed_in(self, browser: Any, **viewport: int) -> Any:
        """A page, of a context of its own, in which the owner's own page opened Prefect's."""
        page = browser.new_context(viewport=viewport).new_page()
        page.goto((self.home / "ui.html").as_uri())
        page.wait_for_url(f"{self.page}/**", timeout=60_000)
        page.get_by_text("Dashboard").first.wait_for(timeout=60_000)
        return page

    def local(self, command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run ``deploy/local.py``."""
        return self._run(
            ROOT / "deploy/local.py", command, "--home", str(self.home),
            "--port", str(self.port), "--runs", "0", *arguments,
        )  # fmt: skip

    def prefect(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run ``prefect`` as its operators do."""
        return self._run("-m", "prefect", *arguments)

    def _run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            env=self.environment, capture_output=True, text=True, check=False, timeout=560,
        )  # fmt: skip

    def ask(self, path: str, **body: Any) -> Any:
        """POST to the API; what it answers."""
        return self._answer("POST", path, json=body)

    def _answer(self, method: str, path: str, **request: Any) -> Any:
        """What the API answers; asked again while the database is busy, as Prefect does."""
        for pause in (1, 2, 4, 8, 16, None):
            answer = fetch(
                method, f"{self.page}/api/{path}", auth=self._authorized, timeout=120, **request
            )
            if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE or pause is None:
                break
            time.sleep(pause)
        return answer.raise_for_status().json()

    def _authorized(self, request: httpx.Request) -> httpx.Request:
        token = base64.b64encode(self.password.encode()).decode()
        request.headers["Authorization"] = f"Basic {token}"
        return request

    def deployment(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self._answer("GET", f"deployments/name/{name}/{name}")
        return found

    def start_run(self, name: str, **parameters: Any) -> str:
        """Have a deployment run; the run's id."""
        made = self.ask(
            f"deployments/{self.deployment(name)['id']}/create_flow_run",
            parameters=parameters, state={"type": "SCHEDULED"},
        )  # fmt: skip
        return str(made["id"])

    def runs(self, name: str) -> list[dict[str, Any]]:
        """All runs of a flow."""
        found: list[dict[str, Any]] = self.ask(
            "flow_runs/filter", flows={"name": {"any_": [name]}}, sort="EXPECTED_START_TIME_ASC"
        )
        return found

    def run(self, run: str) -> dict[str, Any]:
        found: dict[str, Any] = self._answer("GET", f"flow_runs/{run}")
        return found

    def finished(self, run: str) -> dict[str, Any]:
        """The run, once it has ended."""

        def look() -> dict[str, Any] | None:
            found = self.run(run)
            return found if found["state_type"] in FINAL else None

        ended: dict[str, Any] = wait(f"end of run {run}", look, 600)
        return ended

    def artifacts(self, run: str) -> dict[str, dict[str, Any]]:
        """What people see of a run, by key; of several the latest."""
        found = self.ask(
            "artifacts/filter", artifacts={"flow_run_id": {"any_": [run]}}, sort="CREATED_DESC"
        )
        return {artifact["key"]: artifact for artifact in reversed(found)}

    def kill_worker(self) -> None:
        """As a machine that loses power: the worker and all its runs, without a word."""
        pid = int((self.home / "worker.json").read_text().strip("[]").split(",")[0])
        worker = psutil.Process(pid)
        family = [worker, *worker.children(recursive=True)]
        for process in family:
            process.kill()
        psutil.wait_procs(family, timeout=10)

    def log(self) -> str:
        return (self.home / "worker.log").read_text(errors="replace")


def surroundings(home: Path, port: int, **settings: str) -> dict[str, str]:
    """Of a service's commands: what of Prefect the machine's user has set does not count.

    Scheduler and worker look for work more often than by default, which the tests would wait for.
    """
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("PREFECT")},
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "5",  # not 60
        "PREFECT_WORKER_QUERY_SECONDS": "1",  # not 10
        "DO_NOT_TRACK": "1",
        "NO_COLOR": "1",
        **settings,
    }


def settings_of(exports: str) -> dict[str, str]:
    """What a shell would take from ``export NAME=VALUE`` lines."""
    words = (shlex.split(line) for line in exports.splitlines())
    return dict(word.split("=", 1) for _, word in words)


@contextmanager
def running(home: Path, *areas: Path) -> Iterator[Service]:
    """The service, stopped again at the end."""
    port = free_port()
    service = Service(home, port, surroundings(home, port))
    try:
        done = service.local("up", "--areas", *map(str, areas))
        assert done.returncode == 0, done.stdout + done.stderr
        service.environment.update(settings_of(service.local("env").stdout))
        yield service
    finally:
        service.local("down")


@contextmanager
def stopped(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Ask a process to end at the end; end it and its children where they do not."""
    try:
        yield
    finally:
        own = psutil.Process(process.pid)
        family = [own, *own.children(recursive=True)]
        process.terminate()
        for straggler in psutil.wait_procs(family, timeout=20)[1]:
            straggler.kill()


@dataclass(frozen=True)
class Composed(Service):
    """The service as ``compose.yaml`` has it: every piece a process of its own, on loopback.

    ``checkout`` is a copy of the source that the flows are deployed from.
    """

    checkout: Path
    scheduler: str
    dashboard: str

    def command(self, name: str) -> list[str]:
        """What ``compose.yaml`` runs for a piece, at the addresses of this machine."""
        pieces = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())["services"]
        here = {
            "0.0.0.0": "127.0.0.1", "8786": self.scheduler.rpartition(":")[2],
            ":8787": self.dashboard, "tcp://dask-scheduler:8786": self.scheduler,
            "${RUNS:-2}": "2",
        }  # fmt: skip
        program, *words = [here.get(word, word) for word in pieces[name]["command"]]
        return [sys.executable, *([] if program == "python" else ["-m", program]), *words]

    @contextmanager
    def piece(self, name: str) -> Iterator[None]:
        """A piece that runs; stopped at the end."""
        with (self.home / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                self.command(name), cwd=self.checkout, env=self.environment, stdout=log, stderr=log
            )
        with stopped(process):
            yield

    def healthy(self) -> bool:
        """Whether the server answers."""
        try:
            return fetch("GET", f"{self.page}/api/health", timeout=5).is_success
        except httpx.HTTPError:
            return False

    def in_checkout(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command there, as one who has just fetched the source."""
        return subprocess.run(
            command, cwd=self.checkout, env=self.environment,
            capture_output=True, text=True, check=False, timeout=560,
        )  # fmt: skip


def compose(home: Path, database: str) -> Composed:
    """The service of ``compose.yaml``; nothing runs yet."""
    port, scheduler, dashboard, health = (free_port() for _ in range(4))
    secret = secrets.token_urlsafe(32)
    settings = {
        "PREFECT_SERVER_API_AUTH_STRING": secret,
        "PREFECT_API_AUTH_STRING": secret,
        "PREFECT_LOGGING_EXTRA_LOGGERS": "geoloc",
        "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": database,
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_WORKER_WEBSERVER_HOST": "127.0.0.1",
        "PREFECT_WORKER_WEBSERVER_PORT": str(health),
    }
    checkout = home / "checkout"
    aside = shutil.ignore_patterns(".*", "__pycache__", "work", "tests", "build", "*.egg-info")
    shutil.copytree(ROOT, checkout, ignore=aside)
    return Composed(
        home, port, surroundings(home, port, **settings), checkout,
        f"tcp://127.0.0.1:{scheduler}", f"127.0.0.1:{dashboard}",
    )  # fmt: skip


@contextmanager
def postgresql(port: int | None = None) -> Iterator[str]:
    """The URL of a fresh PostgreSQL database; tests are skipped where there is no PostgreSQL.

    Its server takes any password, and has another database that is named ``prefect``.
    """
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    initdb = str(programs[-1]) if programs else shutil.which("initdb")
    if initdb is None:
        pytest.skip("no PostgreSQL: apt-get install postgresql")
    root = os.geteuid() == 0
    if root and shutil.which("runuser") is None:
        pytest.skip("PostgreSQL does not run as root, and there is no runuser")
    as_postgres = ["runuser", "-u", "postgres", "--"] if root else []
    folder, port = Path(tempfile.mkdtemp(prefix="geoloc-pg-")), port or free_port()
    control = [*as_postgres, str(Path(initdb).with_name("pg_ctl")), "-D", str(folder / "data")]
    options = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories="
    try:
        if root:
            shutil.chown(folder, "postgres")
        setup = [*as_postgres, initdb, "-D", str(folder / "data"), "-U", "prefect", "-A", "trust"]
        subprocess.run(setup, check=True, capture_output=True, cwd="/")
        start = [*control, "-w", "-l", str(folder / "log"), "-o", options, "start"]
        subprocess.run(start, check=True, stdout=subprocess.DEVNULL, cwd="/")
        where = ["-h", "127.0.0.1", "-p", str(port), "-U", "prefect"]
        subprocess.run([Path(initdb).with_name("createdb"), *where, "prefect"], check=True, cwd="/")
        yield f"postgresql+asyncpg://prefect@127.0.0.1:{port}/postgres"
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], check=False, cwd="/")
        shutil.rmtree(folder, ignore_errors=True)


def tasks_seen(scheduler: str) -> int:
    """How often a task has changed its state at a Dask scheduler."""
    with Client(scheduler, timeout=60) as client:
        found: int = client.run_on_scheduler(
            lambda dask_scheduler: dask_scheduler.transition_counter
        )
    return found
