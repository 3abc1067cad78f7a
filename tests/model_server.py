"""A web server of the tests that serves a folder, and spoils what it is told to."""

from __future__ import annotations

import functools
import http.server
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .loopback import serving_on_loopback


@dataclass
class ModelServer:
    """``faults``: by file name, ``truncate``, ``alter``, or an HTTP status such as ``403``."""

    folder: Path
    faults: dict[str, str] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    port: int = 0

    def url(self, path: str, user: str = "") -> str:
        return f"http://{user}127.0.0.1:{self.port}/{path}"

    def asked(self, name: str) -> int:
        return sum(path.endswith(f"/{name}") for path in self.requests)


class _Handler(http.server.BaseHTTPRequestHandler):
    def __init__(self, *args: Any, state: ModelServer) -> None:
        self.state = state
        super().__init__(*args)

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.state.requests.append(self.path)
        path = self.state.folder / self.path.lstrip("/")
        fault = self.state.faults.get(path.name, "" if path.is_file() else "404")
        if fault.isdigit():
            self.send_error(int(fault))
            return
        body = path.read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if fault == "alter":
            body = body[:-1] + bytes([body[-1] ^ 1])
        self.wfile.write(body[: len(body) // 2] if fault == "truncate" else body)


@contextmanager
def serving(folder: Path) -> Iterator[ModelServer]:
    """The folder on a port of loopback."""
    state = ModelServer(folder)
    handler = functools.partial(_Handler, state=state)
    with serving_on_loopback(handler) as state.port:
        yield state
