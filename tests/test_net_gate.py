"""The gate as a proxy: who may use it, where it connects to, and what servers see of it."""

from __future__ import annotations

import base64
import ctypes
import http.server
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import obstore
import obstore.exceptions
import psutil
import pytest
from obstore.store import HTTPStore

from geoloc.net.gate import Gate
from geoloc.net.gated import GateProcess, gate
from geoloc.stores import may_pass, open_objects, reason_of
from tests.loopback import Listener, listening, noting, serving_on_loopback

PROXIES = ("http_proxy", "https_proxy", "all_proxy", "GDAL_HTTP_PROXY")


@pytest.fixture(autouse=True)
def _nothing_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GEOLOC_PRIVATE_HOSTS")
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def server() -> Iterator[Listener]:
    with listening(a=b"A", b=b"B") as state:
        yield state


def _said(guard: Gate, *pieces: str, login: str = "") -> bytes:
    """All that the gate answers, piece by piece; ``login``: ``number:secret``."""
    encoded, found = base64.b64encode(login.encode()).decode(), b""
    with (
        socket.create_connection(("127.0.0.1", guard.port), 10) as client,
        suppress(ConnectionError),
    ):
        for piece in pieces:
            client.sendall(piece.replace("LOGIN", f"Basic {encoded}").encode())
            found += client.recv(1 << 16)
        while back := client.recv(1 << 16):
            found += back
    return found


def _login(guard: Gate, known: str) -> str:
    return str(guard.answer({"known": known})["login"])


def _refusals(guard: Gate, login: str) -> int:
    return int(guard.answer({"number": int(login.partition(":")[0])})["refused"])


def _get(url: str) -> str:
    return f"GET {url} HTTP/1.1\r\nhost: x\r\nproxy-authorization: LOGIN\r\n\r\n"


def _connect(server: Listener) -> str:
    return f"CONNECT 127.0.0.1:{server.port} HTTP/1.1\r\nproxy-authorization: LOGIN\r\n\r\n"


def test_strangers_are_not_served(server: Listener) -> None:
    guard = Gate()
    open_one = _login(guard, f"127.0.0.1:{server.port}").partition(":")[2]
    secret = _login(guard, "elsewhere:1").partition(":")[2]
    for login in ("", "0:", "0:wrong", f"0:{secret}", f"7:{secret}", f"x:{open_one}"):
        for asks in (_get(f"{server.root}/a"), _connect(server)):
            assert _said(guard, asks, login=login) == b""
    assert server.asked == []


def test_only_the_known_place_of_private_ones_is_asked(server: Listener) -> None:
    guard = Gate()
    ours, other = (_login(guard, f"127.0.0.1:{port}") for port in (server.port, 1))
    for asks in (_get(f"{server.root}/a"), _connect(server)):
        refused = _said(guard, asks, login=other)
        assert refused.startswith(b"HTTP/1.1 403 ") and b"127.0.0.1 is a private host" in refused
    assert server.asked == [] and _refusals(guard, other) == 2
    assert _said(guard, _get(f"{server.root}/a"), login=ours).endswith(b"\r\n\r\nA")
    through = _said(guard, _connect(server), "GET /b HTTP/1.0\r\n\r\n", login=ours)
    assert through.startswith(b"HTTP/1.1 200 OK\r\n\r\nHTTP/") and through.endswith(b"\r\n\r\nB")
    assert server.asked == ["/a", "/b"] and _refusals(guard, ours) == 0


def test_a_place_that_does_not_answer() -> None:
    guard = Gate()
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    login = _login(guard, f"127.0.0.1:{port}")
    assert _said(guard, _get(f"http://127.0.0.1:{port}/"), login=login).startswith(b"HTTP/1.1 502 ")


class _Kept(http.server.BaseHTTPRequestHandler):
    """Keeps connections; notes requests as they come."""

    protocol_version = "HTTP/1.1"
    seen: list[tuple[Any, ...]]

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.seen.append((self.client_address[1], self.requestline, self.headers, body))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def do_PUT(self) -> None:
        self.do_GET()


@pytest.fixture
def kept() -> Iterator[tuple[str, list[Any]]]:
    seen: list[Any] = []
    with serving_on_loopback(type("Handler", (_Kept,), {"seen": seen})) as port:
        yield f"http://127.0.0.1:{port}", seen


def test_a_server_sees_nothing_of_the_gate(kept: tuple[str, list[Any]]) -> None:
    url, seen = kept
    store = open_objects(f"{url}/x")
    content = bytes(range(256)) * 2000
    for name in ("a", "b"):
        assert bytes(obstore.get(store, name).bytes()) == b"ok"
    obstore.put(store, "c", content)
    assert isinstance(store, HTTPStore)
    assert [line for _, line, _, _ in seen] == [
        "GET /x/a HTTP/1.1", "GET /x/b HTTP/1.1", "PUT /x/c HTTP/1.1"]  # fmt: skip
    assert seen[2][3] == content
    for _, _, headers, _ in seen:
        assert headers["Host"] == url.removeprefix("http://")
        assert not [name for name in headers if "proxy" in name.lower() or "gate" in name.lower()]
    assert seen[0][0] == seen[1][0]  # one connection


