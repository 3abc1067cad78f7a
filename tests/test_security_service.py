"""Attacks on the service of one machine: what a web page in the investigator's browser may try.

The service is the real one on loopback; the stranger's page lies on another port of loopback.
"""

from __future__ import annotations

import base64
import http.server
import importlib.util
import json
import stat
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.loopback import serving_on_loopback
from tests.service import ROOT, Service, fetch, running, wait

STRANGER = "http://evil.example"
WRITES = [
    "deployments/filter", "flow_runs/filter", "flow_runs/", "variables/", "work_pools/",
    "work_pools/filter", "block_documents/filter", "deployments/", "automations/",
    "admin/database/clear",
]  # fmt: skip


def _local() -> Any:
    spec = importlib.util.spec_from_file_location("deploy_local", ROOT / "deploy/local.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


local = _local()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running(tmp_path_factory.mktemp("service")) as service:
        yield service


def _processes(service: Service) -> list[psutil.Process]:
    first = [psutil.Process(json.loads((service.home / f"{name}.json").read_text())[0])
             for name in ("server", "worker")]  # fmt: skip
    return [member for process in first for member in (process, *process.children(recursive=True))]


def _basic(secret: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(secret.encode()).decode()}


@pytest.mark.slow
@pytest.mark.parametrize("path", WRITES)
@pytest.mark.parametrize("kind", ["text/plain", "application/json", None])
def test_a_simple_post_of_a_page_is_not_heard(
    service: Service, path: str, kind: str | None
) -> None:
    """What a form or ``fetch(…, {mode: "no-cors"})`` sends without asking first."""
    headers = {"Origin": STRANGER, **({"Content-Type": kind} if kind else {})}
    answer = fetch("POST", f"{service.page}/api/{path}", content=b"{}", headers=headers)
    assert answer.status_code == 401
    assert "access-control-allow-origin" not in answer.headers
    assert answer.json() == {"exception_message": "Unauthorized"}


@pytest.mark.slow
@pytest.mark.parametrize("origin", [STRANGER, "null", "http://127.0.0.1:1", "https://127.0.0.1"])
@pytest.mark.parametrize("wanted", ["content-type", "authorization,content-type"])
def test_a_preflight_of_another_origin_is_refused(
    service: Service, origin: str, wanted: str
) -> None:
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": wanted,
    }
    answer = fetch("OPTIONS", f"{service.page}/api/deployments/filter", headers=asked)
    assert answer.status_code == 400
    assert "access-control-allow-origin" not in answer.headers
    own = fetch(
        "OPTIONS",
        f"{service.page}/api/deployments/filter",
        headers={**asked, "Origin": service.page},
    )
    assert own.status_code == 200
    assert own.headers["access-control-allow-origin"] == service.page


@pytest.mark.slow
@pytest.mark.parametrize("path", ["api/health", "api/admin/version", "", "ui-settings", "sign-in"])
@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:4200", "127.0.0.1.evil.example", ""]
)
def test_a_name_that_was_pointed_at_this_machine_is_refused(
    service: Service, path: str, host: str
) -> None:
    """DNS rebinding: the page's own name leads to loopback, so that it is of the same origin."""
    headers = {"Host": host, **_basic(service.password)}
    answer = fetch("GET", f"{service.page}/{path}", headers=headers)
    assert answer.status_code == 400
    assert answer.text in ("Invalid host header", "Invalid HTTP request received.")


@pytest.mark.slow
def test_only_the_password_opens_and_nobody_else_reads_it(service: Service) -> None:
    about = f"{service.page}/api/admin/version"
    assert fetch("GET", about).status_code == 401
    for wrong in (":", "wrong", service.password[:-1], f"prefect:{service.password}"):
        assert fetch("GET", about, headers=_basic(wrong)).status_code == 401
    assert fetch("GET", about, headers=_basic(service.password)).status_code == 200
    assert len(service.password) >= 32
    for name in ("password", "ui.html"):
        assert stat.S_IMODE((service.home / name).stat().st_mode) == 0o600
    assert (service.home / "password").read_text().strip() == service.password


