"""Catalogs of every habit: who pages without end, links in circles, or is no catalog at all."""

from __future__ import annotations

import http.server
import json
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from geoloc.area import StacImagery
from geoloc.domain import Grid
from geoloc.errors import ImageryError
from geoloc.imagery import require_overlap
from geoloc.imagery.stac import StacSource

from .loopback import serving_on_loopback
from .test_imagery_geotiff import CRS, LEFT, TOP, WINDOW, noise, write
from .test_imagery_stac import catalog, item, source

Json = dict[str, Any]
NDPixels = np.ndarray[Any, np.dtype[np.uint8]]
HALF = WINDOW.nx // 2
WEST = WINDOW.window(slice(0, WINDOW.ny), slice(0, HALF))
EAST = WINDOW.window(slice(0, WINDOW.ny), slice(HALF, WINDOW.nx))


def save(path: Path, what: Any) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(what if isinstance(what, str) else json.dumps(what))
    return str(path)


def links(**by_rel: list[str] | str) -> list[Json]:
    return [
        {"rel": rel, "href": href}
        for rel, hrefs in by_rel.items()
        for href in ([hrefs] if isinstance(hrefs, str) else hrefs)
    ]


def container(name: str, kind: str = "Catalog", version: str = "1.0.0", **by_rel: Any) -> Json:
    facts: Json = {"id": name, "description": name, "stac_version": version, "type": kind}
    if kind == "Collection":
        extent = {"spatial": {"bbox": [[0, 0, 1, 1]]}, "temporal": {"interval": [[None, None]]}}
        facts |= {"license": "various", "extent": extent}
    return {**facts, "links": links(**by_rel)}


def halves(folder: Path) -> NDPixels:
    """A western and an eastern file; the pixels of both."""
    pixels = noise(1)
    folder.mkdir(exist_ok=True)
    write(folder / "w.tif", pixels[..., :HALF])
    write(folder / "e.tif", pixels[..., HALF:], left=EAST.left)
    return pixels


def two_strips(folder: Path, **facts: Any) -> str:
    """Two sub-catalogs, each with an item called ortho."""
    for strip, name, grid in (("s1", "w", WEST), ("s2", "e", EAST)):
        save(folder / strip / "i.json", item("ortho", f"../{name}.tif", grid, **facts))
        save(folder / strip / "catalog.json", container(strip, item="./i.json"))
    root = container("root", child=["./s1/catalog.json", "./s2/catalog.json"])
    return save(folder / "catalog.json", root)


@pytest.mark.parametrize("collection", [None, "aerial"])
def test_items_of_one_id_in_two_places_are_two(tmp_path: Path, collection: str | None) -> None:
    pixels = halves(tmp_path)
    read = source(two_strips(tmp_path, collection=collection))
    data = read.read(WINDOW)
    np.testing.assert_array_equal(data.values, pixels)
    assert data.valid.values.all()
    names = {i.id: Path(i.href).name for i in data.attrs["items"]}
    assert names == {"ortho (s1/i.json)": "w.tif", "ortho (s2/i.json)": "e.tif"}
    assert read.notes == (
        "2 items share their id with an item elsewhere in the catalog: each is read, and named "
        "with its path",
    )


def test_they_are_told_apart_wherever_the_catalog_lies(tmp_path: Path) -> None:
    halves(tmp_path / "a")
    first = source(two_strips(tmp_path / "a"))
    prints = [first.fingerprint(grid) for grid in (WEST, EAST, WINDOW)]
    assert len(set(prints)) == 3
    (tmp_path / "a").rename(tmp_path / "b")
    moved = source(str(tmp_path / "b" / "catalog.json"))
    moved = pickle.loads(pickle.dumps(moved))  # noqa: S301  (our own)
    assert [moved.fingerprint(grid) for grid in (WEST, EAST, WINDOW)] == prints


def test_one_item_linked_or_copied_twice_is_one(tmp_path: Path) -> None:
    write(tmp_path / "a.tif", noise(1))
    one = item("a", "../a.tif")
    save(tmp_path / "s1" / "i.json", one)
    save(tmp_path / "s2" / "copy.json", one)
    save(tmp_path / "s1" / "catalog.json", container("s1", item=["./i.json", "i.json"]))
    save(tmp_path / "s2" / "catalog.json", container("s2", item=["../s1/i.json", "copy.json"]))
    root = container("root", child=["s1/catalog.json", "s2/catalog.json", "./s1/catalog.json"])
    read = source(save(tmp_path / "catalog.json", root))
    (seen,) = read.read(WINDOW).attrs["items"]
    assert (seen.id, read.notes) == ("a", ())
    plain = source(catalog(tmp_path / "plain", item("a", "../../a.tif")))
    assert read.fingerprint(WINDOW) == plain.fingerprint(WINDOW)  # a cube made of it stays valid


