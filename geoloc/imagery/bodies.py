"""Responses of servers, bounded in unpacked bytes and in total time.

A catalog may be a stranger's: its pages must not fill the memory, trickle in a byte a minute, or
come from a private address that its host name was given after it was checked.
"""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import NewConnectionError

from ..net.hosts import refused_address
from ..stores import without_secrets
from .redirects import watched

MOST_BYTES = 64 << 20
"""Limit of an unpacked document."""

SECONDS = 300.0
"""Time limit for a document, and for the head of any response."""

_PIECE = 1 << 16
_PACKED = ("", "identity", "gzip", "x-gzip", "deflate")


class OverBound(requests.RequestException):
    """A response that is larger or slower than the limits."""


def bounded_session(known: str | None = None, **adapter: Any) -> requests.Session:
    """A session whose responses are read whole and bounded, and whose redirects are checked.

    ``known``: host and port that may be private; None: addresses are not checked. ``adapter``:
    options of `requests.adapters.HTTPAdapter`. Requests raise OverBound or RefusedRedirect.
    """
    session = watched(requests.Session())
    session.headers["Accept-Encoding"] = "gzip, deflate"
    session.hooks["response"].append(_read_whole)
    for scheme in ("http://", "https://"):
        session.mount(scheme, _Adapter(known, **adapter))
    return session


def _read_whole(response: requests.Response, *_: Any, **__: Any) -> None:
    """A hook of `requests` that reads the whole body. Raises OverBound."""
    shown = without_secrets(str(response.url))[:200]
    packed = response.headers.get("Content-Encoding", "").strip().lower()
    if packed not in _PACKED:
        raise OverBound(f"{shown} has the encoding {packed[:20]!r}, which was not requested")
    deadline: _Deadline = response.raw.deadline
    content = bytearray()
    with response, deadline:
        for piece in response.iter_content(_PIECE):
            content += piece
            if len(content) > MOST_BYTES:
                raise OverBound(f"{shown} is larger than {MOST_BYTES >> 20} MiB: not a document")
    if deadline.over:
        raise OverBound(f"{shown} took longer than {SECONDS:g} s")
    response._content = bytes(content)  # where requests itself keeps the body


class _Adapter(HTTPAdapter):
    def __init__(self, known: str | None, **options: Any) -> None:
        self._known = known
        super().__init__(**options)

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        http = type("_Plain", (_Checked, HTTPConnection), {"known": self._known})
        https = type("_Secure", (_Checked, HTTPSConnection), {"known": self._known})
        self.poolmanager.pool_classes_by_scheme = {
            "http": type("_PlainPool", (HTTPConnectionPool,), {"ConnectionCls": http}),
            "https": type("_SecurePool", (HTTPSConnectionPool,), {"ConnectionCls": https}),
        }


class _Checked(HTTPConnection):
    """A connection whose address was checked; closed if no response head arrives in time."""

    known: str | None = None
    _deadline: _Deadline | None = None

    def _new_conn(self) -> socket.socket:
        connected = super()._new_conn()
        if self.known is None or self.proxy is not None:
            return connected
        host, port = self.host.lower(), int(self.port)
        reason = refused_address(host, port, connected.getpeername()[0])
        if reason and self.known != f"{host}:{port}":
            connected.close()
            raise NewConnectionError(self, reason)
        return connected

    def getresponse(self) -> Any:
        """See urllib3."""
        if self._deadline is not None:  # of an earlier request on this connection
            self._deadline.cancel()
        deadline = self._deadline = _Deadline(self.sock)
        try:
            answer: Any = super().getresponse()
        except BaseException:
            deadline.cancel()
            raise
        answer.deadline = deadline
        return answer


class _Deadline(threading.Timer):
    """Closes a connection after SECONDS unless cancelled; ``over``: whether it did."""

    def __init__(self, connection: Any) -> None:
        super().__init__(SECONDS, self._end)
        self.daemon, self.over, self._connection = True, False, connection
        self.start()

    def _end(self) -> None:
        self.over = True
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        self.cancel()
