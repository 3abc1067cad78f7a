"""Web tiles: in their place, at the right zoom, fetched politely; no key ever shows."""

from __future__ import annotations

import datetime as dt
import email.utils
import io
import itertools
import logging
import os
import pickle
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from PIL.PngImagePlugin import PngInfo
from pydantic import ValidationError
from pyproj import Transformer

from geoloc.area import XyzImagery
from geoloc.domain import Grid
from geoloc.errors import ImageryError
from geoloc.imagery import open_source, require_overlap
from geoloc.imagery.xyz import XyzSource, client
from geoloc.imagery.xyz.cache import TileCache
from geoloc.imagery.xyz.client import decode
from geoloc.imagery.xyz.pyramid import (
    HALF,
    Tiles,
    choose_zoom,
    fill_template,
    ground_size,
    quadkey,
    tiles_of,
)
from geoloc.imagery.xyz.repeats import Repeats, is_painted

from .tile_server import TileServer, serve_tiles

UTM = "EPSG:32636"
X, Y = 400_000.0, 5_600_000.0
WINDOW = Grid(UTM, X, Y, 1.0, 300, 260)
EAST, NORTH = Transformer.from_crs(UTM, "EPSG:3857", always_xy=True).transform(X, Y)


def colours(x: NDArray[Any], y: NDArray[Any]) -> NDArray[np.float64]:
    """Colours ``(3, y, x)`` of a place in EPSG:3857: to the east, to the south, and askew."""
    east, south = (x - EAST + 600) / 10, (NORTH - y + 600) / 10
    return np.stack([east, south, 20 + (east + south) / 2])


def ramp(zoom: int, x: int, y: int) -> NDArray[np.uint8]:
    grid = Tiles(zoom, x, x + 1, y, y + 1, 256).grid
    values = colours(*np.meshgrid(grid.x, grid.y))
    return np.clip(np.rint(values), 0, 255).astype(np.uint8).transpose(1, 2, 0)


@pytest.fixture
def server() -> Iterator[TileServer]:
    with serve_tiles(ramp) as running:
        yield running