@pytest.mark.slow
def test_the_shell_that_took_the_settings_may_ask(service: Service) -> None:
    hidden = ("PREFECT_API_URL", "PREFECT_API_AUTH_STRING")
    bare = {name: value for name, value in service.environment.items() if name not in hidden}
    asked = 'eval "$("$PYTHON" deploy/local.py env --home "$PLACE")" && "$PYTHON" -m prefect {}'
    done = subprocess.run(
        ["sh", "-c", asked.format("deployment ls")],
        env={**bare, "PYTHON": sys.executable, "PLACE": str(service.home)},
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "query-photo" in done.stdout
    assert not _found(service.password, done.stdout + done.stderr)


def _found(password: str, text: str) -> bool:
    """Whether the password stands there, as it is or as it is sent."""
    return any(word in text for word in (password, _basic(password)["Authorization"][6:-2]))


@pytest.mark.slow
@pytest.mark.parametrize("path", ["events/out", "events/in", "logs/out",
                                  "task_runs/subscriptions/scheduled"])  # fmt: skip
@pytest.mark.parametrize("token", [None, "wrong"])
def test_no_socket_is_opened_without_the_password(
    service: Service, path: str, token: str | None
) -> None:
    """Browsers let any page open a WebSocket: no CORS holds there."""
    address = f"ws://127.0.0.1:{service.port}/api/{path}"
    with (
        pytest.raises(ConnectionClosed),
        connect(address, origin=STRANGER, subprotocols=["prefect"]) as socket,
    ):
        socket.send(json.dumps({"type": "auth", "token": token}))
        assert "success" not in str(socket.recv(timeout=10))
        socket.recv(timeout=10)


COMMANDS = [
    {"command": "sh -c 'touch {mark}'"},
    {"env": {"PYTHONSTARTUP": "{mark}", "LD_PRELOAD": "{mark}"}},
    {"env.PATH": "{mark}"},
    {"working_dir": "{mark}"},
    {"stream_output": False},
    {"labels": {"a": "b"}},
    {"name": "{mark}"},
]


@pytest.mark.slow
@pytest.mark.parametrize("variables", COMMANDS, ids=lambda found: next(iter(found)))
def test_a_run_cannot_bring_its_own_command(
    service: Service, tmp_path: Path, variables: dict[str, Any]
) -> None:
    """Not for one who has the password either."""
    mark = tmp_path / "mark"
    given = json.loads(json.dumps(variables).replace("{mark}", str(mark)))
    made = service.deployment("query-photo")
    parameters = {"cube": "/none.zarr", "photos": ["/none.jpg"], "out": str(tmp_path / "out")}
    path = f"deployments/{made['id']}/create_flow_run"
    body = {"parameters": parameters, "state": {"type": "SCHEDULED"}, "job_variables": given}
    bare = fetch("POST", f"{service.page}/api/{path}", json=body, headers={"Origin": STRANGER})
    assert bare.status_code == 401
    with pytest.raises(httpx.HTTPStatusError) as refused:
        service.ask(path, **body)
    assert refused.value.response.status_code == 422
    assert not mark.exists()


def test_the_pool_has_no_place_for_a_command() -> None:
    template = local.pool_template()
    assert template["job_configuration"] == {"stream_output": True}
    assert "{{" not in json.dumps(template)
    assert template["variables"]["properties"] == {}
    assert template["variables"]["additionalProperties"] is False


def _template(service: Service, **template: Any) -> Any:
    """The pool's template, as it is or changed to this."""
    address, headers = f"{service.page}/api/work_pools/geoloc", _basic(service.password)
    if template:
        body = {"base_job_template": template}
        changed = partial(fetch, "PATCH", address, json=body, headers=headers)
        wait("change of the pool", lambda: changed().status_code == 204)  # 503: a busy database
    return fetch("GET", address, headers=headers).json()["base_job_template"]


@pytest.mark.slow
def test_what_a_server_lets_through_the_worker_does_not_run(
    service: Service, tmp_path: Path
) -> None:
    """With a pool whose schema takes everything: a run with a command is a plain run."""
    fixed = local.pool_template()["job_configuration"]
    _template(service, job_configuration=fixed, variables={"type": "object", "properties": {}})
    mark = tmp_path / "mark"
    named = {"command": f"sh -c 'touch {mark}'", "env": {"GEOLOC_MODELS": str(mark)},
             "working_dir": str(mark)}  # fmt: skip
    made = service.ask(
        f"deployments/{service.deployment('search-scene')['id']}/create_flow_run",
        parameters={"cube": "/none.zarr", "scene": "bridge", "out": str(tmp_path)},
        state={"type": "SCHEDULED"}, job_variables=named,
    )  # fmt: skip
    ended = service.finished(made["id"])
    assert ended["job_variables"] == named
    assert "/none.zarr" in ended["state"]["message"]
    assert not mark.exists()


@pytest.mark.slow
def test_a_pool_of_an_earlier_version_is_closed_and_nothing_shows_the_password(
    service: Service,
) -> None:
    opened = {"command": {"type": "string"}, "env": {"type": "object"}}
    _template(
        service,
        job_configuration={"command": "{{ command }}", "env": "{{ env }}"},
        variables={"type": "object", "properties": opened},
    )
    again = service.local("up")
    assert again.returncode == 0, again.stderr
    assert _template(service) == local.pool_template()
    lines = [" ".join(process.cmdline()) for process in _processes(service)]
    logs = [log.read_text(errors="replace") for log in service.home.glob("*.log")]
    assert len(lines) >= 2
    assert len(logs) == 2
    for text in (again.stdout + again.stderr, *lines, *logs):
        assert not _found(service.password, text)


class _Open(http.server.BaseHTTPRequestHandler):
    """A server of an earlier version: it hears everybody."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None: ...


@pytest.mark.slow
def test_a_running_server_that_hears_everybody_is_told_from_a_closed_one(service: Service) -> None:
    """``up`` starts the former anew."""
    with serving_on_loopback(_Open) as port:
        assert local.accepts(f"http://127.0.0.1:{port}/api", None)
    closed = f"{service.page}/api"
    assert not local.accepts(closed, None)
    assert not local.accepts(closed, "another")
    assert local.accepts(closed, service.password)


PAGE = """<!doctype html><title>stranger</title><script>
const api = "ADDRESS/api/", told = {};
const tries = {
  list: () => fetch(api + "deployments/filter", {method: "POST", body: "{}",
    headers: {"Content-Type": "application/json"}}),
  simple: () => fetch(api + "deployments/filter", {method: "POST", body: "{}"}),
  typeless: () => fetch(api + "deployments/filter", {method: "POST",
    body: new Blob([new TextEncoder().encode("{}")])}),
  health: () => fetch(api + "health"),
  cookies: () => fetch(api + "admin/version", {credentials: "include"}),
};
(async () => {
  for (const [name, ask] of Object.entries(tries))
    told[name] = await ask().then(async r => r.status + " " + await r.text(), e => "" + e);
  told.blind = await fetch(api + "flow_runs/", {method: "POST", mode: "no-cors", body: "{}"})
    .then(r => r.type, e => "" + e);
  told.socket = await new Promise(done => {
    const socket = new WebSocket("ADDRESS/api/events/out".replace("http", "ws"), ["prefect"]);
    socket.onopen = () => socket.send('{"type": "auth", "token": null}');
    socket.onmessage = event => done("heard " + event.data);
    socket.onclose = event => done("closed " + event.code);
  });
  window.told = told;
})();
</script>"""


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None: ...


@pytest.mark.slow
def test_a_page_of_another_origin_learns_and_does_nothing(
    service: Service, tmp_path: Path, browser: Any
) -> None:
    """In a browser whose owner is signed in to Prefect."""
    (tmp_path / "index.html").write_text(PAGE.replace("ADDRESS", service.page))
    owner = service.signed_in(browser, width=800, height=600)
    runs = service.ask("flow_runs/count")
    handler = partial(_Quiet, directory=str(tmp_path))
    with serving_on_loopback(handler) as port:
        page = owner.context.new_page()
        page.goto(f"http://127.0.0.1:{port}/index.html")
        page.wait_for_function("window.told", timeout=60_000)
        told = page.evaluate("window.told")
    owner.context.close()
    failed = "TypeError: Failed to fetch"
    assert {name: told[name] for name in ("list", "simple", "typeless", "health", "cookies")} == (
        dict.fromkeys(("list", "simple", "typeless", "health", "cookies"), failed)
    )
    assert told["blind"] == "opaque"  # sent, unread, and answered 401 as the tests above show
    assert told["socket"] == "closed 1008"
    assert service.ask("flow_runs/count") == runs


@pytest.mark.slow
def test_the_owners_page_opens_prefects_and_a_wrong_one_does_not(
    service: Service, browser: Any
) -> None:
    page = service.signed_in(browser, width=1200, height=800)
    page.goto(f"{service.page}/deployments")
    page.get_by_text("query-photo").first.wait_for(timeout=60_000)
    page.context.close()
    for body in (b"password=wrong", b"", b"password=", b"password=" + b"x" * 10_000_000):
        answer = fetch(
            "POST", f"{service.page}/sign-in", content=body, headers={"Origin": STRANGER}
        )
        assert answer.status_code == 401
        assert answer.text == "wrong password"


def test_a_password_that_others_may_read_is_refused(tmp_path: Path) -> None:
    first = local.password(tmp_path)
    assert local.password(tmp_path) == first
    assert stat.S_IMODE((tmp_path / "password").stat().st_mode) == 0o600
    (tmp_path / "password").chmod(0o640)
    with pytest.raises(local.ServiceError, match="is readable by others: delete it"):
        local.password(tmp_path)
    (tmp_path / "password").unlink()
    assert local.password(tmp_path) != first


def test_an_empty_password_is_refused(tmp_path: Path) -> None:
    (tmp_path / "password").touch(mode=0o600)
    with pytest.raises(local.ServiceError, match="is empty: delete it"):
        local.password(tmp_path)


@pytest.mark.slow
def test_the_server_does_not_start_without_a_password(service: Service) -> None:
    bare = {name: value for name, value in service.environment.items() if "AUTH" not in name}
    done = subprocess.run(
        [sys.executable, ROOT / "deploy/server.py", "--port", "1"],
        env=bare, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: set PREFECT_SERVER_API_AUTH_STRING: ")
