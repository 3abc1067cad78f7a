"""Attacks by servers of models: answers by drips. And slow lines, which are none."""

from __future__ import annotations

import http.server
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from geoloc.errors import ModelError
from geoloc.models import transfer
from geoloc.models.fetch import fetch_model
from geoloc.models.model import Model, write_model
from tests.encoder_models import spec
from tests.loopback import Listener, listening, pages_of, serving_on_loopback

WEIGHTS = bytes(range(256)) * 4000
FILES: dict[str, Path | bytes] = {"ground.safetensors": WEIGHTS, "overhead.safetensors": b"o" * 100}


class _Slow(http.server.BaseHTTPRequestHandler):
    """A folder; ``drip``: the file that comes by bytes, its head as well; ``cut``: by halves."""

    folder: Path
    drip = cut = ""
    heads = False
    ranges = True
    asked: list[tuple[str, str]]

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        path = self.folder / self.path.lstrip("/")
        told = self.headers.get("Range", "")
        self.asked.append((path.name, told))
        begin = re.fullmatch(r"bytes=(\d+)-", told) if self.ranges else None
        whole = path.read_bytes()
        first = int(begin[1]) if begin else 0
        dripping = path.name == self.drip
        if not (dripping and self.heads):
            self.send_response(206 if begin else 200)
            self.send_header("Content-Length", str(len(whole) - first))
            if begin:
                self.send_header("Content-Range", f"bytes {first}-{len(whole) - 1}/{len(whole)}")
            self.end_headers()
        body = whole[first:]
        if path.name == self.cut and first == 0:
            body = body[: len(body) // 2]
        try:
            for at in range(0, 4000 if dripping else 1):
                self.wfile.write(body[at : at + 1] if dripping else body)
                self.wfile.flush()
                time.sleep(0.02 if dripping else 0)
        except OSError:
            pass


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Model:
    monkeypatch.setenv("GEOLOC_MODELS", str(tmp_path / "store"))
    return write_model(tmp_path / "www" / "mine", spec(), FILES)


@pytest.fixture
def slow(published: Model) -> Iterator[tuple[type[_Slow], str]]:
    handler = type("Handler", (_Slow,), {"folder": published.path.parent, "asked": []})
    with serving_on_loopback(handler) as port:
        yield handler, f"http://127.0.0.1:{port}/mine"


@pytest.mark.parametrize("name", ["model.json", "ground.safetensors"])
@pytest.mark.parametrize("heads", [False, True], ids=["body", "head"])
def test_what_comes_by_drips_is_given_up(
    slow: tuple[type[_Slow], str], name: str, heads: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler, url = slow
    handler.drip, handler.heads = name, heads
    monkeypatch.setattr(transfer, "_WINDOW", 0.4)
    start = time.monotonic()
    with pytest.raises(ModelError, match="cannot be fetched") as refused:
        fetch_model(url)
    assert time.monotonic() - start < 50  # of the 80 s that it would take, or of months
    assert "\n" not in str(refused.value)


def test_a_slow_line_gets_there(
    slow: tuple[type[_Slow], str], published: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many windows, each with a little more than the least."""
    monkeypatch.setattr(transfer, "_WINDOW", 0.0)
    monkeypatch.setattr(transfer, "_in_time", lambda ask: ask())
    monkeypatch.setattr(transfer, "_SLOWEST", 1)
    assert fetch_model(slow[1]).model.digest == published.digest


@pytest.mark.parametrize("ranges", [True, False])
def test_what_broke_off_goes_on_where_it_did(
    slow: tuple[type[_Slow], str], published: Model, ranges: bool
) -> None:
    handler, url = slow
    handler.cut, handler.ranges = "ground.safetensors", ranges
    with pytest.raises(ModelError, match="what has arrived is kept"):
        fetch_model(url)
    handler.cut = ""
    handler.asked.clear()
    told: list[int] = []
    fetched = fetch_model(
        url, progress=lambda name, there, _: told.append(there) if name[0] == "g" else None
    )
    assert fetched.model.digest == published.digest
    half = len(WEIGHTS) // 2
    assert ("ground.safetensors", f"bytes={half}-") in handler.asked
    assert (min(told) > half) == ranges


def test_a_part_of_another_file_is_not_believed(
    slow: tuple[type[_Slow], str], published: Model, tmp_path: Path
) -> None:
    handler, url = slow
    handler.cut = "ground.safetensors"
    with pytest.raises(ModelError):
        fetch_model(url)
    handler.cut = ""
    (part,) = (tmp_path / "store").rglob("*.part")
    part.write_bytes(b"x" * part.stat().st_size)
    with pytest.raises(ModelError, match="its sha256 is"):
        fetch_model(url)
    assert fetch_model(url).model.digest == published.digest


@pytest.fixture
def inner(published: Model, monkeypatch: pytest.MonkeyPatch) -> Iterator[Listener]:
    """A server inside of the house, which has the model as well."""
    monkeypatch.delenv("GEOLOC_PRIVATE_HOSTS")
    with listening() as server:
        server.pages = pages_of(published.path, "/mine")
        yield server


@pytest.fixture
def outer(inner: Listener) -> Iterator[Listener]:
    with listening() as server:
        server.pages = dict(inner.pages)
        yield server


@pytest.mark.parametrize("name", ["model.json", "ground.safetensors"])
def test_a_model_s_server_does_not_lead_into_the_house(
    name: str, inner: Listener, outer: Listener
) -> None:
    """Shown: what an inner server answers was taken, and kept."""
    outer.moved[f"/mine/{name}"] = f"{inner.root}/mine/{name}"
    with pytest.raises(ModelError, match=r"redirects to.*127\.0\.0\.1 is a private") as refused:
        fetch_model(f"{outer.root}/mine")
    assert inner.asked == [] and "\n" not in str(refused.value)


def test_an_honest_redirect_of_a_model_is_followed(
    inner: Listener, outer: Listener, published: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("model.json", "ground.safetensors"):
        outer.moved[f"/mine/{name}"] = f"{inner.root}/mine/{name}"
    monkeypatch.setenv("GEOLOC_PRIVATE_HOSTS", f"127.0.0.1:{inner.port}")
    assert fetch_model(f"{outer.root}/mine").model.digest == published.digest
    assert inner.asked == ["/mine/model.json", "/mine/ground.safetensors"]
