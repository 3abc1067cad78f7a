"""Searching a STAC API, or walking a static catalog, with pystac-client."""

from __future__ import annotations

import datetime as dt
import functools
import http.client
import itertools
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from pystac.utils import make_absolute_href
from pystac_client import Client, ConformanceClasses, ItemSearch
from pystac_client.stac_api_io import StacApiIO
from requests import Request
from urllib3 import Retry

from ...area import Bounds, StacImagery
from ...errors import ImageryError
from ..crs import LONLAT, box_in
from ..keys import fill_keys, hide_keys
from .scene import Json

_TIMEOUT = 30.0
_RETRIES = Retry(
    total=5, connect=2, backoff_factor=0.5, status_forcelist=(429, 500, 502, 503, 504),
    allowed_methods=None,
)  # fmt: skip
_CHECK_KEY = ": check the key; write it as ${NAME} in the url, or in imagery sign for files"
_CHECK_URL = ": check the url, which is an API's root or a catalog.json"
_ADVICE = {401: _CHECK_KEY, 403: _CHECK_KEY, 404: _CHECK_URL, 405: _CHECK_URL, 410: _CHECK_URL}
_WORLD: Bounds = (-180.0, -90.0, 180.0, 90.0)


class Catalog:
    """A catalog opened for one specification; every error is an ImageryError of one line."""

    def __init__(self, spec: StacImagery) -> None:
        self.spec = spec
        self._client: Client = self._asked(self._open)
        self.searchable: bool = self._client.conforms_to(ConformanceClasses.ITEM_SEARCH)

    def find(self, box: Bounds, most: int | None = None) -> tuple[Bounds, list[Json]]:
        """Items in a box of degrees, hrefs absolute, and the box searched (a static catalog: all).

        Raises ImageryError where the catalog cannot be read or does not know a collection.
        """
        most = most or self.spec.max_items
        found: list[Json] = self._asked(lambda: self._found(box, most))
        if not found and self.spec.collections:
            self._asked(self._require_collections)
        if not found and self.spec.query and not self._answers_queries:
            raise ImageryError(
                f"STAC catalog {self.spec.url} found nothing, and does not say that it knows the "
                "query extension: leave query out; use datetime, collections and max_cloud"
            )
        return (box if self.searchable else _WORLD), found

    def _open(self) -> Client:
        url = fill_keys(self.spec.url)
        keyed = _key_adder(url) if url != self.spec.url else None
        if keyed is not None:
            url = url.partition("?")[0]
        io = StacApiIO(max_retries=_RETRIES)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # static catalogs: no conformance classes
            return Client.open(url, stac_io=io, request_modifier=keyed, timeout=_TIMEOUT)

    def _asked(self, ask: Callable[[], Any]) -> Any:
        try:
            return ask()
        except ImageryError:
            raise
        except Exception as error:  # noqa: BLE001  (three libraries, each with its own tree)
            reason = hide_keys(self.spec.url, _reason(error))[:400]
            raise ImageryError(f"STAC catalog {self.spec.url}: {reason}") from None

    def _found(self, box: Bounds, most: int | None) -> list[Json]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its remarks on catalogs' habits
            return list(self._search(box, most))

    def _search(self, box: Bounds, most: int | None) -> Iterator[Json]:
        found: Iterator[Json]
        if self.searchable:
            found = self._client.search(
                bbox=box,
                collections=self.spec.collections or None,
                datetime=self.spec.datetime,
                query=self._query(),
                max_items=most,
            ).items_as_dicts()
        else:
            found = self._walk()
        items = (item for item in found if self._clear_enough(item))
        return map(with_absolute_hrefs, items if self.searchable else itertools.islice(items, most))

    def _query(self) -> Json | None:
        """Clouds are filtered by the server where it can, which saves pages."""
        query = dict(self.spec.query)
        if self.spec.max_cloud is not None and self._answers_queries:
            query.setdefault("eo:cloud_cover", {"lte": self.spec.max_cloud})
        return query or None

    @property
    def _answers_queries(self) -> bool:
        return bool(self._client.conforms_to(ConformanceClasses.QUERY))

    def _clear_enough(self, item: Json) -> bool:
        most, cloud = self.spec.max_cloud, item["properties"].get("eo:cloud_cover")
        return most is None or cloud is None or cloud <= most

    def _walk(self) -> Iterator[Json]:
        """All items of a static catalog that fit, newest first."""
        if self.spec.query:
            raise ImageryError(
                f"STAC catalog {self.spec.url} is static and cannot answer a query: use "
                "datetime, collections and max_cloud"
            )
        begin, end = interval(self.spec.datetime)
        items = (
            {**item.to_dict(include_self_link=False, transform_hrefs=False), "self": href}
            for item in self._client.get_items(recursive=True)
            if (href := item.get_self_href()) is not None
        )
        wanted = [
            item for item in items if self._in_collections(item) and _within(item, begin, end)
        ]
        return iter(sorted(wanted, key=_when, reverse=True))

    def _in_collections(self, item: Json) -> bool:
        return not self.spec.collections or item.get("collection") in self.spec.collections

    def _require_collections(self) -> None:
        known = {c.id for c in self._collections()}
        if unknown := sorted(set(self.spec.collections) - known):
            raise ImageryError(
                f"STAC catalog {self.spec.url} has no collection {', '.join(unknown)}: "
                f"it has {', '.join(sorted(known)[:20]) or 'none'}"
            )

    def _collections(self) -> Iterable[Any]:
        if self.searchable:
            return self._client.get_collections()
        return (c for c in self._client.get_children() if type(c).__name__.startswith("Collection"))


