"""The whole service on one machine: server, work pool, deployments, worker.

    python deploy/local.py up [--areas AREA.yaml ...]     starts what is not running yet
    python deploy/local.py status
    eval "$(python deploy/local.py env)"                  sets this shell's prefect up to use it
    python deploy/local.py down                           stops it; nothing is lost
    python deploy/local.py furnish                        sets up another server (PREFECT_API_URL):
                                                          pool, variables, limits, deployments

State is in ``work/service`` (``--home``): the SQLite database, logs, process ids, and the
password created by ``up`` (``password``; ``ui.html`` opens Prefect's pages with it). For another
database, such as PostgreSQL, set ``PREFECT_SERVER_DATABASE_CONNECTION_URL`` before ``up``.
"""

from __future__ import annotations

import argparse
import base64
import html
import json
import os
import secrets
import shlex
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parent.parent
POOL = "geoloc"
_START_SECONDS = 180
_STOP_SECONDS = 30


class ServiceError(Exception):
    """Reported in one line."""


def pool_template() -> dict[str, Any]:
    """How the pool's worker starts a run, which no run can override.

    Prefect's own template accepts a command, an environment and a folder from any run. This one
    contains nothing that could be replaced (an ``env`` could be, even without variables), and the
    server refuses a run that names any.
    """
    nothing = {"type": "object", "properties": {}, "additionalProperties": False}
    return {"job_configuration": {"stream_output": True}, "variables": nothing}


def password(home: Path) -> str:
    """The service's password, created by the first call; only its owner may read the file.

    Raises ServiceError if others may.
    """
    path = home / "password"
    if not path.exists():
        write_private(path, secrets.token_urlsafe(32))
    if path.stat().st_mode & 0o077:
        raise ServiceError(f"{path} is readable by others: delete it, and 'up' makes another")
    if not (kept := path.read_text().strip()):
        raise ServiceError(f"{path} is empty: delete it, and 'up' makes another")
    return kept


def write_private(path: Path, content: str) -> None:
    """Write a file that nobody else can read at any moment."""
    part = path.with_name(f".{path.name}.part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(content + "\n")
    part.replace(path)


def entrance(home: Path, port: int, secret: str) -> Path:
    """A private page that opens Prefect's without asking for the password."""
    page = home / "ui.html"
    form = (
        '<!doctype html><meta charset="utf-8"><title>geoloc</title>\n'
        f'<form method="post" action="http://127.0.0.1:{port}/sign-in">'
        f'<input type="hidden" name="password" value="{html.escape(secret)}">'
        "<button>Open Prefect</button></form>\n"
        "<script>document.forms[0].submit()</script>"
    )
    write_private(page, form)
    return page


def environment(home: Path, port: int) -> dict[str, str]:
    """The environment of all processes of the service: no telemetry, loopback only, and no access
    without the password."""
    page, secret = f"http://127.0.0.1:{port}", password(home)
    url = f"{page}/api"
    wanted = {
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": url,
        "PREFECT_API_AUTH_STRING": secret,
        "PREFECT_SERVER_API_AUTH_STRING": secret,
        # browsers keep the password in the pages' own storage and never send it by themselves: no
        # other site can make them do so, and Prefect's CSRF tokens would add nothing
        "PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS": f"{page},http://localhost:{port}",
        "GEOLOC_SERVER_HOSTS": "",  # only loopback's names
        "PREFECT_UI_API_URL": url,  # by default the page uses port 4200
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_LOGS_STREAM_OUT_ENABLED": "true",  # --watch shows a run's log with these
        "PREFECT_SERVER_LOGS_STREAM_PUBLISHING_ENABLED": "true",
        "DO_NOT_TRACK": "1",
        # leases on cubes and deployments survive a restart of the server
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": (
            "prefect.server.concurrency.lease_storage.filesystem"
        ),
    }
    own = {  # defaults that the operator may change
        # the library's messages go to the run's log, such as the address of a cluster's dashboard
        "PREFECT_LOGGING_EXTRA_LOGGERS": "geoloc",
        "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
        # schedule ten nights ahead, not a hundred: each is a write to a small database
        "PREFECT_SERVER_SERVICES_SCHEDULER_MAX_RUNS": "10",
        "PREFECT_WORKER_QUERY_SECONDS": "2",  # someone may be waiting for the answer
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "60",  # s until a lost run is noticed
    }
    return {**own, **os.environ, **wanted}