@pytest.fixture(autouse=True)
def _haste(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_FIRST_WAIT", 0.02)


def source(server: TileServer, tmp_path: Path, url: str = "", **options: Any) -> XyzSource:
    given = {
        "url": url or server.url(),
        "tile_cache": tmp_path / "cache",
        "rate": 1000.0,
        **options,
    }
    return XyzSource(XyzImagery.model_validate(given))


@pytest.mark.parametrize("crs", [UTM, "EPSG:32635", "EPSG:3857"])
@pytest.mark.parametrize("step", [0.5, 1.0, 2.3, 9.0])
def test_nothing_is_shifted(server: TileServer, tmp_path: Path, crs: str, step: float) -> None:
    x, y = Transformer.from_crs(UTM, crs, always_xy=True).transform(X, Y)
    window = Grid(crs, x, y, step, int(400 / step), int(330 / step))
    data = source(server, tmp_path).read(window)
    there = Transformer.from_crs(crs, "EPSG:3857", always_xy=True).transform(
        *np.meshgrid(window.x, window.y)
    )
    assert data.valid.values.all() and data.attrs["errors"] == ()
    error = data.values - colours(*there)
    assert np.abs(error).max() <= 1.6  # rounded twice; a pixel of 9 m would be 1.4 more
    assert abs(error.mean()) < 0.6


@pytest.mark.parametrize(
    "template",
    ["tms/{z}/{x}/{-y}.png", "{s}/{z}/{x}/{y}.png?v=1", "{z}/{x}/{y}{r}.png"],
)
def test_templates(server: TileServer, tmp_path: Path, template: str) -> None:
    source(server, tmp_path, server.url(template)).read(WINDOW)
    tiles = source(server, tmp_path)._tiles(WINDOW)
    assert tiles is not None
    y = 2**tiles.zoom - 1 - tiles.y0 if "-y" in template else tiles.y0
    assert any(f"/{tiles.zoom}/{tiles.x0}/{y}.png" in path for path in server.requests)
    assert "{" not in "".join(server.requests)


def test_quadkeys() -> None:
    """The example of the Bing Maps Tile System."""
    assert quadkey(3, 5, 3) == "213"
    assert fill_template("http://h/{q}?{z}", 3, 5, 3, "a") == "http://h/213?3"


@given(st.floats(-84, 84), st.floats(0.1, 200), st.integers(0, 22), st.sampled_from([256, 512]))
def test_the_zoom_is_the_least_that_is_fine_enough(
    latitude: float, gsd: float, highest: int, px: int
) -> None:
    zoom = choose_zoom(gsd, latitude, px, 0, highest)
    if zoom < highest:
        assert ground_size(latitude, zoom, px) <= gsd * 1.1 * (1 + 1e-9)
    if zoom > 0:
        assert ground_size(latitude, zoom - 1, px) > gsd * 1.1 * (1 - 1e-9)


@given(st.integers(0, 20), st.floats(-1, 1), st.floats(-1, 1), st.floats(1e-7, 0.001))
def test_tiles_hold_their_box(zoom: int, u: float, v: float, size: float) -> None:
    box = (u * HALF, v * HALF, (u + size) * HALF, (v + size) * HALF)
    tiles = tiles_of(box, zoom, 256)
    if tiles is not None:
        left, bottom, right, top = tiles.grid.bounds
        assert left <= max(box[0], -HALF) + 1e-6 and right >= min(box[2], HALF) - 1e-6
        assert bottom <= max(box[1], -HALF) + 1e-6 and top >= min(box[3], HALF) - 1e-6
        assert len(list(tiles)) == len(tiles)


def test_a_stated_zoom_is_kept(server: TileServer, tmp_path: Path) -> None:
    source(server, tmp_path, zoom=14).read(WINDOW)
    assert {path.split("/")[1] for path in server.requests} == {"14"}
    with pytest.raises(ImageryError, match=r"tiles of zoom 22 .*lower it"):
        source(server, tmp_path, zoom=22).read(Grid(UTM, X, Y, 10.0, 100, 100))


def test_no_tile_means_no_data(tmp_path: Path) -> None:
    def west_only(zoom: int, x: int, y: int) -> NDArray[np.uint8] | None:
        return ramp(zoom, x, y) if x % 2 == 0 else None

    with serve_tiles(west_only) as server:
        read = source(server, tmp_path)
        data = read.read(WINDOW)
        assert data.attrs["errors"] == ()
        assert 0.2 < data.valid.values.mean() < 0.8
        assert (data.values[:, ~data.valid.values] == 0).all()
        asked = len(server.requests)
        assert read.read(WINDOW).identical(data)
        assert len(server.requests) == asked  # what is not there is remembered too


def test_transparent_pixels_are_no_data_and_do_not_bleed(tmp_path: Path) -> None:
    def half(*_: int) -> NDArray[np.uint8]:
        tile = np.full((256, 256, 4), (200, 200, 190, 255), np.uint8)
        tile[:, 100:] = 0
        return tile

    with serve_tiles(half) as server:
        data = source(server, tmp_path).read(WINDOW)
    assert 0.2 < data.valid.values.mean() < 0.6
    there = data.values[:, data.valid.values].astype(int)
    assert np.abs(there - np.array([[200], [200], [190]])).max() <= 2


@pytest.mark.parametrize(
    "faults",
    [["503"], ["429:0"], ["html"], ["cut"], ["half"], ["500", "502", "504"], ["stall"]],
    ids=lambda faults: "-".join(faults).replace(":", "_"),
)
def test_passing_faults_are_retried(server: TileServer, tmp_path: Path, faults: list[str]) -> None:
    server.faults = list(faults)
    data = source(server, tmp_path, timeout=0.5 if faults == ["stall"] else 30).read(WINDOW)
    assert data.attrs["errors"] == () and data.valid.values.all()
    assert np.abs(data.values[0].astype(float)).mean() > 10


def test_retry_after_holds_everybody_back(server: TileServer, tmp_path: Path) -> None:
    server.faults = ["429:1"]
    source(server, tmp_path, connections=1).read(WINDOW)
    assert server.times[1] - server.times[0] >= 0.99


def test_retry_after_may_be_a_date() -> None:
    soon = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=90)
    assert 80 < client._retry_after(email.utils.format_datetime(soon)) <= 91
    past = soon - dt.timedelta(days=1)
    for text, seconds in (("7", 7), ("-3", 0), (email.utils.format_datetime(past), 0), ("soon", 0)):
        assert client._retry_after(text) == seconds


