"""The whole service on one machine: server, work pool, deployments, worker.

    python deploy/local.py up [--areas AREA.yaml ...]     starts what is not running yet
    python deploy/local.py status
    python deploy/local.py down                           stops it; nothing is lost
    python deploy/local.py furnish                        of a server elsewhere (PREFECT_API_URL):
                                                          pool, variables, limits, deployments

State lies in ``work/service`` (``--home``): the SQLite database, logs, process ids. Another
database, for instance PostgreSQL: set ``PREFECT_SERVER_DATABASE_CONNECTION_URL`` before ``up``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parent.parent
POOL = "geoloc"
_START_SECONDS = 180
_STOP_SECONDS = 30


class ServiceError(Exception):
    """Told in one line."""


def environment(home: Path, port: int) -> dict[str, str]:
    """Of every process of the service: nothing phones home, nothing listens to the outside."""
    url = f"http://127.0.0.1:{port}/api"
    wanted = {
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": url,
        "PREFECT_UI_API_URL": url,  # the page asks port 4200 otherwise
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_LOGS_STREAM_OUT_ENABLED": "true",  # --watch shows a run's log with these
        "PREFECT_SERVER_LOGS_STREAM_PUBLISHING_ENABLED": "true",
        "DO_NOT_TRACK": "1",
        # claims on cubes and deployments outlive a restart of the server
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": (
            "prefect.server.concurrency.lease_storage.filesystem"
        ),
    }
    own = {  # what the operator may change
        # ten nights ahead, not a hundred: each is a write to a small database
        "PREFECT_SERVER_SERVICES_SCHEDULER_MAX_RUNS": "10",
        "PREFECT_WORKER_QUERY_SECONDS": "2",  # a person may wait for the answer
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "60",  # seconds: how soon a lost run is noticed
    }
    return {**own, **os.environ, **wanted}


def process(home: Path, name: str) -> psutil.Process | None:
    """The running process of that name, if it is still the one that was started."""
    try:
        pid, started, *_ = json.loads((home / f"{name}.json").read_text())
        found = psutil.Process(pid)
        alive = found.is_running() and found.status() != psutil.STATUS_ZOMBIE
        return found if alive and abs(found.create_time() - started) < 2 else None
    except (OSError, ValueError, psutil.Error):
        return None


def start(home: Path, name: str, arguments: Sequence[str], env: dict[str, str], port: int) -> None:
    """Start ``prefect ARGUMENTS`` in the background, its output in ``home/NAME.log``.

    ``home/NAME.json`` says which process it is, and the port of the server.
    """
    with (home / f"{name}.log").open("ab") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "prefect", *arguments],
            cwd=ROOT, env=env, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
    record = [child.pid, psutil.Process(child.pid).create_time(), port]
    (home / f"{name}.json").write_text(json.dumps(record))


def stop(home: Path, name: str) -> bool:
    """Ask a process and its children to end; end them where they do not. Whether it ran."""
    found = process(home, name)
    if found is None:
        return False
    family = [found, *found.children(recursive=True)]
    found.send_signal(signal.SIGTERM)
    _, left = psutil.wait_procs(family, timeout=_STOP_SECONDS)
    for straggler in left:
        straggler.kill()
    psutil.wait_procs(left, timeout=5)
    (home / f"{name}.json").unlink(missing_ok=True)
    return True


def require_port(home: Path, port: int) -> None:
    """Raise ServiceError where the server of this home runs on another port."""
    _, _, *noted = json.loads((home / "server.json").read_text())
    if noted and noted[0] != port:
        raise ServiceError(
            f"the server of {home} runs on port {noted[0]}: give --port {noted[0]}, or 'down' first"
        )


def answers(url: str) -> bool:
    """Whether a Prefect server is healthy at this API address."""
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=2) as response:
            return bool(response.read() == b"true")
    except (OSError, urllib.error.URLError):
        return False


def wait_for_server(home: Path, url: str) -> None:
    """Until the server is healthy. Raises ServiceError with where its log is."""
    deadline = time.monotonic() + _START_SECONDS
    while not answers(url):
        if process(home, "server") is None or time.monotonic() > deadline:
            raise ServiceError(f"the server does not start: see {home / 'server.log'}")
        time.sleep(0.3)


def furnish(areas: Sequence[str]) -> None:
    """All that the server of PREFECT_API_URL needs: pool, variables, limits, deployments.

    Raises ServiceError where neither the environment nor Prefect's profile names a server.
    """
    import yaml
    from prefect import get_client
    from prefect.automations import Automation
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectAlreadyExists
    from prefect.settings import PREFECT_API_URL
    from prefect.variables import Variable

    if not PREFECT_API_URL.value():  # Prefect would start a server for the moment
        raise ServiceError(
            "set PREFECT_API_URL to the server, for example http://127.0.0.1:4200/api"
        )
    with get_client(sync_client=True) as client:
        with contextlib.suppress(ObjectAlreadyExists):
            client.create_work_pool(WorkPoolCreate(name=POOL, type="process"))
        present = {automation.name for automation in client.read_automations()}
    Variable.set("geoloc_work_pool", POOL, overwrite=True)
    if areas or Variable.get("geoloc_areas") is None:
        Variable.set("geoloc_areas", list(areas), overwrite=True)
    limit_cubes()
    specs: list[dict[str, Any]] = yaml.safe_load((ROOT / "deploy/automations.yaml").read_text())[
        "automations"
    ]
    for spec in specs:
        if spec["name"] not in present:
            Automation.model_validate(spec).create()
    prefect("--no-prompt", "deploy", "--all")


def limit_cubes() -> None:
    """One refresh at a time for the cube of every area that ``geoloc_areas`` names."""
    sys.path.insert(0, str(ROOT))  # the flows that are deployed, whatever else is installed
    from flows.refresh_cubes import limit_known_cubes
    from geoloc.errors import GeolocError

    try:
        missing = limit_known_cubes()
    except GeolocError as error:
        raise ServiceError(str(error)) from None
    for area, why in missing.items():
        print(f"note: {area}: its first refresh makes its limit ({why})", file=sys.stderr)


def prefect(*arguments: str) -> None:
    """Run ``prefect ARGUMENTS``. Raises ServiceError with what it said."""
    done = subprocess.run(
        [sys.executable, "-m", "prefect", *arguments],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise ServiceError(f"prefect {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")


def up(home: Path, port: int, areas: Sequence[str], runs: int) -> None:
    """Start what is not running; deploy everything again."""
    for area in areas:
        if not Path(area).is_file():
            raise ServiceError(f"area file {area} does not exist")
    home.mkdir(parents=True, exist_ok=True)
    env = environment(home, port)
    url = env["PREFECT_API_URL"]
    if process(home, "server") is None:
        if answers(url):
            raise ServiceError(f"port {port} is another Prefect server's: give another --port")
        command = ["server", "start", "--host", "127.0.0.1", "--port", str(port)]
        start(home, "server", command, env, port)
    else:
        require_port(home, port)
    wait_for_server(home, url)
    os.environ.update(env)
    furnish([str(Path(area).resolve()) for area in areas])
    if process(home, "worker") is None:
        limit = ["--limit", str(runs)] if runs else []
        start(home, "worker", ["worker", "start", "--pool", POOL, *limit], env, port)
    print(f"Prefect UI    http://127.0.0.1:{port}")
    print(f"for commands  export PREFECT_API_URL={url}")
    print(f"logs          {home}/server.log, {home}/worker.log")


def down(home: Path) -> None:
    """Stop the worker, then the server."""
    for name in ("worker", "server"):
        print(f"{name}: {'stopped' if stop(home, name) else 'was not running'}")


def status(home: Path) -> int:
    """Whether server and worker run; 0 where both do."""
    running = {name: process(home, name) for name in ("server", "worker")}
    for name, found in running.items():
        print(f"{name}: {f'runs as {found.pid}' if found else 'does not run'}")
    return 0 if all(running.values()) else 1


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=("up", "down", "status", "furnish"))
    parser.add_argument("--home", type=Path, default=ROOT / "work" / "service")
    parser.add_argument("--port", type=int, default=4200)
    parser.add_argument("--areas", nargs="*", default=(), help="refreshed every night")
    parser.add_argument("--runs", type=int, default=2, help="flow runs at a time; 0: any number")
    given = parser.parse_args()
    home = given.home.resolve()
    try:
        if given.command == "up":
            up(home, given.port, given.areas, given.runs)
        elif given.command == "down":
            down(home)
        elif given.command == "furnish":
            furnish(given.areas)
        else:
            return status(home)
    except ServiceError as failure:
        print(f"error: {failure}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
