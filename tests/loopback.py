"""An HTTP server of the tests, in a thread, on a port of loopback."""

from __future__ import annotations

import http.server
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@contextmanager
def serving_on_loopback(
    handler: Callable[..., http.server.BaseHTTPRequestHandler],
    tls: ssl.SSLContext | None = None,
) -> Iterator[int]:
    """The port of a server that runs for the length of a ``with`` block."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass
class Listener:
    """A server that notes what it is asked for; ``pages`` are bodies by path, all else is 404."""

    port: int = 0
    asked: list[str] = field(default_factory=list)
    pages: dict[str, bytes] = field(default_factory=dict)
    moved: dict[str, str] = field(default_factory=dict)
    """Redirects by path."""
    moved_after: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Redirects by path that begin after so many requests for it."""
    headers: dict[str, str] = field(default_factory=dict)
    """Of every page."""
    headers_of: dict[str, dict[str, str]] = field(default_factory=dict)
    """Of single pages, by path."""

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self.port}"


class _Noting(http.server.BaseHTTPRequestHandler):
    state: Listener

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.state.asked.append(self.path)
        path = self.path.partition("?")[0]
        body = self.state.pages.get(path, b"")
        moved = self.state.moved.get(path) or self._later(path)
        status = 302 if moved else 200 if path in self.state.pages else 404
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        whole = len(body)
        if wanted and body:
            status, body = 206, body[int(wanted[1]) : int(wanted[2]) + 1]
        self.send_response(status)
        if status == 206 and wanted:
            last = int(wanted[1]) + len(body) - 1
            self.send_header("Content-Range", f"bytes {wanted[1]}-{last}/{whole}")
        for name, value in (self.state.headers | self.state.headers_of.get(path, {})).items():
            self.send_header(name, value)
        if moved:
            self.send_header("Location", moved)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _later(self, path: str) -> str | None:
        honest, to = self.state.moved_after.get(path, (0, None))
        return to if self.state.asked.count(path) > honest else None

    def do_HEAD(self) -> None:
        self.do_GET()


def noting(state: Listener) -> type[http.server.BaseHTTPRequestHandler]:
    """The handler of a listener."""
    return type("Handler", (_Noting,), {"state": state})


def pages_of(folder: Path, at: str) -> dict[str, bytes]:
    """All files of a folder, as pages of a listener below a path."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {f"{at}/{path.relative_to(folder).as_posix()}": path.read_bytes() for path in files}


@contextmanager
def listening(**pages: bytes) -> Iterator[Listener]:
    """A running listener."""
    state = Listener(pages={f"/{name}": body for name, body in pages.items()})
    with serving_on_loopback(noting(state)) as state.port:
        yield state


class Dripping(http.server.BaseHTTPRequestHandler):
    """A byte now and then: of the body, or of the head."""

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        if self.path == "/body":
            self.send_response(200)
            self.end_headers()
        try:
            for _ in range(1000):
                self.wfile.write(b"x")
                self.wfile.flush()
                time.sleep(0.1)
        except OSError:
            pass