def test_a_server_that_wants_too_long_is_given_up(server: TileServer, tmp_path: Path) -> None:
    server.always = "503:9999"
    start = time.monotonic()
    with pytest.raises(ImageryError, match=r"127.0.0.1:\d+: HTTP 503"):
        source(server, tmp_path, connections=1).read(Grid(UTM, X, Y, 1.0, 4, 4))
    assert time.monotonic() - start < 60


def test_a_long_wait_holds_for_all_tiles_and_blocks(server: TileServer, tmp_path: Path) -> None:
    server.always = "429:3600"
    read = source(server, tmp_path)
    start = time.monotonic()
    for block in range(4):
        message = (
            r"HTTP 429 Too Many Requests: the server asks to wait 3600 s \((\d+) of \1 tiles\)$"
        )
        with pytest.raises(ImageryError, match=message):
            read.read(Grid(UTM, X + 2000 * block, Y, 1.0, 900, 900))
    assert time.monotonic() - start < 10
    assert len(server.requests) <= read.spec.connections  # those that were under way


def test_a_long_wait_ends(
    server: TileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_LONGEST_WAIT", 0.2)
    server.faults = ["503:1"]
    read = source(server, tmp_path, connections=1)
    with pytest.raises(ImageryError, match="asks to wait 1 s"):
        read.read(WINDOW)
    assert len(server.requests) == 1
    time.sleep(1)
    assert read.read(WINDOW).valid.values.all()


def test_one_refusal_has_one_reason() -> None:
    refusal = client.Refusal()
    assert refusal.reason == ""
    first = refusal.begin(500, "HTTP 429")
    assert refusal.begin(499, "HTTP 503") == refusal.reason == first


@pytest.mark.parametrize("after", ["nan", "inf", "-inf", "1e999", "Wed, 21 Oct 2015 07:28:00"])
def test_a_malformed_wait_is_none(server: TileServer, tmp_path: Path, after: str) -> None:
    server.faults = [f"429:{after}"]
    start = time.monotonic()
    assert source(server, tmp_path, connections=1).read(WINDOW).valid.values.all()
    assert time.monotonic() - start < 10


def test_a_date_without_zone_is_utc() -> None:
    soon = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=90)
    for zone in ("", " -0000"):
        date = soon.strftime("%a, %d %b %Y %H:%M:%S") + zone
        assert 80 < client._retry_after(date) <= 91


@given(st.text() | st.from_regex(r"[A-Z][a-z]{2}, \d+ (Jan|May) \d+ \d+:\d+:\d+ [+-]?\d+"))
def test_any_wait_is_a_number(after: str) -> None:
    assert 0 <= client._retry_after(after) < float("inf")


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("403", "HTTP 403 Forbidden"),
        ("html", "not an image but begins b'<html>"),
        ("half", "damaged"),
        ("500", "HTTP 500"),
        ("cut", "RemoteProtocolError"),
        ("stall", "ReadTimeout"),
    ],
)
def test_lasting_faults_are_told_in_one_line(
    server: TileServer, tmp_path: Path, fault: str, message: str
) -> None:
    server.always = fault
    read = source(server, tmp_path, retries=1, timeout=0.3 if fault == "stall" else 30)
    with pytest.raises(ImageryError, match=message) as caught:
        read.read(WINDOW)
    assert "\n" not in str(caught.value)
    server.always = ""
    again = source(server, tmp_path, retries=1)  # with the same cache
    assert again.read(WINDOW).valid.values.all()  # nothing damaged was kept


def test_some_broken_tiles_are_reported_beside_the_others(tmp_path: Path) -> None:
    with serve_tiles(ramp) as server:
        read = source(server, tmp_path, retries=0, connections=1)
        server.faults = ["500", "403"]
        data = read.read(WINDOW)
    assert sorted(data.attrs["errors"])[0].endswith(f"HTTP 403 Forbidden (1 of {_tiles()} tiles)")
    assert len(data.attrs["errors"]) == 2
    assert 0 < data.valid.values.mean() < 1


def _tiles() -> int:
    return len(tiles_of(_box(), 17, 256) or [])


def _box() -> tuple[float, float, float, float]:
    from geoloc.imagery.crs import box_in

    return box_in(WINDOW.bounds, UTM, "EPSG:3857")


def test_a_server_that_is_down_is_not_asked_forever(tmp_path: Path) -> None:
    with serve_tiles(ramp) as server:
        gone = server.url()
    read = XyzSource(XyzImagery.model_validate({"url": gone, "tile_cache": tmp_path, "retries": 1}))
    start = time.monotonic()
    with pytest.raises(ImageryError, match="ConnectError"):
        read.read(Grid(UTM, X, Y, 1.0, 2000, 2000))
    assert time.monotonic() - start < 10


