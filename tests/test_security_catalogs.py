"""Attacks by what a catalog's server answers: bodies without end, by drips, swollen or nested."""

from __future__ import annotations

import gzip
import json
import os
import time
import tracemalloc
import zlib
from pathlib import Path

import pytest

from geoloc.area import StacImagery
from geoloc.domain import Grid
from geoloc.errors import ImageryError
from geoloc.imagery import bodies
from geoloc.imagery.stac import StacSource, paging
from tests.loopback import Dripping, listening, serving_on_loopback

WINDOW = Grid("EPSG:32636", 300_000.0, 5_600_000.0, 10.0, 20, 30)
CATALOG = {"type": "Catalog", "id": "c", "stac_version": "1.0.0", "description": "c", "links": []}


def _refused(url: str) -> str:
    with pytest.raises(ImageryError) as refused:
        StacSource(StacImagery(url=url)).covers(WINDOW)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def _padded(size: int) -> bytes:
    return json.dumps({**CATALOG, "padding": "x" * size}).encode()


@pytest.mark.parametrize("part", ["catalog", "link"])
def test_a_document_without_end_is_cut_off(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "MOST_BYTES", 1 << 20)
    with listening(**{"big.json": _padded(3 << 20)}) as server:
        links = {**CATALOG, "links": [{"rel": "child", "href": "big.json"}]}
        server.pages["/catalog.json"] = json.dumps(links).encode()
        name = "big" if part == "catalog" else "catalog"
        assert "is larger than 1 MiB" in _refused(f"{server.root}/{name}.json")


@pytest.mark.parametrize("packed", ["gzip", "deflate"])
def test_a_swollen_document_is_cut_off(packed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "MOST_BYTES", 4 << 20)
    pack = gzip.compress if packed == "gzip" else zlib.compress
    body = pack(_padded(200_000_000))
    with listening(**{"catalog.json": body}) as server:
        server.headers = {"Content-Encoding": packed}
        tracemalloc.start()
        try:
            assert "is larger than 4 MiB" in _refused(f"{server.root}/catalog.json")
            assert tracemalloc.get_traced_memory()[1] < 120_000_000
        finally:
            tracemalloc.stop()


def test_a_packed_document_is_read_and_one_packed_twice_is_not() -> None:
    text = json.dumps(CATALOG).encode()
    with listening(**{"catalog.json": gzip.compress(text)}) as server:
        server.headers = {"Content-Encoding": "gzip"}
        assert not StacSource(StacImagery(url=f"{server.root}/catalog.json"))._opened().searchable
        server.pages["/catalog.json"] = gzip.compress(gzip.compress(text))
        for packed in ("gzip, gzip", "br", "zstd"):
            server.headers = {"Content-Encoding": packed}
            assert "which was not requested" in _refused(f"{server.root}/catalog.json")


@pytest.mark.parametrize("path", ["/body", "/head"])
def test_a_dripping_catalog_is_given_up(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "SECONDS", 0.4)
    monkeypatch.setattr("geoloc.imagery.stac.catalog._RETRIES", 0)
    with serving_on_loopback(Dripping) as port:
        start = time.monotonic()
        _refused(f"http://127.0.0.1:{port}{path}")
        assert time.monotonic() - start < 60  # of the 100 s that it would take


@pytest.mark.parametrize("deep", ["[" * 200_000, '{"a":' * 200_000])
@pytest.mark.parametrize("where", ["whole", "item"])
def test_deep_documents_are_one_line(deep: str, where: str, tmp_path: Path) -> None:
    closing = ("]" if deep[0] == "[" else "}") * 200_000
    inner = deep + ("" if deep[0] == "[" else "1") + closing
    text = inner if where == "whole" else json.dumps(CATALOG)[:-1] + f', "x": {inner}}}'
    with listening(**{"catalog.json": text.encode()}) as server:
        assert "not JSON" in _refused(f"{server.root}/catalog.json")
    (tmp_path / "catalog.json").write_text(text)
    assert "not JSON" in _refused(str(tmp_path / "catalog.json"))


def test_a_document_of_very_many_parts_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each ``[],`` of 3 bytes takes 64 once it is read."""
    monkeypatch.setattr(paging, "_MOST_PARTS", 1000)
    text = json.dumps({**CATALOG, "x": [[]] * 1000})
    with listening(**{"catalog.json": text.encode()}) as server:
        assert "has more parts" in _refused(f"{server.root}/catalog.json")


def test_links_of_a_catalog_on_disk_to_what_is_no_file(tmp_path: Path) -> None:
    """Shown: a catalog that came as a folder, and links to a device without end."""
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "folder.json").mkdir()
    for href in ("/dev/zero", "pipe.json", "folder.json"):
        links = [{"rel": "item", "href": href}]
        (tmp_path / "catalog.json").write_text(json.dumps({**CATALOG, "links": links}))
        assert "is not a file" in _refused(str(tmp_path / "catalog.json"))


def test_a_catalogs_name_that_moves_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS rebinding: a link whose host is public when judged, and private when connected to."""
    monkeypatch.delenv("GEOLOC_PRIVATE_HOSTS")
    monkeypatch.setattr("geoloc.net.hosts.addresses", lambda *_: ["93.184.215.14"])
    with listening(secret=b"{}") as inner, listening() as server:
        links = [{"rel": "item", "href": f"http://localhost:{inner.port}/secret"}]
        server.pages["/catalog.json"] = json.dumps({**CATALOG, "links": links}).encode()
        assert "private host" in _refused(f"{server.root}/catalog.json")
        assert inner.asked == []
