"""A request to an HTTP proxy: to whom it shall go, who asks, and what is passed on.

Read from a client within bounds of size and time; nothing is connected to here (`geoloc.net.gate`).
"""

from __future__ import annotations

import base64
import re
import socket
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

TICKET = "geoloc-gate"
"""A header ``user:password`` beside ``Proxy-Authorization``, which clients drop at a redirect."""

_MOST_HEAD = 1 << 16  # bytes
_PATIENCE = 10.0  # s until the head is there
_PIECE = 1 << 16
_WEB_PORT = 80
_WEB = re.compile(r"http://([^/?#\s]+)([^#\s]*)")
_OWN = ("proxy-authorization", "proxy-connection", "connection", "keep-alive", TICKET)
"""Headers meant for the proxy, which does not pass them on."""


@dataclass(frozen=True)
class ProxyRequest:
    """One request. ``tunnel``: bytes are passed both ways from now on (CONNECT).

    ``onward``: the bytes for the server, as it is asked without a proxy; of a body what has come,
    and ``missing`` bytes more of it follow.
    """

    host: str
    port: int
    user: str
    password: str
    tunnel: bool
    onward: bytes
    missing: int

    @property
    def whom(self) -> tuple[str, int, str, str, bool]:
        """All that may not change from one request of a connection to the next."""
        return self.host, self.port, self.user, self.password, self.tunnel


def read_request(client: socket.socket) -> ProxyRequest:
    """The next request of a client.

    Raises ValueError for what is none, or is too long, EOFError and OSError where it does not come.
    """
    head, body = _read_head(client)
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ")
    told = {name.lower(): value.strip() for name, _, value in (one.partition(":") for one in lines)}
    place, path = (target, "") if method == "CONNECT" else _split(target)
    missing = int(told.get("content-length", 0)) - len(body)
    if path and ("transfer-encoding" in told or missing < 0):
        raise ValueError("a body of unknown length")
    parts = urlsplit(f"//{place}")
    return ProxyRequest(
        parts.hostname or "",
        parts.port or _WEB_PORT,
        *_login(told),
        tunnel=not path,
        onward=(_head_onward(method, path, told) if path else b"") + body,
        missing=max(missing, 0),
    )


def _head_onward(method: str, path: str, told: dict[str, str]) -> bytes:
    kept = [f"{name}: {value}" for name, value in told.items() if name not in _OWN]
    lines = [f"{method} {path} HTTP/1.1", *kept, "", ""]
    return "\r\n".join(lines).encode("latin-1")


def _split(target: str) -> tuple[str, str]:
    """Host with port, and path, of an address in full."""
    found = _WEB.fullmatch(target)
    if found is None:
        raise ValueError("no address in full")
    return found[1], found[2] if found[2].startswith("/") else f"/{found[2]}"


def _login(told: dict[str, str]) -> tuple[str, str]:
    """User and password (RFC 7617)."""
    encoded = told.get("proxy-authorization", "").partition(" ")[2]
    user, _, password = (told.get(TICKET) or base64.b64decode(encoded).decode()).partition(":")
    return user, password


def _read_head(client: socket.socket) -> tuple[bytes, bytes]:
    """The head without its empty line, and what came behind it."""
    found, end = bytearray(), time.monotonic() + _PATIENCE
    while b"\r\n\r\n" not in found:
        if len(found) > _MOST_HEAD:
            raise ValueError("too long")
        client.settimeout(max(end - time.monotonic(), 0.001))
        if not (piece := client.recv(_PIECE)):
            raise EOFError
        found += piece
    client.settimeout(None)
    head, _, body = bytes(found).partition(b"\r\n\r\n")
    return head, body