def test_a_connection_fault_names_its_reason(tmp_path: Path) -> None:
    with serve_tiles(ramp) as server:
        gone = server.url()
    read = XyzSource(XyzImagery.model_validate({"url": gone, "tile_cache": tmp_path, "retries": 0}))
    with pytest.raises(ImageryError, match=r"ConnectError \(Connection refused\) \(\d+ of"):
        read.read(WINDOW)


def test_a_name_that_is_not_found_is_told_in_words() -> None:
    try:
        socket.getaddrinfo("127.0.0.1", 80, socket.AF_INET6)  # fails without a network
    except OSError as deepest:
        between = RuntimeError("between")
        between.__context__ = deepest
        fault = RuntimeError("above")
        fault.__cause__ = between
        assert client._cause(fault) == f" ({deepest.strerror})"
        assert deepest.errno is not None and deepest.errno < 0  # no number that os.strerror knows
    else:
        pytest.fail("an IPv4 address was taken for an IPv6 one")


def test_the_client_is_polite(server: TileServer, tmp_path: Path) -> None:
    read = source(server, tmp_path, rate=25, connections=2, user_agent="tests/1")
    read.read(WINDOW)
    assert server.agents == {"tests/1"}
    assert server.most_at_once <= 2
    gaps = np.diff(server.times)
    assert len(gaps) >= 5 and gaps.mean() >= 0.9 / 25


def test_tiles_are_fetched_once(server: TileServer, tmp_path: Path) -> None:
    first = source(server, tmp_path).read(WINDOW)
    asked = len(server.requests)
    again = pickle.loads(pickle.dumps(source(server, tmp_path))).read(WINDOW)  # noqa: S301
    assert again.identical(first) and len(server.requests) == asked
    source(server, tmp_path, version="2026").read(WINDOW)
    assert len(server.requests) == 2 * asked
    for path in (tmp_path / "cache").rglob("*"):
        if path.is_file():
            path.write_bytes(b"\x89PNG damaged")
    assert source(server, tmp_path).read(WINDOW).identical(first)


def test_the_bytes_of_tiles_are_counted(server: TileServer, tmp_path: Path) -> None:
    plain = source(server, tmp_path).read(WINDOW).attrs["read_bytes"]
    assert plain == server.sent > 10_000
    assert source(server, tmp_path).read(WINDOW).attrs["read_bytes"] == plain  # out of the cache
    assert plain == server.sent
    server.faults = ["html", "500"]
    mended = source(server, tmp_path, version="2").read(WINDOW)
    assert mended.attrs["read_bytes"] == plain  # what is no tile does not count
    far = Grid(UTM, X, 9_900_000.0, 1.0, 9, 9)
    assert source(server, tmp_path).read(far).attrs["read_bytes"] == 0


def test_the_cache_keeps_its_cap(tmp_path: Path) -> None:
    cache = TileCache(tmp_path, cap=10_000)
    for index in range(40):
        cache.put(str(index), bytes(1000))
        os.utime(cache._path(str(index)), (index, index))
    cache.trim()
    assert sum(p.stat().st_size for p in tmp_path.rglob("*") if p.is_file()) <= 10_000
    assert cache.get("39") is not None and cache.get("0") is None
    assert not list(tmp_path.rglob("*.part"))
    (tmp_path / "file").write_text("")
    nowhere = TileCache(tmp_path / "file" / "x", cap=10_000)
    nowhere.put("a", b"1")
    assert nowhere.get("a") is None


