"""Photos of the web, from a real server on loopback."""

from __future__ import annotations

import datetime as dt
import http.server
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.fetching import origin, store_photo
from geoloc.errors import PhotoError, UsageError
from tests.loopback import serving_on_loopback
from tests.media import small_jpeg

PIXELS = small_jpeg()
SECRETS = "us:PASSWD@", "?sig=SECRET"


class _Photos(http.server.BaseHTTPRequestHandler):
    """One photo, whatever the query."""

    def do_GET(self) -> None:
        if self.path == "/loop":
            self.send_response(302)
            self.send_header("Location", "/loop")
            return self.end_headers()
        if self.path[1:].isdigit():
            return self.send_error(int(self.path[1:]))
        there = self.path.startswith("/a/street%201.jpg")
        self.send_response(200 if there else 404)
        self.end_headers()
        self.wfile.write(PIXELS if there else b"")
        return None

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with serving_on_loopback(_Photos) as port:
        yield port


def _address(port: int, path: str) -> str:
    user, query = SECRETS
    return f"http://{user}127.0.0.1:{port}{path}{query}"


def test_a_photo_is_kept_with_a_note_where_it_is_from(port: int, tmp_path: Path) -> None:
    address = _address(port, "/a/street%201.jpg")
    path = store_photo(address, tmp_path)
    assert (path.name, path.read_bytes()) == ("street 1.jpg", PIXELS)
    told = origin(path, address)
    assert told["fetched_from"] == f"127.0.0.1:{port}/a/street%201.jpg"
    age = dt.datetime.now(dt.UTC) - dt.datetime.fromisoformat(told["fetched_at"])
    assert dt.timedelta(seconds=-1) < age < dt.timedelta(minutes=5)
    notes = [file.read_text() for file in tmp_path.rglob("*.json")]
    assert [json.loads(note) for note in notes] == [told]
    assert not any(secret in note for note in notes for secret in ("PASSWD", "SECRET"))


def test_a_photo_and_its_note_may_be_read_by_nobody_else(port: int, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        store_photo(_address(port, "/a/street%201.jpg"), tmp_path / "fetched")
    finally:
        os.umask(before)
    modes = {oct(path.stat().st_mode & 0o777) for path in tmp_path.rglob("*")}
    assert modes == {"0o700", "0o600"}


def test_what_is_there_is_not_fetched_again(port: int, tmp_path: Path) -> None:
    address = _address(port, "/a/street%201.jpg")
    path = store_photo(address, tmp_path)
    told = origin(path, address)
    path.write_bytes(b"kept")
    assert store_photo(address, tmp_path).read_bytes() == b"kept"
    assert origin(path, address) == told
    next(tmp_path.rglob("*.json")).unlink()
    assert origin(path, address) == {"fetched_from": told["fetched_from"]}


@pytest.mark.parametrize("path", ["/429", "/408", "/503"])
def test_an_answer_that_may_be_another_later_is_asked_for_again(
    port: int, tmp_path: Path, path: str
) -> None:
    with pytest.raises(ConnectionError, match=f"the server answers {path[1:]}"):
        store_photo(f"http://127.0.0.1:{port}{path}", tmp_path)


@pytest.mark.parametrize("path", ["/loop", "/403"])
def test_an_answer_that_stays_is_told_at_once(port: int, tmp_path: Path, path: str) -> None:
    with pytest.raises(PhotoError, match=f"127.0.0.1:{port}{path}: "):
        store_photo(f"http://127.0.0.1:{port}{path}", tmp_path)


def test_a_photo_that_is_not_there_is_told_without_secrets(port: int, tmp_path: Path) -> None:
    with pytest.raises(PhotoError) as failed:
        store_photo(_address(port, "/no.jpg"), tmp_path)
    assert str(failed.value) == f"127.0.0.1:{port}/no.jpg: the server answers 404"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("bad", ["[bad/no.jpg", "127.0.0.1:bad/no.jpg", "/no.jpg", "\ud800/no.jpg"])
def test_what_is_no_address_is_refused_in_one_line(bad: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no\.jpg is no address: give an http"):
        store_photo(f"http://{bad}?sig=SECRET", tmp_path)