@pytest.mark.parametrize(
    "target", ["./catalog.json", "./sub/catalog.json", "./sub/../catalog.json"]
)
def test_children_in_a_circle(tmp_path: Path, target: str) -> None:
    write(tmp_path / "a.tif", noise(1))
    save(tmp_path / "sub" / "a.json", item("a", "../a.tif"))
    back = container("sub", child=["../catalog.json", "./catalog.json"], item="./a.json")
    save(tmp_path / "sub" / "catalog.json", back)
    root = container("root", child=["./sub/catalog.json", target])
    read = source(save(tmp_path / "catalog.json", root))
    np.testing.assert_array_equal(read.read(WINDOW).values, noise(1))


OLD = ["0.6.2", "0.7.0", "0.8.1", "0.9.0", "1.0.0-beta.2", "1.0.0", None]


@pytest.mark.parametrize("version", OLD)
def test_old_catalogs_without_types(tmp_path: Path, version: str | None) -> None:
    write(tmp_path / "a.tif", noise(1))
    one = item("a", "../a.tif", projection="epsg")
    parts = {
        "sub/a.json": one,
        "sub/catalog.json": container("sub", "Collection", item="./a.json"),
        "catalog.json": container("root", child="./sub/catalog.json"),
    }
    for name, part in parts.items():
        part["stac_version"] = version
        if part["type"] != "Feature":
            del part["type"]
        save(tmp_path / name, {k: v for k, v in part.items() if v is not None})
    read = source(str(tmp_path / "catalog.json"))
    np.testing.assert_array_equal(read.read(WINDOW).values, noise(1))
    with pytest.raises(ImageryError, match="has no collection mars: it has sub"):
        source(str(tmp_path / "catalog.json"), collections=["mars"]).covers(WINDOW)


def listed(*items: Json, **by_rel: Any) -> Json:
    return {"type": "FeatureCollection", "features": list(items), "links": links(**by_rel)}


def test_an_item_a_list_of_items_and_a_collection(tmp_path: Path) -> None:
    pixels = halves(tmp_path)
    west, east = item("w", "w.tif", WEST), item("e", "e.tif", EAST)
    alike = item("w", "e.tif", EAST)  # another of the same id
    one = source(save(tmp_path / "west.json", west))
    np.testing.assert_array_equal(one.read(WEST).values, pixels[..., :HALF])
    for second, names in ((east, {"e", "w"}), (alike, {"w (e.tif)", "w (w.tif)"})):
        both = source(save(tmp_path / "list.json", listed(west, second)))
        data = both.read(WINDOW)
        np.testing.assert_array_equal(data.values, pixels)
        assert {i.id for i in data.attrs["items"]} == names
    gone = {"root": "../gone.json", "parent": "../gone.json", "self": "https://gone.example/c"}
    lonely = container("c", "Collection", item="./west.json", **gone)
    read = source(save(tmp_path / "collection.json", lonely))
    np.testing.assert_array_equal(read.read(WEST).values, pixels[..., :HALF])