def test_keys_come_from_the_environment_and_never_show(
    server: TileServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    url = server.url("{z}/{x}/{y}.png?style=sat&key=${TILE_KEY}")
    with pytest.raises(ImageryError, match=r"\$\{TILE_KEY\} is not set"):
        source(server, tmp_path, url)
    monkeypatch.setenv("TILE_KEY", "s3cret")
    caplog.set_level(logging.DEBUG)
    read = source(server, tmp_path, url)
    data = read.read(WINDOW)
    assert all("key=s3cret" in path for path in server.requests)
    server.always = "403"
    with pytest.raises(ImageryError) as caught:
        read.read(Grid(UTM, X + 3000, Y, 1.0, 10, 10))
    shown = [caplog.text, str(caught.value), repr(data.attrs), repr(read.spec)]
    shown += [read.fingerprint(WINDOW), str(pickle.dumps(read)), str(read.spec.recorded())]
    shown += [str(path) for path in (tmp_path / "cache").rglob("*")]
    assert not [text for text in shown if "s3cret" in text]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"url": "https://h/{z}/{x}/{y}?key=abc123"}, r"key= contains a key: write key=\$\{NAME\}"),
        ({"url": "https://h/tiles"}, r"write \{z\}, \{x\} and \{y\}"),
        ({"url": "https://h/{z}/{x}"}, r"write \{z\}, \{x\} and \{y\}"),
        ({"url": "https://h/{z}/{y}"}, r"write \{z\}, \{x\} and \{y\}"),
        ({"url": "https://h/{x}/{-y}"}, r"write \{z\}, \{x\} and \{y\}"),
        ({"url": "https://h/{Z}/{X}/{Y}"}, r"\{Z\} is unknown: the names are \{z\}, \{x\}"),
        ({"url": "https://h/{z}/{x}/{y}{ratio}"}, r"\{ratio\} is unknown"),
        ({"url": "https://h/{level}/{row}/{col}"}, r"\{level\} is unknown"),
        ({"url": "https://{switch:a,b}.h/{z}/{x}/{y}"}, r"\{switch:a,b\} is unknown"),
        ({"url": "https://{a-c}.h/{z}/{x}/{y}"}, r"\{a-c\} is unknown"),
        ({"url": "https://h/{quadkey}"}, r"\{quadkey\} is unknown"),
        ({"url": "https://h/{z}/{x}/{y}?key={apikey}"}, r"\{apikey\} is unknown"),
        ({"url": "https://h/{ z }/{x}/{y}"}, r"\{ z \} is unknown"),
        ({"url": "https://h/{z}/{x}/{y}/{}"}, r"\{\} is unknown"),
        ({"url": "https://h/${z}/${x}/${y}"}, r"environment variable: write \{z\}, without the"),
        ({"url": "https://h/{z}/{x}/{y"}, r"a brace is unpaired"),
        ({"url": "https://h/{{z}}/{x}/{y}"}, r"a brace is unpaired"),
        ({"url": "https://h/%7Bz%7D/%7Bx%7D/%7By%7D"}, r"a brace is unpaired or written as %7B"),
        ({"min_zoom": 9, "max_zoom": 8}, "min_zoom 9 is above"),
        ({"bounds": [10, 50, 9, 51]}, "west, south, east, north"),
    ],
)
def test_specifications_that_make_no_sense(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message) as caught:
        XyzImagery.model_validate({"url": "https://h/{z}/{x}/{y}.png", **changes})
    assert "abc123" not in str(caught.value)


def test_providers_by_name() -> None:
    named = XyzSource(XyzImagery.model_validate({"url": "Esri.WorldImagery"}))
    assert "{z}" in named.template and named.template.startswith("https://")
    with pytest.raises(ImageryError, match="needs a key"):
        XyzSource(XyzImagery.model_validate({"url": "MapBox"}))
    with pytest.raises(ImageryError, match="neither a URL nor a provider"):
        XyzSource(XyzImagery.model_validate({"url": "Nobody.Knows"}))


def test_the_gsd_is_that_of_the_place(server: TileServer, tmp_path: Path) -> None:
    """Tiles without bounds are as coarse as at the equator nowhere else."""
    read = source(server, tmp_path, max_zoom=17)
    lat = Transformer.from_crs(UTM, "EPSG:4326", always_xy=True).transform(X, Y)[1]
    assert read.gsd == pytest.approx(1.19, abs=0.01)
    assert read.gsd_at(WINDOW) == pytest.approx(ground_size(lat, 17, 256), rel=1e-3)
    assert read.gsd_at(WINDOW) < 0.75 * read.gsd


def test_bounds_and_what_is_outside(server: TileServer, tmp_path: Path) -> None:
    require_overlap(source(server, tmp_path), WINDOW)
    lon, lat = Transformer.from_crs(UTM, "EPSG:4326", always_xy=True).transform(X, Y)
    near = source(server, tmp_path, bounds=[lon - 0.1, lat - 0.1, lon + 0.1, lat + 0.1])
    require_overlap(near, WINDOW)
    assert near.gsd == pytest.approx(ground_size(lat, 19, 256))
    far = Grid(UTM, X + 50_000, Y, 10.0, 9, 9)
    assert not near.covers(far) and not near.read(far).valid.values.any()
    with pytest.raises(ImageryError, match="outside the imagery"):
        require_overlap(near, far)
    assert server.requests == []


