"""Attacks by addresses of photos: inner services, slow and swollen answers, what is no picture."""

from __future__ import annotations

import gzip
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flows import downloading, fetching
from flows.fetching import store_photo
from geoloc.errors import PhotoError, UsageError
from geoloc.net.hosts import refusal
from tests.loopback import Dripping, Listener, listening, serving_on_loopback
from tests.media import small_jpeg


@pytest.fixture
def server() -> Iterator[Listener]:
    with listening(**{"a.jpg": small_jpeg(), "secret": b"inner answer"}) as found:
        yield found


def test_a_private_host_is_not_asked(
    server: Listener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GEOLOC_PRIVATE_HOSTS")
    for host in ("127.0.0.1", "localhost", "[::1]", "2130706433", "0x7f000001", "127.1"):
        with pytest.raises(UsageError, match="private host: if that is intended, add"):
            store_photo(f"http://{host}:{server.port}/a.jpg", tmp_path)
    assert server.asked == [] and list(tmp_path.iterdir()) == []


def test_a_redirect_into_the_house_is_not_followed(
    server: Listener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server that is asked is allowed, by its port; the one that it leads to is not."""
    monkeypatch.setenv("GEOLOC_PRIVATE_HOSTS", f"127.0.0.1:{server.port}")
    with listening(secret=b"inner") as inner:
        server.moved = {"/b.jpg": "/c.jpg", "/c.jpg": f"{inner.root}/secret"}
        with pytest.raises(UsageError, match="private host"):
            store_photo(f"{server.root}/b.jpg", tmp_path)
        assert server.asked == ["/b.jpg", "/c.jpg"] and inner.asked == []
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_moves_after_the_check_is_caught(
    server: Listener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: the first look-up is public, the one that is connected to is not."""
    monkeypatch.delenv("GEOLOC_PRIVATE_HOSTS")
    found = iter([["93.184.215.14"], ["127.0.0.1"]])
    monkeypatch.setattr("geoloc.net.hosts.addresses", lambda *_: next(found))
    monkeypatch.setattr(downloading, "addresses", lambda *_: next(found))
    with pytest.raises(UsageError, match=r"127\.0\.0\.1"):
        store_photo(f"http://moving.example:{server.port}/a.jpg", tmp_path)
    assert server.asked == []


@pytest.mark.parametrize(
    "body",
    [b"inner answer", b"<html>login</html>", b'{"token": "x"}', small_jpeg()[:300], b""],
    ids=["text", "html", "json", "half", "empty"],
)
def test_what_is_no_picture_is_not_kept(server: Listener, tmp_path: Path, body: bytes) -> None:
    server.pages["/b.jpg"] = body
    with pytest.raises(PhotoError, match="is no photo that can be read"):
        store_photo(f"{server.root}/b.jpg", tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_swollen_body_is_cut_off(
    server: Listener, tmp_path: Path, encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "_MOST_BYTES", 1_000_000)
    zeros = bytes(100_000_000)
    pack = gzip.compress if encoding == "gzip" else zlib.compress
    server.pages["/b.jpg"], server.headers = pack(zeros, 6), {"Content-Encoding": encoding}
    del zeros
    most = []
    real = downloading._unpacked

    def measured(unpack: Any, chunk: bytes, room: int) -> bytes:
        most.append(len(found := real(unpack, chunk, room)))
        return found

    monkeypatch.setattr(downloading, "_unpacked", measured)
    with pytest.raises(PhotoError, match="larger than 1,000,000 bytes"):
        store_photo(f"{server.root}/b.jpg", tmp_path)
    assert sum(most) <= 1_000_001


def test_a_packed_photo_is_unpacked(server: Listener, tmp_path: Path) -> None:
    server.pages["/b.jpg"], server.headers = (
        gzip.compress(small_jpeg()),
        {"Content-Encoding": "gzip"},
    )
    assert store_photo(f"{server.root}/b.jpg", tmp_path).read_bytes() == small_jpeg()


@pytest.mark.parametrize("path", ["/body", "/headers"])
def test_a_dripping_server_is_given_up(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "_SECONDS", 0.5)
    with serving_on_loopback(Dripping) as port:
        start = time.monotonic()
        with pytest.raises(ConnectionError, match="ReadTimeout"):
            store_photo(f"http://127.0.0.1:{port}{path}", tmp_path)
        assert time.monotonic() - start < 60  # of the 100 s that it would take


@pytest.mark.parametrize(
    "host",
    ["10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0",
     "[::1]", "[fe80::1]", "[fd00::1]", "[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]",
     "[2002:7f00:1::]", "224.0.0.1", "255.255.255.255"],
)  # fmt: skip
def test_private_addresses_of_every_kind(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GEOLOC_PRIVATE_HOSTS")
    assert "private host" in refusal(f"http://{host}/a.jpg")
    bare = host.strip("[]")
    monkeypatch.setenv("GEOLOC_PRIVATE_HOSTS", f"other.example, {bare}")
    assert refusal(f"http://{host}/a.jpg") == ""


def test_what_is_allowed_is_a_host_a_port_or_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEOLOC_PRIVATE_HOSTS", "10.1.0.0/16, 127.0.0.1:9000")
    assert refusal("http://10.1.255.3/") == "" == refusal("https://127.0.0.1:9000/x")
    assert refusal("http://10.2.0.1/") and refusal("http://127.0.0.1:9001/")
    assert refusal("http://8.8.8.8/") == "" == refusal("https://[2001:4860:4860::8888]/")
    assert refusal("http://[bad/") and refusal("http:///x")
