"""A request to an HTTP proxy: its server, its user, and the bytes to forward.

Read from a client within limits of size and time; connections are made by `geoloc.net.gate`.
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
_PATIENCE = 10.0  # s until the head is complete
_PIECE = 1 << 16
_WEB_PORT = 80
_WEB = re.compile(r"http://([^/?#\s]+)([^#\s]*)")
_OWN = ("proxy-authorization", "proxy-connection", "connection", "keep-alive", TICKET)
"""Headers for the proxy, which it does not forward."""


@dataclass(frozen=True)
class ProxyRequest:
    """One request. ``tunnel``: bytes are forwarded both ways from now on (CONNECT).

    ``onward``: the bytes for the server, as without a proxy, with the part of the body received so
    far; ``missing`` bytes of it follow.
    """

    host: str
    port: int
    user: str
    password: str
    tunnel: bool
    onward: bytes
    missing: int

    @property
    def identity(self) -> tuple[str, int, str, str, bool]:
        """Everything that must not change between requests of one connection."""
        return self.host, self.port, self.user, self.password, self.tunnel


def read_request(client: socket.socket) -> ProxyRequest:
    """The next request of a client.

    Raises ValueError for an invalid or overlong one, EOFError and OSError if none arrives.
    """
    head, body = _read_head(client)
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ")
    fields = (line.partition(":") for line in lines)
    headers = {name.lower(): value.strip() for name, _, value in fields}
    place, path = (target, "") if method == "CONNECT" else _split(target)
    missing = int(headers.get("content-length", 0)) - len(body)
    if path and ("transfer-encoding" in headers or missing < 0):
        raise ValueError("a body of unknown length")
    parts = urlsplit(f"//{place}")
    return ProxyRequest(
        parts.hostname or "",
        parts.port or _WEB_PORT,
        *_login(headers),
        tunnel=not path,
        onward=(_head_onward(method, path, headers) if path else b"") + body,
        missing=max(missing, 0),
    )


def _head_onward(method: str, path: str, headers: dict[str, str]) -> bytes:
    kept = [f"{name}: {value}" for name, value in headers.items() if name not in _OWN]
    lines = [f"{method} {path} HTTP/1.1", *kept, "", ""]
    return "\r\n".join(lines).encode("latin-1")


def _split(target: str) -> tuple[str, str]:
    """Host with port, and path, of an absolute URL."""
    match = _WEB.fullmatch(target)
    if match is None:
        raise ValueError("not an absolute URL")
    return match[1], match[2] if match[2].startswith("/") else f"/{match[2]}"


def _login(headers: dict[str, str]) -> tuple[str, str]:
    """User and password (RFC 7617)."""
    encoded = headers.get("proxy-authorization", "").partition(" ")[2]
    user, _, password = (headers.get(TICKET) or base64.b64decode(encoded).decode()).partition(":")
    return user, password


def _read_head(client: socket.socket) -> tuple[bytes, bytes]:
    """The head without its empty line, and the bytes received after it."""
    received, end = bytearray(), time.monotonic() + _PATIENCE
    while b"\r\n\r\n" not in received:
        if len(received) > _MOST_HEAD:
            raise ValueError("too long")
        client.settimeout(max(end - time.monotonic(), 0.001))
        if not (piece := client.recv(_PIECE)):
            raise EOFError
        received += piece
    client.settimeout(None)
    head, _, body = bytes(received).partition(b"\r\n\r\n")
    return head, body
