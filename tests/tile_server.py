"""A map server of the tests: tiles made by a function, and faults on demand."""

from __future__ import annotations

import http.server
import io
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .loopback import serving_on_loopback

Render = Callable[[int, int, int], "NDArray[np.uint8] | bytes | None"]
"""zoom, x, y -> ``(y, x, rgb or rgba)`` or the whole body, or None where there is no tile."""


@dataclass
class TileServer:
    """``faults`` are used up one a request, before tiles are served; ``sent``: bytes of bodies."""

    render: Render
    faults: list[str] = field(default_factory=list)
    always: str = ""
    requests: list[str] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    agents: set[str] = field(default_factory=set)
    sent: int = 0
    at_once: int = 0
    most_at_once: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    """Of each tile."""
    port: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def url(self, template: str = "{z}/{x}/{y}.png") -> str:
        return f"{self.root}/{template}"


class _Handler(http.server.BaseHTTPRequestHandler):
    state: TileServer

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        state = self.state
        with state.lock:
            state.requests.append(self.path)
            state.times.append(time.monotonic())
            state.agents.add(self.headers["User-Agent"])
            state.at_once += 1
            state.most_at_once = max(state.most_at_once, state.at_once)
            fault = state.faults.pop(0) if state.faults else state.always
        status, headers, length, body = self.answer(fault)
        with state.lock:  # before it is sent: who has it may ask again at once
            state.at_once -= 1
            state.sent += len(body)
        try:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(length)}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def answer(self, fault: str) -> tuple[int, dict[str, str], int, bytes]:
        """Status, headers, the length that is told, and what is sent."""
        if fault.isdigit() or ":" in fault:
            status, _, after = fault.partition(":")
            return int(status), {"Retry-After": after} if after else {}, 0, b""
        if fault == "stall":
            time.sleep(1.5)
        other = {"html": b"<html>Please log in</html>", "json": b'{"error": "key"}', "empty": b""}
        body = other[fault] if fault in other else self.tile()
        if body is None:
            return 404, {}, 0, b""
        if fault == "half":  # whole by its length, but not a whole picture
            body = body[: len(body) // 2]
        return (
            200,
            self.state.headers,
            len(body),
            body[: len(body) // 2] if fault == "cut" else body,
        )

    def tile(self) -> bytes | None:
        zoom, x, y = map(int, self.path.split("?")[0].split(".")[0].strip("/").split("/")[-3:])
        pixels = self.state.render(zoom, x, y)
        if pixels is None or isinstance(pixels, bytes):
            return pixels
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG", compress_level=1)
        return file.getvalue()


@contextmanager
def serve_tiles(render: Render) -> Iterator[TileServer]:
    """A running server."""
    state = TileServer(render)
    handler = type("Handler", (_Handler,), {"state": state})
    with serving_on_loopback(handler) as state.port:
        yield state