@pytest.mark.parametrize("zone", ["EPSG:32601", "EPSG:32660"])
def test_windows_across_180_degrees(tmp_path: Path, zone: str) -> None:
    """Tiles of both ends of the map lie beside each other; the box of the tiles counts too."""
    zoom = 9

    def render(_: int, x: int, __: int) -> NDArray[np.uint8]:
        return np.full((256, 256, 3), 200 if x >= 2 ** (zoom - 1) else 80, np.uint8)

    x, y = Transformer.from_crs("EPSG:4326", zone, always_xy=True).transform(180, 60)
    window = Grid(zone, x - 4000, y + 4000, 100, 80, 80)
    with serve_tiles(render) as server:
        read = source(server, tmp_path, zoom=zoom)
        require_overlap(read, window)
        data = read.read(window)
        assert data.attrs["errors"] == () and len(server.requests) < 12
        assert data.valid.values.all()
        assert (data.values[:, :, :35] == 200).all() and (data.values[:, :, 45:] == 80).all()
        assert source(server, tmp_path, bounds=[170, 50, 180, 70]).covers(window)
        assert source(server, tmp_path, bounds=[-180, 50, -170, 70]).covers(window)
        assert not source(server, tmp_path, bounds=[0, 50, 170, 70]).covers(window)


def picture(mode: str) -> tuple[bytes, NDArray[np.uint8]]:
    """A tile as PNG, and what it shows (y, x, rgba)."""
    grey = np.random.default_rng(2).integers(0, 256, (256, 256)).astype(np.uint8)
    alpha = np.full_like(grey, 255)
    out, options, shown = io.BytesIO(), {}, np.stack([grey, grey, grey], axis=-1)
    if mode == "I;16":
        image = Image.fromarray(grey.astype(np.uint16) * 257)
    elif mode == "1":
        image = Image.fromarray(grey > 127)
        shown = np.where(shown > 127, 255, 0).astype(np.uint8)
    elif mode == "P":
        image = Image.fromarray(grey % 4, "P")
        colours = [(250, 10, 20), (0, 128, 64), (9, 8, 7), (5, 5, 200)]
        image.putpalette([value for rgb in colours for value in rgb])
        options, alpha = {"transparency": 2}, np.where(grey % 4 == 2, 0, alpha).astype(np.uint8)
        shown = np.array(colours, np.uint8)[grey % 4]
    elif mode == "L":
        image = Image.fromarray(grey)
        options, alpha = {"transparency": 7}, np.where(grey == 7, 0, alpha).astype(np.uint8)
    else:
        alpha[:9] = 0
        image = Image.merge("LA", [Image.fromarray(grey), Image.fromarray(alpha)])
    image.save(out, "PNG", **options)
    return out.getvalue(), np.dstack([shown, alpha])


@pytest.mark.parametrize("mode", ["I;16", "1", "P", "L", "LA"])
def test_tiles_of_any_depth_are_what_they_show(mode: str) -> None:
    data, shown = picture(mode)
    found = decode(data, 256)
    assert found is not None
    np.testing.assert_array_equal(found[..., 3], shown[..., 3])
    there = shown[..., 3] > 0
    np.testing.assert_array_equal(found[there], shown[there])


@pytest.mark.parametrize(
    ("size", "good"),
    [((512, 512), True), ((1024, 1024), True), ((128, 128), True), ((256, 200), False),
     ((400, 60), False), ((300, 300), False), ((32, 32), False), ((2048, 2048), False)],
)  # fmt: skip
def test_pictures_of_another_shape_are_no_tiles(size: tuple[int, int], good: bool) -> None:
    out = io.BytesIO()
    Image.new("RGB", size, (10, 90, 30)).save(out, "PNG")
    if good:
        found = decode(out.getvalue(), 256)
        assert found is not None and found.shape == (256, 256, 4)
        assert (found == (10, 90, 30, 255)).all()
        return
    with pytest.raises(ValueError, match=f"a tile is {size[0]} x {size[1]} px, not 256"):
        decode(out.getvalue(), 256)