def test_of_a_page_in_a_file_others_are_lacking(tmp_path: Path) -> None:
    write(tmp_path / "a.tif", noise(1))
    page = listed(item("a", "a.tif"), next="https://gone.example/search?token=2")
    read = source(save(tmp_path / "page.json", page))
    assert read.covers(WINDOW)
    assert [n for n in read.notes if "page.json is one page of several" in n]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<!DOCTYPE html><html><body>Log in</body></html>", "it is an HTML page: give"),
        ("\n\n<html>", "an HTML page"),
        ("", "not JSON but ''"),
        ("name: x", "not JSON but 'name: x'"),
        ("[1, 2]", r"JSON, but not STAC \(list\)"),
        ("3", r"JSON, but not STAC \(int\)"),
        ('{"a": 1, "b": 2}', r"JSON, but not STAC \(a, b\)"),
        ('{"type": "Topology", "links": []}', "JSON, but not STAC"),
        ('{"type": "Feature", "id": "x", "geometry": null}', "JSON, but not STAC"),
        ('{"type": "FeatureCollection", "features": [{"type": "Feature", "properties": {}}]}',
         "features that are not STAC items, as they have no assets"),
        (json.dumps(container("x", "Collection", items="https://gone.example/items")),
         r"of an API: give the API's root as url, and collections: \[x\]"),
        (json.dumps(container("x", item="./gone.json")), r"gone\.json' does not resolve"),
        (json.dumps(container("x", item="./html.json")), r"html\.json' .*an HTML page"),
        (json.dumps(container("x")), "has no item for this area"),
        ('{"type": "FeatureCollection", "features": []}', "has no item for this area"),
    ],
)  # fmt: skip
def test_what_is_no_catalog_is_refused_in_a_line(tmp_path: Path, text: str, message: str) -> None:
    save(tmp_path / "html.json", "<html>")
    url = save(tmp_path / "x.json", text)
    with pytest.raises(ImageryError, match=message) as caught:
        require_overlap(source(url), WINDOW)
    assert "\n" not in str(caught.value) and url in str(caught.value)


CONFORMS = ["https://api.stacspec.org/v1.0.0/core", "https://api.stacspec.org/v1.0.0/item-search"]
Answer = Callable[["FakeApi"], Json]


