"""The gate through which GDAL and stores reach servers: it checks each of their connections.

They follow redirects by themselves, at the first request and at any later one. No option forbids
that, so all their connections go through a proxy on loopback, which resolves names itself, checks
every address, and connects to the address that it checked: a redirect, a later range request and a
name that has moved meanwhile make no difference. It forwards bytes unchanged, including those of
TLS. GDAL speaks SOCKS to it; stores only support HTTP proxies, whose plain requests
(`net.proxied`) are forwarded as if there were no proxy.

It is a process of its own, started before the first request to a server, and it ends with the
process that it serves: GDAL may wait for servers while it holds Python's lock, and a proxy in
threads of the same process would then wait for GDAL.
"""

from __future__ import annotations

import json
import secrets
import select
import socket
import sys
import threading
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from typing import Any

from .hosts import addresses, refused_address
from .proxied import ProxyRequest, read_request

_CONNECT = 10.0  # s, as GDAL's own
_PIECE = 1 << 18  # bytes
_REFUSED, _FAILED, _CONNECTED = 2, 4, 0  # replies of RFC 1928
_CONNECT_COMMAND, _IPV4, _NAME, _IPV6 = 1, 1, 3, 4  # its command, and kinds of addresses
_VERSION, _REST = b"\5", b"\0\1" + bytes(6)


@dataclass
class Visit:
    """Connections with the same rights. ``known``: a host and port, named by the user, that may be
    private.

    ``shut``: no connection is allowed. ``allowed``: private hosts, as in
    `geoloc.net.hosts.ALLOWED`. ``refused``: how many were refused; ``reason``: of the last one.
    """

    known: str = ""
    shut: bool = False
    allowed: str = ""
    refused: int = 0
    reason: str = ""
    secret: str = field(default_factory=lambda: secrets.token_hex(16), repr=False)


class Gate:
    """A SOCKS5 and HTTP proxy: clients with the secret of a `Visit` get its rights."""

    def __init__(self) -> None:
        self._visits: list[Visit] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        threading.Thread(target=self._serve, name="geoloc-gate", daemon=True).start()

    @property
    def port(self) -> int:
        """The port on loopback."""
        return int(self._listener.getsockname()[1])

    def answer(self, question: dict[str, Any]) -> dict[str, Any]:
        """Answer the served process: a new visit, or the refusals of an existing one."""
        if "number" in question:
            visit = self._visits[question["number"]]
            return {"refused": visit.refused, "reason": visit.reason}
        visit = Visit(**question)
        self._visits.append(visit)
        return {"login": f"{len(self._visits) - 1}:{visit.secret}", "port": self.port}

    def _serve(self) -> None:
        while True:
            client, _ = self._listener.accept()
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._pass, args=(client,), daemon=True).start()

    def _pass(self, client: socket.socket) -> None:
        with client, suppress(OSError, ValueError, EOFError, IndexError):
            speaks_socks = client.recv(1, socket.MSG_PEEK) == _VERSION
            (self._pass_socks if speaks_socks else self._pass_web)(client)

    def _pass_socks(self, client: socket.socket) -> None:
        visit = self._authenticated(client)
        code, server = _connected(visit, *_requested_place(client))
        with server or nullcontext():
            client.sendall(_VERSION + bytes([code]) + _REST)
            if server is not None:
                _exchange(client, server)

    def _pass_web(self, client: socket.socket) -> None:
        request = read_request(client)
        visit = self._admitted(request.user, request.password)
        code, server = _connected(visit, request.host, request.port)
        if server is None:
            client.sendall(_error_response(code, visit))
            return
        with server:
            if request.tunnel:
                client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                server.sendall(request.onward)
                _exchange(client, server)
            else:
                _pass_requests(client, server, request)

    def _authenticated(self, client: socket.socket) -> Visit:
        """Authenticate by user and password (RFC 1929). Raises ValueError for strangers."""
        _, count = _exactly(client, 2)
        _exactly(client, count)
        client.sendall(_VERSION + b"\2")
        _exactly(client, 1)
        user, password = (_exactly(client, _exactly(client, 1)[0]).decode() for _ in range(2))
        visit = self._admitted(user, password)
        client.sendall(b"\1\0")
        return visit

    def _admitted(self, user: str, password: str) -> Visit:
        """The visit of a client. Raises ValueError for strangers."""
        visit = self._visits[int(user)]
        if not secrets.compare_digest(password.encode(), visit.secret.encode()):
            raise ValueError("not known")
        return visit