def test_a_connection_stays_with_its_server(kept: tuple[str, list[Any]], server: Listener) -> None:
    guard = Gate()
    login = _login(guard, kept[0].removeprefix("http://"))
    told = _said(guard, _get(f"{kept[0]}/a"), _get(f"{server.root}/a"), login=login)
    assert told.count(b"HTTP/1.1 ") == 1 and server.asked == [] and len(kept[1]) == 1


@contextmanager
def _by_tls(state: Listener, folder: Path) -> Iterator[bytes]:
    """Serves a listener's pages by TLS as well, on the port it is then given; its certificate."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-keyout", key, "-out", certificate, "-days", "3650", "-subj", "/CN=tests",
         "-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with serving_on_loopback(noting(state), context) as state.port:
        yield certificate.read_bytes()


@pytest.mark.skipif(not shutil.which("openssl"), reason="no openssl to make a certificate")
def test_tls_passes_as_it_is(server: Listener, tmp_path: Path) -> None:
    secure = Listener(pages={"/x/a": b"by TLS"})
    with _by_tls(secure, tmp_path) as certificate:
        store = open_objects(f"https://127.0.0.1:{secure.port}/x", root_certificate=certificate)
        assert bytes(obstore.get(store, "a").bytes()) == b"by TLS"
        assert len(secure.asked) == 1
        secure.moved["/x/a"] = f"https://127.0.0.1:{server.port}/a"
        with pytest.raises(obstore.exceptions.BaseError) as refused:
            obstore.get(store, "a")
    assert server.asked == []
    assert "127.0.0.1 is a private host" in reason_of(refused.value)
    assert not may_pass(refused.value)


@pytest.mark.parametrize("odd", ["GET / HTTP/1.1\r\n\r\n", "\x04\x01\0P", "\x16\x03\x01\r\n\r\n"])
def test_bytes_of_another_protocol_are_not_answered(
    odd: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("geoloc.net.proxied._PATIENCE", 0.1)
    assert _said(Gate(), odd) == b""


@pytest.mark.parametrize("name", PROXIES)
def test_a_proxy_of_the_users_own_is_asked_instead(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert gate() is None
    assert (gate(gdal=False) is None) == (name != "GDAL_HTTP_PROXY")


@pytest.mark.parametrize(
    "url", ["s3://bucket/x", "gs://bucket/x", "https://b.s3.eu-west-1.amazonaws.com/x"]
)
def test_clouds_do_not_pass_the_gate(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """They find their keys on private hosts."""
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    assert "proxy_url" not in (open_objects(url).client_options or {})


def test_it_serves_while_python_s_lock_is_held() -> None:
    """As by GDAL, which waits for servers inside of calls that keep it."""
    code = (
        "import http.server as h;"
        "s = h.HTTPServer(('127.0.0.1', 0), h.SimpleHTTPRequestHandler);"
        "print(s.server_port, flush=True); s.handle_request()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        port = int(other.stdout.readline())
        rights = GateProcess().rights(f"127.0.0.1:{port}")
        encoded = base64.b64encode(rights.login.encode()).decode()
        asks = _get(f"http://127.0.0.1:{port}/").replace("LOGIN", f"Basic {encoded}")
        with socket.create_connection(("127.0.0.1", rights.port), 10) as client:
            client.settimeout(None)
            client.sendall(asks.encode())
            answer = ctypes.create_string_buffer(12)
            keeping_the_lock = ctypes.PyDLL(None).recv  # as CDLL's do not
            assert keeping_the_lock(client.fileno(), answer, 12, 0) == 12
    assert answer.raw == b"HTTP/1.0 200"


def test_it_knows_what_is_allowed_now(monkeypatch: pytest.MonkeyPatch) -> None:
    guard = gate()
    assert guard is not None and guard is gate()
    before = guard.rights()
    assert (before.refused, before.reason) == (0, "") and before is guard.rights()
    monkeypatch.setenv("GEOLOC_PRIVATE_HOSTS", "127.0.0.1")
    assert guard.rights() is not before
    assert guard.rights().login.partition(":")[2] not in before.login


def test_it_ends_with_the_process_that_it_serves() -> None:
    code = (
        "import os; from geoloc.net.gated import gate; g = gate(); g.rights();"
        "print(g._process.pid, flush=True); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == -9
    with suppress(psutil.NoSuchProcess):
        psutil.Process(int(done.stdout)).wait(60)


def test_one_that_was_ended_is_started_anew() -> None:
    first = gate()
    assert first is not None
    first._process.kill()
    first._process.wait()
    second = gate()
    assert second is not None and second is not first
    assert second.rights().refused == 0