def test_fingerprints_tell_versions_and_places_apart(server: TileServer, tmp_path: Path) -> None:
    plain = source(server, tmp_path)
    prints = {
        plain.fingerprint(WINDOW),
        plain.fingerprint(Grid(UTM, X + 2000, Y, 1.0, 10, 10)),
        source(server, tmp_path, version="2").fingerprint(WINDOW),
    }
    assert len(prints) == 3
    assert source(server, tmp_path, rate=3.0).fingerprint(WINDOW) == plain.fingerprint(WINDOW)
    assert open_source(plain.spec).fingerprint(WINDOW) == plain.fingerprint(WINDOW)


def placard(text: int = 120) -> NDArray[np.uint8]:
    """What a server draws for tiles it has not: letters on grey."""
    image = Image.new("RGB", (256, 256), (204, 204, 204))
    for row in range(4):
        ImageDraw.Draw(image).text((40, 40 + 50 * row), "not yet available", fill=(text,) * 3)
    return np.asarray(image)


def noisy(*_: int) -> NDArray[np.uint8]:
    """Water of one colour, but for what compression does to it."""
    noise = np.random.default_rng(0).integers(0, 4, (256, 256, 3))
    return (noise + np.array([20, 40, 60])).astype(np.uint8)


def test_a_picture_sent_for_many_tiles_is_no_land(tmp_path: Path) -> None:
    def west_only(zoom: int, x: int, y: int) -> NDArray[np.uint8]:
        return ramp(zoom, x, y) if x < middle else placard()

    with serve_tiles(ramp) as whole:
        window = Grid(UTM, X, Y, 1.0, 1200, 1500)
        tiles = source(whole, tmp_path)._tiles(window)
        assert tiles is not None
        middle = (tiles.x0 + tiles.x1) // 2
        plain = source(whole, tmp_path).read(window)
    with serve_tiles(west_only) as server:
        read = source(server, tmp_path / "b")
        data = read.read(window)
        valid = data.valid.values
        assert 0.2 < valid.mean() < 0.8 and not valid[:, -1].any() and valid[:, 0].all()
        error = np.abs(data.values[:, valid].astype(int) - plain.values[:, valid])
        assert error.max() <= 2 and error.mean() < 0.01  # but for rounding at the seam
        (note,) = data.attrs["notes"]
        assert "one image is sent for different tiles" in note and data.attrs["errors"] == ()
        assert data.attrs["items"]
        # one tile alone, of another process: known from the first on
        east = source(server, tmp_path / "b").read(Grid(UTM, X + 1480, Y - 600, 1.0, 9, 9))
        assert not east.valid.values.any() and east.attrs["notes"] == (note,)
        assert east.attrs["errors"] == ()


def test_where_nothing_but_one_picture_comes_it_is_a_fault(tmp_path: Path) -> None:
    with serve_tiles(lambda *_: placard()) as server:
        data = source(server, tmp_path).read(WINDOW)
        assert not data.valid.values.any() and data.attrs["items"] == ()
        (error,) = data.attrs["errors"]
        assert "nothing else has been sent: check url and max_zoom" in error and "\n" not in error


@pytest.mark.parametrize(
    "render",
    [
        lambda *_: np.full((256, 256, 3), (20, 60, 90), np.uint8),
        noisy,
        lambda _, x, y: placard(100 + x % 10 * 10 + y % 10),  # alike, but no two the same
    ],
)
def test_tiles_of_one_colour_are_land_or_water(tmp_path: Path, render: Any) -> None:
    with serve_tiles(render) as server:
        data = source(server, tmp_path).read(Grid(UTM, X, Y, 1.0, 900, 900))
        assert data.valid.values.all() and not data.attrs["errors"] and not data.attrs["notes"]


def test_a_few_tiles_alike_are_left(tmp_path: Path) -> None:
    repeats = Repeats(TileCache(tmp_path, 10_000), "h")
    pixels = np.dstack([placard(), np.full((256, 256), 255, np.uint8)])
    for place in ((17, 1, 1), (17, 1, 1), (17, 1, 2), (17, 2, 1), (17, 2, 1), (17, 1, 1)):
        repeats.add(place, "ab", pixels)
    assert not repeats.is_placeholder("ab")  # three tiles, however often
    repeats.add((18, 1, 1), "ab", pixels)
    assert repeats.is_placeholder("ab")
    for server, known in (("h", True), ("other", False)):
        later = Repeats(TileCache(tmp_path, 10_000), server)
        later.add((1, 0, 0), "ab", pixels)
        assert later.is_placeholder("ab") is known