def serve() -> None:
    """Be the gate of the parent process, which sends its requests as lines of JSON."""
    guard = Gate()
    for line in sys.stdin:
        print(json.dumps(guard.answer(json.loads(line))), flush=True)


def _requested_place(client: socket.socket) -> tuple[str, int]:
    """Host and port to connect to. Raises ValueError for an invalid request."""
    _, command, _, kind = _exactly(client, 4)
    if command != _CONNECT_COMMAND or kind not in (_IPV4, _NAME, _IPV6):
        raise ValueError("not known")
    if kind == _NAME:
        host = _exactly(client, _exactly(client, 1)[0]).decode()
    else:
        family = socket.AF_INET if kind == _IPV4 else socket.AF_INET6
        host = socket.inet_ntop(family, _exactly(client, 4 if kind == _IPV4 else 16))
    return host, int.from_bytes(_exactly(client, 2), "big")


def _connected(visit: Visit, host: str, port: int) -> tuple[int, socket.socket | None]:
    """The code for the client, and the server if it is allowed and reachable."""
    resolved = addresses(host, port)
    if reason := _reason_to_refuse(visit, host, port, resolved):
        visit.refused, visit.reason = visit.refused + 1, reason
        return _REFUSED, None
    for address in resolved:
        with suppress(OSError):
            server = socket.create_connection((address, port), _CONNECT)
            server.settimeout(None)
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return _CONNECTED, server
    return _FAILED, None


def _error_response(code: int, visit: Visit) -> bytes:
    """The HTTP response if there is no connection to the server."""
    refused = code == _REFUSED
    body = (visit.reason if refused else "the server cannot be reached").encode()
    status = "403 Forbidden" if refused else "502 Bad Gateway"
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body


def _reason_to_refuse(visit: Visit, host: str, port: int, resolved: list[str]) -> str:
    if visit.shut:
        return f"a file on this disk must not reach servers, but names {host}"
    if visit.known == f"{host.lower()}:{port}":
        return ""
    reasons = (refused_address(host, port, address, visit.allowed) for address in resolved)
    return next(filter(None, reasons), "")


def _pass_requests(client: socket.socket, server: socket.socket, first: ProxyRequest) -> None:
    """Forward requests until a side closes or the client names another server or user."""
    request = first
    while request.identity == first.identity:
        server.sendall(request.onward)
        _pass_body(client, server, request.missing)
        if not _answered(client, server):
            return
        request = read_request(client)


def _pass_body(client: socket.socket, server: socket.socket, missing: int) -> None:
    while missing:
        if not (piece := client.recv(min(missing, _PIECE))):
            raise EOFError
        server.sendall(piece)
        missing -= len(piece)


def _answered(client: socket.socket, server: socket.socket) -> bool:
    """Forward the server's bytes until the client sends or closes; False: the server closed."""
    buffer = bytearray(_PIECE)
    while server in _ready(client, server):
        if not (count := server.recv_into(buffer)):
            return False
        client.sendall(memoryview(buffer)[:count])
    return True


def _exchange(client: socket.socket, server: socket.socket) -> None:
    """Forward bytes until one side closes."""
    buffer = bytearray(_PIECE)
    across = {client: server, server: client}
    while True:
        for one in _ready(client, server):
            if not (count := one.recv_into(buffer)):
                return
            across[one].sendall(memoryview(buffer)[:count])


def _ready(*sockets: socket.socket) -> list[socket.socket]:
    """Wait for sockets that are readable or closed; any number of them, unlike `select`."""
    poll = select.poll()
    for one in sockets:
        poll.register(one, select.POLLIN)
    ready = {number for number, _ in poll.poll()}
    return [one for one in sockets if one.fileno() in ready]


def _exactly(client: socket.socket, count: int) -> bytes:
    content = b""
    while len(content) < count:
        if not (piece := client.recv(count - len(content))):
            raise EOFError
        content += piece
    return content