def process(home: Path, name: str) -> psutil.Process | None:
    """The running process of that name, if it is still the one that was started."""
    try:
        pid, started, *_ = json.loads((home / f"{name}.json").read_text())
        running = psutil.Process(pid)
        alive = running.is_running() and running.status() != psutil.STATUS_ZOMBIE
        return running if alive and abs(running.create_time() - started) < 2 else None
    except (OSError, ValueError, psutil.Error):
        return None


def start(home: Path, name: str, arguments: Sequence[str], env: dict[str, str], port: int) -> None:
    """Start ``python ARGUMENTS`` in the background, its output in ``home/NAME.log``.

    ``home/NAME.json`` records the process, and the port of the server.
    """
    with (home / f"{name}.log").open("ab") as log:
        child = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=ROOT, env=env, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
    record = [child.pid, psutil.Process(child.pid).create_time(), port]
    (home / f"{name}.json").write_text(json.dumps(record))


def stop(home: Path, name: str) -> bool:
    """Terminate a process and its children, kill those that do not end; whether it ran."""
    running = process(home, name)
    if running is None:
        return False
    family = [running, *running.children(recursive=True)]
    running.send_signal(signal.SIGTERM)
    _, left = psutil.wait_procs(family, timeout=_STOP_SECONDS)
    for straggler in left:
        straggler.kill()
    psutil.wait_procs(left, timeout=5)
    (home / f"{name}.json").unlink(missing_ok=True)
    return True


def noted_port(home: Path) -> int | None:
    """The port on which the server of this home was started, if recorded."""
    try:
        _, _, *noted = json.loads((home / "server.json").read_text())
    except (OSError, ValueError):
        return None
    return int(noted[0]) if noted else None


def require_port(home: Path, port: int) -> None:
    """Raise ServiceError if the server of this home runs on another port."""
    noted = noted_port(home)
    if noted not in (None, port):
        raise ServiceError(
            f"the server of {home} runs on port {noted}: give --port {noted}, or 'down' first"
        )


def answers(url: str) -> bool:
    """Whether there is a healthy Prefect server at this API address."""
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=2) as response:
            return bool(response.read() == b"true")
    except (OSError, urllib.error.URLError):
        return False


def accepts(url: str, secret: str | None) -> bool:
    """Whether the server accepts this password, or, if None, requests without one."""
    request = urllib.request.Request(f"{url}/admin/version")
    if secret is not None:
        token = base64.b64encode(secret.encode()).decode()
        request.add_header("Authorization", f"Basic {token}")
    try:
        with urllib.request.urlopen(request, timeout=10):
            return True
    except urllib.error.HTTPError:
        return False
    except (OSError, urllib.error.URLError) as error:
        raise ServiceError(f"the server at {url} does not answer ({error}): run it again") from None


def close_open_server(home: Path, url: str, secret: str) -> None:
    """Stop a running server that accepts everybody, as in earlier versions, or has another
    password; and its worker."""
    wait_for_server(home, url)
    if accepts(url, None) or not accepts(url, secret):
        print("restarting server and worker with the password", file=sys.stderr)
        down(home)


def wait_for_server(home: Path, url: str) -> None:
    """Wait until the server is healthy. Raises ServiceError naming its log."""
    deadline = time.monotonic() + _START_SECONDS
    while not answers(url):
        if process(home, "server") is None or time.monotonic() > deadline:
            log = home / "server.log"
            if process(home, "server") is None:
                raise ServiceError(f"the server does not start: see {log}")
            raise ServiceError(
                f"the server has not answered for {_START_SECONDS} s: run it again, or see {log}"
            )
        time.sleep(0.3)


def require_flows() -> None:
    """Raise ServiceError if the flows' dependencies are not installed.

    Prefect is not imported for that: it would read its settings before they are made here.
    """
    sys.path.insert(0, str(ROOT))  # the deployed flows, not others that are installed
    from geoloc.errors import NotInstalledError
    from geoloc.extras import extra

    try:
        with extra("flows", "the service"):
            if find_spec("prefect") is None:
                raise ModuleNotFoundError(name="prefect")
    except NotInstalledError as missing:
        raise ServiceError(str(missing)) from None


def furnish(areas: Sequence[str]) -> None:
    """Set up the server of PREFECT_API_URL: pool, variables, limits, deployments.

    Raises ServiceError if neither the environment nor Prefect's profile names a server.
    """
    import yaml
    from prefect import get_client
    from prefect.automations import Automation
    from prefect.settings import PREFECT_API_URL
    from prefect.variables import Variable

    if not PREFECT_API_URL.value():  # Prefect would start a temporary server
        raise ServiceError("set PREFECT_API_URL to the server, such as http://127.0.0.1:4200/api")
    with get_client(sync_client=True) as client:
        furnish_pool(client)
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


