"""Published weights: resumed, and from the first use on the same file or none."""

from __future__ import annotations

import http.server
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from geoloc.errors import ModelError, UsageError
from geoloc.models.published import (
    PLACES365_MODELS,
    known_digest,
    published,
    receive_checkpoint,
    remember_digest,
)
from tests.loopback import serving_on_loopback

WHAT = PLACES365_MODELS["places365-resnet18"]
WEIGHTS = bytes(range(256)) * 4000


@dataclass
class Site:
    """``body`` at any path; ``cut``: bytes after which the connection breaks off; ``moved``: paths
    that are elsewhere; ``asked``: path and range of each request."""

    body: bytes = WEIGHTS
    cut: int | None = None
    tag: str = '"one"'
    moved: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    port: int = 0

    @property
    def mirror(self) -> str:
        return f"http://127.0.0.1:{self.port}/weights"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("GEOLOC_MODELS", str(tmp_path / "store"))
    state = Site()

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            told = self.headers.get("Range", "")
            state.asked.append((self.path, told))
            if self.path in state.moved:
                self.send_response(302)
                self.send_header("Location", state.moved[self.path])
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            begin = re.fullmatch(r"bytes=(\d+)-", told)
            first, whole = int(begin[1]) if begin else 0, state.body
            self.send_response(206 if begin else 200)
            self.send_header("Content-Length", str(len(whole) - first))
            self.send_header("ETag", state.tag)
            if begin:
                self.send_header("Content-Range", f"bytes {first}-{len(whole) - 1}/{len(whole)}")
            self.end_headers()
            self.wfile.write(whole[first : state.cut])

    with serving_on_loopback(Handler) as state.port:
        yield state


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "arriving").mkdir()
    return tmp_path / "arriving"


def test_what_was_cut_off_goes_on_there(site: Site, folder: Path) -> None:
    site.cut = 300_001
    with pytest.raises(ModelError, match="what has arrived is kept"):
        receive_checkpoint(WHAT, folder, site.mirror)
    site.cut = None
    path, _ = receive_checkpoint(WHAT, folder, site.mirror)
    assert path.read_bytes() == WEIGHTS
    assert site.asked[-1] == ("/weights/resnet18_places365.pth.tar", "bytes=300001-")
    assert [p.name for p in folder.iterdir()] == [WHAT.file]
    asked = len(site.asked)
    receive_checkpoint(WHAT, folder, site.mirror)
    assert len(site.asked) == asked


def test_parts_of_two_files_are_never_joined(site: Site, folder: Path) -> None:
    site.cut = 300_001
    with pytest.raises(ModelError):
        receive_checkpoint(WHAT, folder, site.mirror)
    site.cut, site.body, site.tag = None, WEIGHTS[::-1], '"two"'
    path, _ = receive_checkpoint(WHAT, folder, site.mirror)
    assert path.read_bytes() == WEIGHTS[::-1]


def test_the_first_use_counts_ever_after(site: Site, folder: Path) -> None:
    assert known_digest(WHAT) is None
    path, digest = receive_checkpoint(WHAT, folder, site.mirror)
    assert known_digest(WHAT) is None  # as long as nobody has used it
    remember_digest(WHAT, digest)
    path.unlink()
    assert receive_checkpoint(WHAT, folder, site.mirror)[1] == digest
    path.unlink()
    site.body = WEIGHTS[:-1] + b"x"
    with pytest.raises(ModelError, match=rf"it was {digest[:12]}…: .*--mirror.*delete"):
        receive_checkpoint(WHAT, folder, site.mirror)
    assert not any(folder.iterdir()) and known_digest(WHAT) == digest


def test_another_size_of_the_same_network_is_the_same_file(site: Site, folder: Path) -> None:
    one, other = (PLACES365_MODELS[f"places365-alexnet{end}"] for end in ("", "-227"))
    remember_digest(one, receive_checkpoint(one, folder, site.mirror)[1])
    assert known_digest(other) == known_digest(one) and other.input_px == 227


@pytest.mark.usefixtures("site")
def test_a_damaged_record_is_one_line(folder: Path) -> None:
    remember_digest(WHAT, "0" * 64)
    (record,) = (folder.parent / "store" / ".published").iterdir()
    record.write_text('{"sha256": "0"}')
    with pytest.raises(ModelError, match="delete it"):
        known_digest(WHAT)


@pytest.mark.parametrize("body", [b"<!DOCTYPE html><title>Sign in</title>", b"\n <html>", b""])
def test_a_web_page_is_no_weights(site: Site, folder: Path, body: bytes) -> None:
    site.body = body
    with pytest.raises(ModelError, match=r"the server sent (a web page|nothing).*--mirror") as told:
        receive_checkpoint(WHAT, folder, site.mirror)
    assert "\n" not in str(told.value) and not any(folder.iterdir())


def test_redirects_are_followed_and_circles_are_not(site: Site, folder: Path) -> None:
    start = f"/weights/{WHAT.file}"
    site.moved = {start: f"/elsewhere/{WHAT.file}"}
    path, _ = receive_checkpoint(WHAT, folder, site.mirror)
    assert path.read_bytes() == WEIGHTS and site.asked[-1][0] == f"/elsewhere/{WHAT.file}"
    path.unlink()
    site.moved = {start: start}
    with pytest.raises(ModelError, match="cannot be fetched") as told:
        receive_checkpoint(WHAT, folder, site.mirror)
    assert "\n" not in str(told.value)


def test_a_mirror_is_a_folder_or_the_file_in_it(site: Site, folder: Path, tmp_path: Path) -> None:
    (tmp_path / WHAT.file).write_bytes(WEIGHTS)
    for mirror in (site.mirror + "/", f"{site.mirror}/{WHAT.file}", str(tmp_path),
                   tmp_path.as_uri()):  # fmt: skip
        path, _ = receive_checkpoint(WHAT, folder, mirror)
        assert path.read_bytes() == WEIGHTS
        path.unlink()
    for wrong in ("https://h/?sig=s3cret", "http://[::1/m", str(tmp_path / "none")):
        with pytest.raises((UsageError, ModelError)) as told:
            receive_checkpoint(WHAT, folder, wrong)
        assert "s3cret" not in str(told.value) and "\n" not in str(told.value)


def test_names_are_those_of_the_models_or_of_their_networks() -> None:
    assert published("densenet161") is published("places365-densenet161")
    with pytest.raises(UsageError, match="places365-alexnet, places365-alexnet-227"):
        published("places365-vgg16")
