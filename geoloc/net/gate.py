"""The gate through which GDAL and stores ask servers: each connection is judged, whoever wants it.

They follow redirects by themselves, at the first request and at any later one. No option forbids
that, so all their connections go through a proxy on loopback, which looks names up itself, judges
every address, and connects to the one that it judged: a redirect, a later range and a name that
has moved meanwhile are all the same to it. It passes bytes on as they are, those of TLS as well.
GDAL speaks SOCKS to it; stores know HTTP proxies alone, whose plain requests (`net.proxied`) go
on as if there were none.

It is a process of its own, started when a server may first be asked, and it ends with the process
that it serves: GDAL waits for servers in places where it keeps Python's lock, and a proxy in
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
_REFUSED, _FAILED, _CONNECTED = 2, 4, 0  # RFC 1928
_VERSION, _REST = b"\5", b"\0\1" + bytes(6)


@dataclass
class Visit:
    """Connections of one kind. ``known``: host and port that may be private, as the user names it.

    ``shut``: nothing may be asked at all. ``allowed``: private hosts, as `geoloc.net.hosts.ALLOWED`
    has them. ``refused``: how many connections were refused, and why the last was.
    """

    known: str = ""
    shut: bool = False
    allowed: str = ""
    refused: int = 0
    reason: str = ""
    secret: str = field(default_factory=lambda: secrets.token_hex(16), repr=False)


class Gate:
    """A SOCKS5 and HTTP proxy: who knows the secret of a `Visit` is served, with its rights."""

    def __init__(self) -> None:
        self._visits: list[Visit] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        threading.Thread(target=self._serve, name="geoloc-gate", daemon=True).start()

    @property
    def port(self) -> int:
        """Of loopback."""
        return int(self._listener.getsockname()[1])

    def answer(self, question: dict[str, Any]) -> dict[str, Any]:
        """What is asked by the process that is served: a new visit, or how one has fared."""
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
        visit = self._greeted(client)
        code, server = _connected(visit, *_asked(client))
        with server or nullcontext():
            client.sendall(_VERSION + bytes([code]) + _REST)
            if server is not None:
                _exchange(client, server)

    def _pass_web(self, client: socket.socket) -> None:
        request = read_request(client)
        visit = self._admitted(request.user, request.password)
        code, server = _connected(visit, request.host, request.port)
        if server is None:
            client.sendall(_told(code, visit))
            return
        with server:
            if request.tunnel:
                client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                server.sendall(request.onward)
                _exchange(client, server)
            else:
                _pass_requests(client, server, request)

    def _greeted(self, client: socket.socket) -> Visit:
        """By user and password (RFC 1929). Raises ValueError for strangers."""
        _, count = _exactly(client, 2)
        _exactly(client, count)
        client.sendall(_VERSION + b"\2")
        _exactly(client, 1)
        user, password = (_exactly(client, _exactly(client, 1)[0]).decode() for _ in range(2))
        visit = self._admitted(user, password)
        client.sendall(b"\1\0")
        return visit

    def _admitted(self, user: str, password: str) -> Visit:
        """Raises ValueError for strangers."""
        visit = self._visits[int(user)]
        if not secrets.compare_digest(password.encode(), visit.secret.encode()):
            raise ValueError("not known")
        return visit


def serve() -> None:
    """Be the gate of the process that started this one, whose questions come as lines of JSON."""
    guard = Gate()
    for line in sys.stdin:
        print(json.dumps(guard.answer(json.loads(line))), flush=True)


def _asked(client: socket.socket) -> tuple[str, int]:
    """Host and port that shall be connected to. Raises ValueError for anything else."""
    _, command, _, kind = _exactly(client, 4)
    if command != 1 or kind not in (1, 3, 4):
        raise ValueError("not known")
    if kind == 3:
        host = _exactly(client, _exactly(client, 1)[0]).decode()
    else:
        family = socket.AF_INET if kind == 1 else socket.AF_INET6
        host = socket.inet_ntop(family, _exactly(client, 4 if kind == 1 else 16))
    return host, int.from_bytes(_exactly(client, 2), "big")


def _connected(visit: Visit, host: str, port: int) -> tuple[int, socket.socket | None]:
    """The server, where it may be asked and answers; before it what the client is told."""
    found = addresses(host, port)
    if reason := _reason_to_refuse(visit, host, port, found):
        visit.refused, visit.reason = visit.refused + 1, reason
        return _REFUSED, None
    for address in found:
        with suppress(OSError):
            server = socket.create_connection((address, port), _CONNECT)
            server.settimeout(None)
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return _CONNECTED, server
    return _FAILED, None


def _told(code: int, visit: Visit) -> bytes:
    """An answer of HTTP where there is no server."""
    refused = code == _REFUSED
    body = (visit.reason if refused else "the server cannot be reached").encode()
    status = "403 Forbidden" if refused else "502 Bad Gateway"
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body


def _reason_to_refuse(visit: Visit, host: str, port: int, found: list[str]) -> str:
    if visit.shut:
        return f"no server is asked for a file of this disk, which names {host}"
    if visit.known == f"{host.lower()}:{port}":
        return ""
    told = (refused_address(host, port, address, visit.allowed) for address in found)
    return next(filter(None, told), "")


def _pass_requests(client: socket.socket, server: socket.socket, first: ProxyRequest) -> None:
    """One after another until a side ends, or the client asks another server, or as another."""
    request = first
    while request.whom == first.whom:
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
    """Pass on what the server says until the client goes on, or ends; False: the server ended."""
    buffer = bytearray(_PIECE)
    while server in _ready(client, server):
        if not (count := server.recv_into(buffer)):
            return False
        client.sendall(memoryview(buffer)[:count])
    return True


def _exchange(client: socket.socket, server: socket.socket) -> None:
    """Pass bytes on until one side ends."""
    buffer = bytearray(_PIECE)
    across = {client: server, server: client}
    while True:
        for one in _ready(client, server):
            if not (count := one.recv_into(buffer)):
                return
            across[one].sendall(memoryview(buffer)[:count])


def _ready(*sockets: socket.socket) -> list[socket.socket]:
    """Those that have something, or have ended, once one has; of any number, unlike `select`."""
    poll = select.poll()
    for one in sockets:
        poll.register(one, select.POLLIN)
    found = {number for number, _ in poll.poll()}
    return [one for one in sockets if one.fileno() in found]


def _exactly(one: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        if not (piece := one.recv(count - len(found))):
            raise EOFError
        found += piece
    return found
