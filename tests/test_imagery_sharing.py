"""Reads that share what they open: alike to the last bit, with less opened and asked."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from geoloc.area import GeotiffImagery, XyzImagery
from geoloc.domain import Grid
from geoloc.imagery import open_source, opening
from geoloc.imagery.sharing import Kept, kept, sharing_reads
from geoloc.imagery.xyz import client

from .point_area import CRS, LEFT, TOP, write_image
from .tile_server import serve_tiles

WINDOWS = [Grid(CRS, LEFT + 100 + 7.3 * i, TOP - 90 - 3.1 * i, 1.5, 40, 44) for i in range(6)]


def test_files_stay_open_and_give_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = open_source(GeotiffImagery(paths=[str(write_image(tmp_path / "a.tif"))]))  # type: ignore[call-arg]
    alone = [source.read(window).values for window in WINDOWS]
    opened, really = [], opening._open
    monkeypatch.setattr(opening, "_open", lambda *told: opened.append(told) or really(*told))
    with sharing_reads(), sharing_reads():
        for window, values in zip(WINDOWS, alone, strict=True):
            np.testing.assert_array_equal(source.read(window).values, values)
        assert len(opened) == 1
    assert kept() is None
    source.read(WINDOWS[0])
    assert len(opened) == 2


def test_tiles_stay_decoded_and_give_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tile(zoom: int, x: int, y: int) -> NDArray[np.uint8]:
        return np.random.default_rng([zoom, x, y]).integers(0, 255, (256, 256, 3)).astype(np.uint8)

    with serve_tiles(tile) as server:
        source = open_source(
            XyzImagery(url=server.url(), zoom=16, tile_cache=tmp_path / "c", rate=1000)  # type: ignore[call-arg]
        )
        alone = [source.read(window) for window in WINDOWS]
        decoded, really = [], client.decode
        monkeypatch.setattr(client, "decode", lambda *told: decoded.append(told) or really(*told))
        with sharing_reads():
            shared = [source.read(window) for window in WINDOWS]
    for one, other in zip(alone, shared, strict=True):
        np.testing.assert_array_equal(one.values, other.values)
        assert one.attrs["items"] == other.attrs["items"]
    assert 0 < len(decoded) <= len(set(server.requests))
    assert sum(image.attrs["read_bytes"] for image in shared) <= server.sent


def test_what_was_used_least_recently_goes_first() -> None:
    ended: list[str] = []

    def make(name: str) -> str:
        def made(stack: ExitStack) -> str:
            stack.callback(ended.append, name)
            return name

        return things.get(name, made)

    things = Kept(2)
    for name in ("a", "b", "a", "c"):
        assert make(name) == name
    assert ended == ["b"] and things.find("b") is None and things.find("a") == "a"
    things.close()
    assert sorted(ended) == ["a", "b", "c"]


def test_threads_share_nothing() -> None:
    seen: list[object] = []
    with sharing_reads():
        thread = threading.Thread(target=lambda: seen.append(kept()))
        thread.start()
        thread.join()
        assert kept() is not None
    assert seen == [None]