def _key_adder(url: str) -> Callable[[Request], Request]:
    """What gives the query of a catalog's URL to all requests to its host, and to no other."""
    host, query = urlsplit(url)[:2], parse_qsl(urlsplit(url).query)

    def add(request: Request) -> Request:
        asked = str(request.url)
        there = dict(parse_qsl(urlsplit(asked).query))
        lacking = [(name, value) for name, value in query if name not in there]
        if lacking and urlsplit(asked)[:2] == host:
            request.url = f"{asked}{'&' if '?' in asked else '?'}{urlencode(lacking)}"
        return request

    return add


def _reason(error: Exception) -> str:
    """What a server or a library says, and what to check where the server's status tells it."""
    text = " ".join(str(error).split())[:250]
    text = "" if text.startswith("<") else text  # a page for browsers
    status = getattr(error, "status_code", None)
    if status is None:
        return text or type(error).__name__
    phrase = http.client.responses.get(status, "")
    said = f" ({text})" if text else ""
    return f"HTTP {status} {phrase}".rstrip() + said + _ADVICE.get(status, "")


def with_absolute_hrefs(item: Json) -> Json:
    """An item's dictionary, its assets' hrefs seen from nowhere."""
    base = item.pop("self", None) or _self_link(item)
    for asset in item["assets"].values():
        if base:
            asset["href"] = make_absolute_href(asset["href"], base, start_is_dir=False)
    return item


def _self_link(item: Json) -> str | None:
    links = item.get("links", [])
    return next((str(link["href"]) for link in links if link.get("rel") == "self"), None)


@functools.lru_cache(maxsize=16)
def interval(text: str | None) -> tuple[dt.datetime, dt.datetime]:
    """First and last moment of a STAC datetime (``2024-06``, ``2024-04-01/..``).

    Raises ValueError where it is none.
    """
    first, last = dt.datetime.min.replace(tzinfo=dt.UTC), dt.datetime.max.replace(tzinfo=dt.UTC)
    if text is None:
        return first, last
    # pystac-client expands months and days as it does for an API
    expanded = ItemSearch("", method="GET", datetime=text).get_parameters()["datetime"]
    begin, _, end = expanded.partition("/")
    return (
        first if begin == ".." else dt.datetime.fromisoformat(begin),
        last if end == ".." else dt.datetime.fromisoformat(end or begin),
    )


def _within(item: Json, begin: dt.datetime, end: dt.datetime) -> bool:
    properties = item["properties"]
    start = properties.get("datetime") or properties.get("start_datetime")
    stop = properties.get("datetime") or properties.get("end_datetime") or start
    return not start or (_moment(start) <= end and _moment(stop) >= begin)


def _moment(text: str) -> dt.datetime:
    time = dt.datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=dt.UTC)


def _when(item: Json) -> str:
    properties = item["properties"]
    return str(properties.get("datetime") or properties.get("start_datetime") or "")


def search_box(bounds: Bounds, crs: str, margin: float = 0.05) -> Bounds:
    """Degrees around a window, with a margin for the windows of its rim.

    Raises ImageryError where the CRS cannot map it.
    """
    west, south, east, north = box_in(bounds, crs, LONLAT)
    if not all(-400 < edge < 400 for edge in (west, south, east, north)):
        raise ImageryError(f"window {list(bounds)} in {crs} is not on the map: correct the area")
    return (
        max(west - margin, -180.0),
        max(south - margin, -90.0),
        min(east + margin, 180.0),
        min(north + margin, 90.0),
    )
