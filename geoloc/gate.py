"""The gate through which GDAL asks servers: each connection is judged, whoever asked for it.

GDAL follows redirects by itself, at the first request and at any later one. No option forbids
that, so all its connections go through a SOCKS server of this process, on loopback, which looks
names up itself, judges every address, and connects to the one that it judged: a redirect, a later
range and a name that has moved meanwhile are all the same to it. It passes bytes on as they are,
those of TLS as well.

Who has a proxy set reaches servers through that alone, which looks names up elsewhere: then names
are judged before a file is opened (`geoloc.imagery.redirects`), and nothing more is.
"""

from __future__ import annotations

import functools
import os
import re
import secrets
import select
import socket
import threading
import urllib.request
from contextlib import suppress
from dataclasses import dataclass

from .hosts import addresses, place_of, refused_address

_CONNECT = 10.0  # s, as GDAL's own
_PIECE = 1 << 18  # bytes
_REFUSED, _FAILED, _CONNECTED = 2, 4, 0  # RFC 1928
_REST = b"\0\1" + bytes(6)
_WEB = re.compile(r"https?://[^/?#\s]+")


@dataclass
class Visit:
    """Connections of one kind. ``known``: host and port that may be private, as the user names it.

    ``shut``: nothing may be asked at all. ``refused``: how many were refused, and why the last was.
    """

    known: str = ""
    shut: bool = False
    refused: int = 0
    reason: str = ""


class Gate:
    """A SOCKS5 server; only who knows its secret is served, with the rights of a `Visit`."""

    def __init__(self) -> None:
        self._secret = secrets.token_hex(16)
        self._visits: dict[tuple[str, bool], Visit] = {}
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        threading.Thread(target=self._serve, name="geoloc-gate", daemon=True).start()

    def visit(self, known: str = "", *, shut: bool = False) -> Visit:
        """The one for these rights."""
        return self._visits.setdefault((known, shut), Visit(known, shut))

    def options(self, visit: Visit) -> dict[str, str]:
        """Of GDAL, to have all connections made as this visit."""
        number = list(self._visits.values()).index(visit)
        return {
            "GDAL_HTTP_PROXY": f"socks5h://127.0.0.1:{self._listener.getsockname()[1]}",
            "GDAL_HTTP_PROXYUSERPWD": f"{number}:{self._secret}",
        }

    def _serve(self) -> None:
        while True:
            client, _ = self._listener.accept()
            threading.Thread(target=self._pass, args=(client,), daemon=True).start()

    def _pass(self, client: socket.socket) -> None:
        with client, suppress(OSError, ValueError, EOFError, IndexError):
            visit = self._admitted(client)
            server = _connected(client, visit, *_asked(client))
            if server is not None:
                with server:
                    _exchange(client, server)

    def _admitted(self, client: socket.socket) -> Visit:
        """By user and password (RFC 1929). Raises ValueError for strangers."""
        _, count = _exactly(client, 2)
        _exactly(client, count)
        client.sendall(b"\5\2")
        _exactly(client, 1)
        user, password = (_exactly(client, _exactly(client, 1)[0]) for _ in range(2))
        if not secrets.compare_digest(password, self._secret.encode()):
            raise ValueError("not known")
        client.sendall(b"\1\0")
        return list(self._visits.values())[int(user)]


@functools.lru_cache(maxsize=1)
def _gate_of(_process: int) -> Gate:
    return Gate()


def gate() -> Gate | None:
    """This process's; None where the user has a proxy set, which is asked instead."""
    set_for = urllib.request.getproxies()
    if os.environ.get("GDAL_HTTP_PROXY") or any(set_for.get(n) for n in ("http", "https", "all")):
        return None
    for name in ("no_proxy", "NO_PROXY"):  # without any proxy they say nothing, but GDAL heeds them
        os.environ.pop(name, None)
    return _gate_of(os.getpid())


def place_named(href: str) -> str:
    """Host and port of the web address in a path of GDAL's; empty where there is none."""
    found = _WEB.search(href)
    with suppress(ValueError):
        return place_of(found[0]) if found else ""
    return ""


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


def _connected(client: socket.socket, visit: Visit, host: str, port: int) -> socket.socket | None:
    """The server, where it may be asked and answers; the client is told."""
    found = addresses(host, port)
    if reason := _reason_to_refuse(visit, host, port, found):
        visit.refused, visit.reason = visit.refused + 1, reason
        client.sendall(bytes([5, _REFUSED]) + _REST)
        return None
    for address in found:
        with suppress(OSError):
            server = socket.create_connection((address, port), _CONNECT)
            server.settimeout(None)
            client.sendall(bytes([5, _CONNECTED]) + _REST)
            return server
    client.sendall(bytes([5, _FAILED]) + _REST)
    return None


def _reason_to_refuse(visit: Visit, host: str, port: int, found: list[str]) -> str:
    if visit.shut:
        return f"no server is asked for a file of this disk, which names {host}"
    if visit.known == f"{host.lower()}:{port}":
        return ""
    told = (refused_address(host, port, address) for address in found)
    return next(filter(None, told), "")


def _exchange(client: socket.socket, server: socket.socket) -> None:
    """Pass bytes on until one side ends."""
    buffer = bytearray(_PIECE)
    across = {client: server, server: client}
    while True:
        for one in select.select([client, server], [], [])[0]:
            if not (count := one.recv_into(buffer)):
                return
            across[one].sendall(memoryview(buffer)[:count])


def _exactly(one: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        if not (piece := one.recv(count - len(found))):
            raise EOFError
        found += piece
    return found
