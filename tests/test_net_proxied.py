"""Requests to the proxy of this process: read in full or not at all, and passed on without it."""

from __future__ import annotations

import base64
import socket

import pytest

from geoloc.net import proxied
from geoloc.net.proxied import ProxyRequest, read_request

LOGIN = base64.b64encode(b"3:secret:with:colons").decode()


def _read(*pieces: bytes, ends: bool = True) -> ProxyRequest:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for piece in pieces:
            theirs.sendall(piece)
        if ends:
            theirs.shutdown(socket.SHUT_WR)
        return read_request(ours)


@pytest.mark.parametrize(
    ("target", "host", "port", "path"),
    [("http://a.example/x/y?z=1", "a.example", 80, "/x/y?z=1"),
     ("http://A.example:8080", "a.example", 8080, "/"),
     ("http://u:p@10.0.0.1:9/x", "10.0.0.1", 9, "/x"),
     ("http://[::1]:9/http://b.example/", "::1", 9, "/http://b.example/"),
     ("http://a.example?z=http://b.example", "a.example", 80, "/?z=http://b.example"),
     ("http://a.example//b.example/x", "a.example", 80, "//b.example/x")],
)  # fmt: skip
def test_a_request_goes_on_as_one_to_its_server(
    target: str, host: str, port: int, path: str
) -> None:
    head = f"GET {target} HTTP/1.1\r\nhost: a\r\nProxy-Authorization: Basic {LOGIN}\r\n"
    request = _read(head.encode(), b"Connection: close\r\nRange: bytes=1-2\r\n\r\n", ends=False)
    assert (request.host, request.port, request.tunnel) == (host, port, False)
    assert (request.user, request.password) == ("3", "secret:with:colons")
    assert request.onward == f"GET {path} HTTP/1.1\r\nhost: a\r\nrange: bytes=1-2\r\n\r\n".encode()
    assert request.missing == 0


def test_a_body_follows_in_part() -> None:
    head = b"PUT http://a/x HTTP/1.1\r\nContent-Length: 10\r\ngeoloc-gate: 1:s\r\n\r\n"
    request = _read(head + b"1234")
    assert request.onward == b"PUT /x HTTP/1.1\r\ncontent-length: 10\r\n\r\n1234"
    assert (request.missing, request.user, request.password) == (6, "1", "s")


@pytest.mark.parametrize(
    ("target", "host", "port"), [("a.example:443", "a.example", 443), ("[::1]:8443", "::1", 8443)]
)
def test_a_tunnel_has_no_head_of_its_own(target: str, host: str, port: int) -> None:
    request = _read(
        f"CONNECT {target} HTTP/1.1\r\nproxy-authorization: Basic {LOGIN}\r\n\r\n".encode()
    )
    assert (request.host, request.port, request.tunnel) == (host, port, True)
    assert (request.user, request.onward) == ("3", b"")


@pytest.mark.parametrize(
    "told",
    [b"GET /x HTTP/1.1\r\n\r\n", b"GET https://a/x HTTP/1.1\r\n\r\n", b"\x16\x03\x01\r\n\r\n",
     b"GET http:///x HTTP/1.1\r\n\r\n", b"GET ftp://a/x HTTP/1.1\r\n\r\n", b"\r\n\r\n",
     b"POST http://a/x HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
     b"PUT http://a/x HTTP/1.1\r\ncontent-length: many\r\n\r\n",
     b"GET http://a/x HTTP/1.1\r\n\r\nGET http://b/x HTTP/1.1\r\n\r\n",
     b"GET http://a:99999/x HTTP/1.1\r\n\r\n", b"GET http://a/x y HTTP/1.1\r\n\r\n",
     b"GET http://a/x HTTP/1.1\r\nproxy-authorization: Basic %%%\xff\r\n\r\n",
     b"GET http://a/x HTTP/1.1\r\nx: " + b"y" * 70_000],
)  # fmt: skip
def test_anything_else_is_refused(told: bytes) -> None:
    with pytest.raises(ValueError):
        _read(told)


def test_a_head_that_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EOFError):
        _read(b"GET http://a/x HTTP/1.1\r\n")
    monkeypatch.setattr(proxied, "_PATIENCE", 0.05)
    with pytest.raises(TimeoutError):
        _read(b"GET http://a/x HTTP/1.1\r\n", ends=False)