class FakeApi:
    """An API whose ``n``-th answer to a search (from 0) is made by a function."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.requests: list[Json] = []
        self.root = ""

    def page(self, *items: Json, token: str | None = None, href: str | None = None) -> Json:
        page = listed(*items)
        if token is not None:
            target = self.root + "/search" if href is None else href
            body = {"method": "POST", "body": {"token": token}, "merge": True}
            page["links"] = [{"rel": "next", "href": target, **body}]
        elif href is not None:
            page["links"] = links(next=href)
        return page


@pytest.fixture
def serve() -> Iterator[Callable[[Answer], FakeApi]]:
    running = []

    def start(answer: Answer) -> FakeApi:
        asked = FakeApi(answer)

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_: Any) -> None:
                pass

            def do_POST(self) -> None:
                size = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(size) or b"{}")
                if self.path.startswith("/search"):
                    reply = asked.answer(asked)
                    asked.requests.append({"path": self.path, **body})
                else:
                    search = {"rel": "search", "href": asked.root + "/search", "method": "POST"}
                    reply = {**container("api", self=asked.root), "conformsTo": CONFORMS}
                    reply["links"].append(search)
                data = json.dumps(reply).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST  # noqa: N815

        context = serving_on_loopback(Handler)
        asked.root = f"http://127.0.0.1:{context.__enter__()}"
        running.append(context)
        return asked

    yield start
    for context in running:
        context.__exit__(None, None, None)


def many(folder: Path, count: int, collection: str | None = "aerial") -> list[Json]:
    """Items of one file each, side by side."""
    write(folder / "a.tif", noise(1))
    href = str(folder / "a.tif")
    return [item(f"i{n}", f"{href}", WINDOW, collection=collection) for n in range(count)]


def found(api: FakeApi, **options: Any) -> tuple[set[str], list[str]]:
    read = StacSource(StacImagery(url=api.root, **options))
    assert read.covers(WINDOW)
    assert read.read(WINDOW).valid.values.all()
    return {scene.id for scene in read._known()}, [n for n in read.notes if "paging" in n]


BROKEN: dict[str, Callable[[FakeApi, list[Json]], Json]] = {
    "the same page": lambda a, i: a.page(i[0], token="next:1"),
    "the same items by new tokens": lambda a, i: a.page(i[0], token=str(len(a.requests))),
    "the same items by new links": lambda a, i: a.page(
        i[0], href=f"{a.root}/search?page={len(a.requests)}"
    ),
    "two pages by turns": lambda a, i: a.page(
        i[len(a.requests) % 2], token=str(len(a.requests) % 2)
    ),
    "empty pages without end": lambda a, i: a.page(
        *([] if a.requests else i[:1]), token=str(len(a.requests))
    ),
    "its own page": lambda a, i: a.page(i[0], href=a.root + "/search"),
}


@pytest.mark.parametrize("habit", BROKEN)
def test_pages_that_bring_nothing_new_end_the_search(
    tmp_path: Path, serve: Callable[[Answer], FakeApi], habit: str
) -> None:
    items = many(tmp_path, 2)
    api = serve(lambda asked: BROKEN[habit](asked, items))
    ids, notes = found(api)
    assert ids == ({"i0", "i1"} if "turns" in habit else {"i0"})
    assert len(notes) == 1 and api.root in notes[0] and "items may be missing" in notes[0]
    assert len(api.requests) <= 25


WHOLE: dict[str, Callable[[FakeApi, int, list[Json]], Json]] = {
    "tokens": lambda a, n, i: a.page(i[n], token=str(n) if n < 4 else None),
    "relative links": lambda a, n, i: a.page(
        i[n], token=str(n) if n < 4 else None, href="/search" if n < 4 else None
    ),
    "an empty page first": lambda a, n, i: (
        a.page(token="a") if n == 0 else a.page(*i)
    ),
    "empty pages between": lambda a, n, i: a.page(
        *(i[n : n + 1] if n % 2 else [i[0]] if n == 0 else []), *([i[2], i[4]] if n == 7 else []),
        token=str(n) if n < 7 else None,
    ),
    "pages that overlap": lambda a, n, i: a.page(
        *i[n : n + 2], token=str(n) if n < 3 else None
    ),
    "the limit ignored": lambda a, _, i: a.page(*i),
    "no links at all": lambda _a, _n, i: {"type": "FeatureCollection", "features": i},
}  # fmt: skip


@pytest.mark.parametrize("habit", WHOLE)
def test_all_pages_are_read(tmp_path: Path, serve: Callable[[Answer], FakeApi], habit: str) -> None:
    items = many(tmp_path, 5)
    api = serve(lambda asked: WHOLE[habit](asked, len(asked.requests), items))
    assert found(api) == ({f"i{n}" for n in range(5)}, [])


def test_an_apis_item_found_twice_with_other_files_is_told(
    tmp_path: Path, serve: Callable[[Answer], FakeApi]
) -> None:
    halves(tmp_path)
    write(tmp_path / "a.tif", noise(1))
    one = item("a", str(tmp_path / "a.tif"))
    signed = item("a", str(tmp_path / "a.tif") + "?sig=x")
    other = item("a", str(tmp_path / "w.tif"), WEST)
    for second, told in ((signed, False), (other, True)):
        api = serve(lambda asked, second=second: asked.page(one, second))  # type: ignore[misc]
        read = StacSource(StacImagery(url=api.root))
        assert read.covers(WINDOW) and len(read._known()) == 1
        assert any("a of aerial was found twice" in note for note in read.notes) is told


@pytest.mark.parametrize("own", ["items/{}", "/items/{}", None])
def test_an_apis_items_without_collection(
    tmp_path: Path, serve: Callable[[Answer], FakeApi], own: str | None
) -> None:
    """Told apart by their files; their own place may be told relatively, or not at all."""
    pixels = halves(tmp_path)
    parts = [item("x", (tmp_path / f"{name}.tif").as_uri(), grid, collection=None)
             for name, grid in (("w", WEST), ("e", EAST))]  # fmt: skip
    for name, part in zip("we", parts, strict=True):
        part["links"] = links(self=own.format(name)) if own else []
    api = serve(lambda asked: asked.page(*parts))
    data = StacSource(StacImagery(url=api.root)).read(WINDOW)
    np.testing.assert_array_equal(data.values, pixels)
    names = {i.id for i in data.attrs["items"]}
    assert len(names) == 2 and (not own or names == {"x (items/w)", "x (items/e)"})


def test_a_search_may_be_the_url(tmp_path: Path, serve: Callable[[Answer], FakeApi]) -> None:
    items = many(tmp_path, 3)
    api = serve(
        lambda a: a.page(
            items[n := len(a.requests)], href=f"search?page={n + 1}" if n < 2 else None
        )
    )
    read = StacSource(StacImagery(url=api.root + "/search?page=0"))
    assert read.covers(WINDOW) and {scene.id for scene in read._known()} == {"i0", "i1", "i2"}


def test_the_extent_of_all_items(tmp_path: Path, serve: Callable[[Answer], FakeApi]) -> None:
    halves(tmp_path)
    assert source(two_strips(tmp_path)).extent(CRS) == pytest.approx(WINDOW.bounds, abs=0.01)
    api = serve(lambda asked: asked.page(item("a", "a.tif", Grid(CRS, LEFT, TOP, 1.0, 4, 5))))
    with pytest.raises(ImageryError, match=r"answers searches.*write bounds or geometry"):
        StacSource(StacImagery(url=api.root)).extent(CRS)