def furnish_pool(client: Any) -> None:
    """Create or update the work pool with the template that accepts no commands.

    Raises ServiceError if a pool of that name is of another type.
    """
    from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
    from prefect.exceptions import ObjectAlreadyExists

    made = WorkPoolCreate(name=POOL, type="process", base_job_template=pool_template())
    try:
        client.create_work_pool(made)
    except ObjectAlreadyExists:
        kind = client.read_work_pool(POOL).type
        if kind != "process":
            raise ServiceError(
                f"the server has a work pool {POOL} of type {kind}: delete it "
                f"(prefect work-pool delete {POOL}), the flows need one of type process"
            ) from None
        client.update_work_pool(POOL, WorkPoolUpdate(base_job_template=pool_template()))


def limit_cubes() -> None:
    """One refresh at a time for the cube of every area that ``geoloc_areas`` names."""
    from flows.refresh_cubes import limit_known_cubes
    from geoloc.errors import GeolocError

    try:
        missing = limit_known_cubes()
    except GeolocError as error:
        raise ServiceError(str(error)) from None
    for area, why in missing.items():
        print(f"note: {area}: its first refresh makes its limit ({why})", file=sys.stderr)


def prefect(*arguments: str) -> None:
    """Run ``prefect ARGUMENTS``. Raises ServiceError with its output."""
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
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    env = environment(home, port)
    url = env["PREFECT_API_URL"]
    if process(home, "server") is not None:
        require_port(home, port)
        close_open_server(home, url, env["PREFECT_API_AUTH_STRING"])
    if process(home, "server") is None:
        if answers(url):
            raise ServiceError(f"port {port} is used by another Prefect: give another --port")
        command = ["deploy/server.py", "--host", "127.0.0.1", "--port", str(port)]
        start(home, "server", command, env, port)
    wait_for_server(home, url)
    os.environ.update(env)
    furnish([str(Path(area).resolve()) for area in areas])
    if process(home, "worker") is None:
        limit = ["--limit", str(runs)] if runs else []
        command = ["-m", "prefect", "worker", "start", "--pool", POOL, *limit]
        start(home, "worker", command, env, port)
    page = entrance(home, port, env["PREFECT_API_AUTH_STRING"])
    print(f"Prefect UI    {page.as_uri()}  (http://127.0.0.1:{port} asks for a password)")
    print(f'for commands  eval "$({shell_command(home)})"')
    print(f"logs          {home}/server.log, {home}/worker.log")


def shell_command(home: Path) -> str:
    """The command that prints the settings of a shell to use this service."""
    return shlex.join([sys.executable, str(ROOT / "deploy/local.py"), "env", "--home", str(home)])


def exports(home: Path) -> str:
    """Shell lines with the service's address and password. Raises ServiceError."""
    port = noted_port(home)
    if port is None or not (home / "password").exists():
        raise ServiceError(f"no service was started in {home}: 'up' first")
    wanted = environment(home, port)
    names = ("PREFECT_API_URL", "PREFECT_API_AUTH_STRING")
    return "\n".join(f"export {name}={shlex.quote(wanted[name])}" for name in names)


def down(home: Path) -> None:
    """Stop the worker, then the server."""
    for name in ("worker", "server"):
        print(f"{name}: {'stopped' if stop(home, name) else 'was not running'}")


def status(home: Path) -> int:
    """Print whether server and worker run; 0 if both do."""
    running = {name: process(home, name) for name in ("server", "worker")}
    for name, one in running.items():
        print(f"{name}: {f'runs as {one.pid}' if one else 'does not run'}")
    return 0 if all(running.values()) else 1


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=("up", "down", "status", "env", "furnish"))
    parser.add_argument("--home", type=Path, default=ROOT / "work" / "service")
    parser.add_argument("--port", type=int, default=4200)
    parser.add_argument("--areas", nargs="*", default=(), help="refreshed every night")
    parser.add_argument("--runs", type=int, default=2, help="flow runs at a time; 0: unlimited")
    given = parser.parse_args()
    home = given.home.resolve()
    try:
        if given.command in ("up", "furnish"):
            require_flows()
        if given.command == "up":
            up(home, given.port, given.areas, given.runs)
        elif given.command == "down":
            down(home)
        elif given.command == "env":
            print(exports(home))
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
