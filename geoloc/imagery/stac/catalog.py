"""Searching a STAC API with pystac-client, or walking a static catalog."""

from __future__ import annotations

import datetime as dt
import functools
import http.client
import itertools
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from pystac.utils import make_absolute_href, make_relative_href
from pystac_client import Client, ConformanceClasses, ItemSearch
from requests import Request
from urllib3 import Retry

from ...area import Bounds, StacImagery
from ...errors import ImageryError
from ..crs import LONLAT, box_in
from ..keys import fill_keys, hide_keys
from .paging import PagedIO
from .reach import Reach
from .scene import Json
from .static import Walk, read_any

_TIMEOUT = 30.0
_RETRIES = Retry(
    total=5, connect=2, backoff_factor=0.5, status_forcelist=(429, 500, 502, 503, 504),
    allowed_methods=None,
)  # fmt: skip
_CHECK_KEY = ": check the key; write it as ${NAME} in the url, or in imagery sign for files"
_CHECK_URL = ": check the url, which is an API's root or a catalog.json"
_ADVICE = {401: _CHECK_KEY, 403: _CHECK_KEY, 404: _CHECK_URL, 405: _CHECK_URL, 410: _CHECK_URL}
_FARTHEST = 400.0  # degrees: larger numbers come of a failed projection
WORLD: Bounds = (-180.0, -90.0, 180.0, 90.0)


class Catalog:
    """A catalog opened for one specification; every error is an ImageryError of one line."""

    def __init__(self, spec: StacImagery) -> None:
        self.spec = spec
        self._url = spec.url
        self._api: Client | None = None
        self._walk: Walk | None = None
        self._with_one_line_errors(self._open)

    @property
    def searchable(self) -> bool:
        """Whether it answers searches; a static catalog is walked instead."""
        return self._api is not None

    @property
    def notes(self) -> tuple[str, ...]:
        """Faults of the catalog seen so far."""
        return tuple(f"STAC catalog {self.spec.url}: {note}" for note in self._io.notes)

    def place(self, href: str) -> str:
        """The path of an href relative to the catalog."""
        return make_relative_href(href, self._url).removeprefix("./")

    def find(self, box: Bounds, most: int | None = None) -> tuple[Bounds, list[Json]]:
        """The box searched (for a static catalog: the world) and its items, with absolute hrefs.

        ``box`` is in degrees. Raises ImageryError if the catalog cannot be read or lacks a
        collection.
        """
        most = most or self.spec.max_items
        items: list[Json] = self._with_one_line_errors(lambda: self._items_in(box, most))
        if not items and self.spec.collections:
            self._with_one_line_errors(self._require_collections)
        if not items and self.spec.query and not self._answers_queries:
            raise ImageryError(
                f"STAC catalog {self.spec.url} found nothing and does not declare the query "
                "extension: leave query out; use datetime, collections and max_cloud"
            )
        return (box if self.searchable else WORLD), items

    def _open(self) -> None:
        template = url = fill_keys(self.spec.url)
        if url != self.spec.url:
            url = url.partition("?")[0]
        url = url if _is_remote(url) else str(Path(url.removeprefix("file://")).absolute())
        self._io = PagedIO(Reach(url), max_retries=_RETRIES, timeout=_TIMEOUT)
        if template != self.spec.url:
            self._io.update(request_modifier=_key_adder(template), timeout=_TIMEOUT)
        content, self._url = read_any(self._io, url), url
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if content.get("type") in (None, "Catalog") and content.get("conformsTo"):
                client = self._io.stac_object_from_dict(content, href=url)
                if isinstance(client, Client) and client.conforms_to(
                    ConformanceClasses.ITEM_SEARCH
                ):
                    self._api = client
                    return
        self._walk = Walk(self._io, self._url, content)

    def _with_one_line_errors(self, action: Callable[[], Any]) -> Any:
        try:
            return action()
        except ImageryError as error:
            if str(error).startswith("STAC catalog ") or "${" in str(error):
                raise
            reason = hide_keys(self.spec.url, str(error))
            raise ImageryError(f"STAC catalog {self.spec.url}: {reason}") from None
        except Exception as error:  # noqa: BLE001  (three libraries, each with its own tree)
            reason = hide_keys(self.spec.url, _reason(error))[:400]
            raise ImageryError(f"STAC catalog {self.spec.url}: {reason}") from None

    def _items_in(self, box: Bounds, most: int | None) -> list[Json]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # warnings about invalid catalogs
            return list(self._search(box, most))

    def _search(self, box: Bounds, most: int | None) -> Iterator[Json]:
        if self._api is None:
            return itertools.islice(map(with_absolute_hrefs, self._walked()), most)
        pages = self._api.search(
            bbox=box,
            collections=self.spec.collections or None,
            datetime=self.spec.datetime,
            query=self._query(),
            max_items=most,
        ).items_as_dicts()
        items = (item if isinstance(item, dict) else {} for item in pages)
        clear = (item for item in items if self._clear_enough(item))
        return (with_absolute_hrefs(item, self._url) for item in clear)

    def _query(self) -> Json | None:
        """The query; clouds are filtered by the server if it can, which saves pages."""
        query = dict(self.spec.query)
        if self.spec.max_cloud is not None and self._answers_queries:
            query.setdefault("eo:cloud_cover", {"lte": self.spec.max_cloud})
        return query or None

    @property
    def _answers_queries(self) -> bool:
        return self._api is not None and bool(self._api.conforms_to(ConformanceClasses.QUERY))

    def _clear_enough(self, item: Json) -> bool:
        most, cloud = self.spec.max_cloud, _properties(item).get("eo:cloud_cover")
        return most is None or cloud is None or cloud <= most

    def _walked(self) -> Iterator[Json]:
        """All matching items of a static catalog, newest first."""
        assert self._walk is not None
        if self.spec.query:
            raise ImageryError(
                f"STAC catalog {self.spec.url} is static and cannot answer a query: use "
                "datetime, collections and max_cloud"
            )
        begin, end = interval(self.spec.datetime)
        wanted = [
            item
            for item in self._walk.items()
            if self._in_collections(item) and _within(item, begin, end) and self._clear_enough(item)
        ]
        return iter(sorted(wanted, key=_when, reverse=True))

    def _in_collections(self, item: Json) -> bool:
        return not self.spec.collections or item.get("collection") in self.spec.collections

    def _require_collections(self) -> None:
        known = self._collections()
        if unknown := sorted(set(self.spec.collections) - known):
            raise ImageryError(
                f"STAC catalog {self.spec.url} has no collection {', '.join(unknown)}: "
                f"it has {', '.join(sorted(known)[:20]) or 'none'}"
            )

    def _collections(self) -> set[str]:
        if self._walk is not None:
            return self._walk.collections
        assert self._api is not None
        return {collection.id for collection in self._api.get_collections()}