@pytest.mark.parametrize("clear", [True, False])
def test_transparent_pixels_have_no_colour(clear: bool) -> None:
    pixels = np.zeros((256, 256, 4), np.uint8)
    pixels[:100] = (20, 60, 90, 255)
    assert is_painted(pixels)
    pixels[150:, 0] = (90, 20, 20, 0 if clear else 255)
    assert is_painted(pixels) is clear


@pytest.mark.parametrize("level", [0, 128, 204, 255])
def test_one_grey_for_many_tiles_is_a_blank(tmp_path: Path, level: int) -> None:
    with serve_tiles(lambda *_: np.full((256, 256, 3), level, np.uint8)) as server:
        data = source(server, tmp_path).read(WINDOW)
        assert not data.valid.values.any()
        assert "one image is sent for different tiles" in data.attrs["errors"][0]


@pytest.mark.parametrize("kind", ["JPEG", "JPEG with a tail", "PNG"])
def test_placeholders_may_differ_beside_their_pixels(tmp_path: Path, kind: str) -> None:
    """By a comment, such as the time at which each was made."""
    count = itertools.count()

    def body(*_: int) -> bytes:
        told, out = str(next(count)), io.BytesIO()
        info = PngInfo()
        info.add_text("Comment", told)
        options: dict[str, Any] = {"comment": told} if kind == "JPEG" else {"pnginfo": info}
        Image.fromarray(placard()).save(out, kind.split()[0], **options)
        return out.getvalue() + (told.encode() if "tail" in kind else b"")

    with serve_tiles(body) as server:
        data = source(server, tmp_path).read(WINDOW)
        assert not data.valid.values.any() and data.attrs["notes"]


@pytest.mark.parametrize("colour", [(0, 0, 0), (20, 60, 90)])
def test_a_picture_of_a_pixel_is_no_tile(tmp_path: Path, colour: tuple[int, int, int]) -> None:
    with serve_tiles(lambda *_: np.full((1, 1, 3), colour, np.uint8)) as server:
        data = source(server, tmp_path).read(WINDOW)
        assert not data.valid.values.any() and data.attrs["errors"] == ()


@pytest.mark.parametrize(
    ("header", "value", "there"),
    [
        ("X-VE-Tile-Info", "no-tile", False),
        ("x-ve-tile-info", "No-Tile", False),
        ("OATiles-hint", "empty", False),
        ("X-VE-Tile-Info", "tile", True),
        ("OATiles-hint", "full", True),
    ],
)
def test_servers_may_say_that_a_picture_is_none(
    server: TileServer, tmp_path: Path, header: str, value: str, there: bool
) -> None:
    server.headers = {header: value}
    data = source(server, tmp_path).read(WINDOW)
    assert data.valid.values.any() == there and data.attrs["errors"] == ()
    server.headers = {}
    again = source(server, tmp_path).read(WINDOW)  # out of the cache
    assert again.valid.values.any() == there


@pytest.mark.parametrize("always", ["204", "empty"])
def test_an_empty_answer_is_no_tile(server: TileServer, tmp_path: Path, always: str) -> None:
    server.always = always
    data = source(server, tmp_path).read(WINDOW)
    assert not data.valid.values.any() and data.attrs["errors"] == ()


@pytest.mark.parametrize("always", ["html", "json"])
def test_what_is_no_picture_is_told(server: TileServer, tmp_path: Path, always: str) -> None:
    server.always = always
    with pytest.raises(ImageryError, match="a response is not an image but begins") as caught:
        source(server, tmp_path, retries=0).read(WINDOW)
    assert "\n" not in str(caught.value)


def test_the_extent_is_that_of_the_bounds(server: TileServer, tmp_path: Path) -> None:
    box = Transformer.from_crs(UTM, "EPSG:4326", always_xy=True).transform_bounds(*WINDOW.bounds)
    left, bottom, right, top = source(server, tmp_path, bounds=list(box)).extent(UTM)
    for found, edge in zip((left, bottom, right, top), WINDOW.bounds, strict=True):
        assert abs(found - edge) < 20  # a box of degrees around it
    with pytest.raises(ImageryError, match="web tiles cover the world"):
        source(server, tmp_path).extent(UTM)
