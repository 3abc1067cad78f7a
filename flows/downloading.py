"""Downloads from addresses that anybody may have typed: bounded, and never from inside the house.

The address that is checked is the one that is connected to, at every redirect (a name may have
another address a moment later). Behind a proxy, which looks names up itself, names alone are
checked.
"""

from __future__ import annotations

import time
import urllib.request
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpcore
import httpx

from geoloc.errors import UsageError
from geoloc.net.hosts import addresses, refusal, refused_address

_SILENCE = 30.0  # s until a server is reached, and without any byte
_DECODABLE = {"gzip", "x-gzip", "deflate"}
_AUTO = 47  # zlib: a header of gzip or zlib, whichever it is


class TooLargeError(Exception):
    """More than was asked for."""


@contextmanager
def opened(address: str, seconds: float) -> Iterator[httpx.Response]:
    """A server's answer, redirects followed; all of it has to come within so many seconds.

    Raises UsageError where the address, or one it leads to, is a private host; httpx.HTTPError.
    """
    end = time.monotonic() + seconds
    with (
        _client(end) as client,
        client.stream("GET", address, headers={"Accept-Encoding": "identity"}) as response,
    ):
        yield response


def body(response: httpx.Response, most: int, seconds: float) -> bytes:
    """What it holds, unpacked as far as ``most`` bytes.

    Raises TooLargeError, httpx.ReadTimeout after so many seconds, httpx.DecodingError.
    """
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    if encoding not in ("", "identity", *_DECODABLE):
        raise httpx.DecodingError(f"it is sent as {encoding[:20]}")
    unpack = zlib.decompressobj(_AUTO) if encoding in _DECODABLE else None
    content, end = bytearray(), time.monotonic() + seconds
    for chunk in response.iter_raw():
        content += chunk if unpack is None else _unpacked(unpack, chunk, most - len(content) + 1)
        if len(content) > most:
            raise TooLargeError
        if time.monotonic() > end:
            raise httpx.ReadTimeout("too slow")
    return bytes(content)


def _unpacked(unpack: Any, chunk: bytes, most: int) -> bytes:
    try:
        found: bytes = unpack.decompress(chunk, max_length=most)
    except zlib.error:
        raise httpx.DecodingError("it is damaged") from None
    return found


def _client(end: float) -> httpx.Client:
    behind_proxy = any(name in urllib.request.getproxies() for name in ("http", "https", "all"))
    transport = None
    if not behind_proxy:
        transport = httpx.HTTPTransport()
        transport._pool = httpcore.ConnectionPool(  # its class takes no backend of ours
            ssl_context=httpx.create_ssl_context(), network_backend=_Checked(end)
        )
    return httpx.Client(
        transport=transport,
        follow_redirects=True,
        timeout=_SILENCE,
        event_hooks={"request": [_check]},
    )


def _check(request: httpx.Request) -> None:
    """Before each request, of redirects as well."""
    if request.url.scheme in ("http", "https") and (reason := refusal(str(request.url))):
        raise UsageError(f"{request.url.host} is not asked for photos: {reason}")


class _Checked(httpcore.SyncBackend):
    """Connects to an address that was checked, until a moment."""

    def __init__(self, end: float) -> None:
        self._end = end

    def connect_tcp(
        self, host: str, port: int, timeout: float | None = None, *args: Any, **options: Any
    ) -> httpcore.NetworkStream:
        """See httpcore. Raises UsageError where an address is private."""
        found = addresses(host, port)
        if not found:
            raise httpcore.ConnectError(f"{host} is not known")
        for address in found:
            if reason := refused_address(host, port, address):
                raise UsageError(f"{host} is not asked for photos: {reason}")
        error: httpcore.ConnectError | None = None
        for address in found:
            try:
                stream = super().connect_tcp(address, port, timeout, *args, **options)
                return _Timed(stream, self._end)
            except httpcore.ConnectError as failed:
                error = failed
        assert error is not None
        raise error


@dataclass
class _Timed(httpcore.NetworkStream):
    """A connection that ends at a moment, however slowly bytes come."""

    stream: httpcore.NetworkStream
    end: float

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        left = self.end - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout("too slow")
        return self.stream.read(max_bytes, min(left, timeout or left))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.stream.write(buffer, timeout)

    def close(self) -> None:
        self.stream.close()

    def start_tls(self, *args: Any, **options: Any) -> httpcore.NetworkStream:
        return _Timed(self.stream.start_tls(*args, **options), self.end)

    def get_extra_info(self, info: str) -> Any:
        return self.stream.get_extra_info(info)