def _is_remote(url: str) -> bool:
    return urlsplit(url).scheme in ("http", "https")


def _key_adder(url: str) -> Callable[[Request], Request]:
    """A modifier that adds the query of a catalog's URL to all requests to its host only."""
    host, query = urlsplit(url)[:2], parse_qsl(urlsplit(url).query)

    def add(request: Request) -> Request:
        target = str(request.url)
        present = dict(parse_qsl(urlsplit(target).query))
        lacking = [(name, value) for name, value in query if name not in present]
        if lacking and urlsplit(target)[:2] == host:
            request.url = f"{target}{'&' if '?' in target else '?'}{urlencode(lacking)}"
        return request

    return add


def _reason(error: Exception) -> str:
    """The message of a server or library, with advice by HTTP status."""
    text = " ".join(str(error).split())[:250]
    text = "" if text.startswith("<") else text  # an HTML page
    status = getattr(error, "status_code", None)
    if status is None:
        return text or type(error).__name__
    phrase = http.client.responses.get(status, "")
    detail = f" ({text})" if text else ""
    return f"HTTP {status} {phrase}".rstrip() + detail + _ADVICE.get(status, "")


def with_absolute_hrefs(item: Json, root: str = "") -> Json:
    """An item's dictionary with absolute hrefs of its assets and of itself (``self``).

    ``root``: the base of an API's relative self links.
    """
    own = item.get("self", _self_link(item)) or ""
    item["self"] = make_absolute_href(own, root, start_is_dir=False) if own and root else own
    base = item.pop("base", None) or item["self"]
    assets = item.get("assets")
    for asset in assets.values() if base and isinstance(assets, dict) else ():
        if isinstance(asset, dict) and isinstance(asset.get("href"), str):
            asset["href"] = make_absolute_href(asset["href"], base, start_is_dir=False)
    return item


def _properties(item: Json) -> Json:
    """An item's properties; empty if invalid, which is reported when it is read."""
    properties = item.get("properties")
    return properties if isinstance(properties, dict) else {}


def _self_link(item: Json) -> str | None:
    links = item.get("links") or []
    return next((str(link["href"]) for link in links if link.get("rel") == "self"), None)


@functools.lru_cache(maxsize=16)
def interval(text: str | None) -> tuple[dt.datetime, dt.datetime]:
    """First and last moment of a STAC datetime (``2024-06``, ``2024-04-01/..``).

    Raises ValueError if it is invalid.
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
    properties = _properties(item)
    start = properties.get("datetime") or properties.get("start_datetime")
    stop = properties.get("datetime") or properties.get("end_datetime") or start
    try:
        return not start or (_moment(start) <= end and _moment(stop or start) >= begin)
    except (ValueError, TypeError):
        return True  # invalid: reported when the item is read


def _moment(text: str) -> dt.datetime:
    time = dt.datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=dt.UTC)


def _when(item: Json) -> str:
    properties = _properties(item)
    return str(properties.get("datetime") or properties.get("start_datetime") or "")


def search_boxes(bounds: Bounds, crs: str, margin: float = 0.05) -> list[tuple[Bounds, Bounds]]:
    """Boxes of a window in degrees, each also with a margin; two boxes across 180 degrees.

    Raises ImageryError if the CRS cannot project it.
    """
    west, south, east, north = box_in(bounds, crs, LONLAT)
    if not all(abs(edge) < _FARTHEST for edge in (west, south, east, north)):
        raise ImageryError(f"window {list(bounds)} in {crs} is not on Earth: correct the area")
    sides = [(west, east)] if west <= east else [(west, 180.0), (-180.0, east)]
    boxes = [(first, south, last, north) for first, last in sides]
    return [(box, _widened(box, margin)) for box in boxes]


def _widened(box: Bounds, by: float) -> Bounds:
    west, south, east, north = box
    return (
        max(west - by, -180.0),
        max(south - by, -90.0),
        min(east + by, 180.0),
        min(north + by, 90.0),
    )
