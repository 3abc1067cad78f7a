"""Catalogs that lie as files, and their items: walked by their links, each place once.

What is meant by a URL is told by what lies there: a catalog or collection of any version since
0.6 (older ones have no ``type``), one item, or a list of items as a search gives it.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pystac
from pystac.utils import make_absolute_href

from ...errors import ImageryError
from .paging import Json, PagedIO

_WHAT = "an API's root, a catalog.json, a collection, an item, or a list of items"
_OLDEST = "0.8.1"  # what an object without a version is taken for


def read_any(io: PagedIO, href: str) -> Json:
    """The JSON object that lies at ``href``. Raises ImageryError for anything else."""
    text = io.read_text(href.removeprefix("file://"))
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        begin = " ".join(text.split())[:30]
        page = "a page for browsers" if begin.startswith("<") else f"no JSON but {begin!r}"
        raise ImageryError(f"there is {page}: give {_WHAT}") from None
    kind = found.get("type") if isinstance(found, dict) else type(found).__name__
    if kind == "FeatureCollection" or _object_type(found) is not None:
        return dict(found)
    keys = ", ".join(list(map(str, found))[:5]) if isinstance(found, dict) else ""
    raise ImageryError(f"there is JSON, but no STAC ({keys or kind}): give {_WHAT}")


def _object_type(found: Any) -> pystac.STACObjectType | None:
    """Catalog, collection or item, of any version; None where it is none of them."""
    if not isinstance(found, dict):
        return None
    kind = found.get("type")
    if kind == "Feature":
        return pystac.STACObjectType.ITEM if isinstance(found.get("assets"), dict) else None
    if not isinstance(found.get("links"), list) or kind not in (None, "Catalog", "Collection"):
        return None
    if kind == "Collection" or (kind is None and ("extent" in found or "license" in found)):
        return pystac.STACObjectType.COLLECTION
    return pystac.STACObjectType.CATALOG if "id" in found else None


@dataclass
class Walk:
    """The items below what lies at ``url``, with ``collections``, the ids of those passed by."""

    io: PagedIO
    url: str
    found: Json
    collections: set[str] = field(default_factory=set)

    def items(self) -> Iterator[Json]:
        """Items as dictionaries of today's version; ``self`` is where each lies.

        Links that lead in a circle are followed once. Raises ImageryError where a link leads
        nowhere.
        """
        seen = {self.url}
        todo: deque[str] = deque()
        yield from self._inside(self.found, self.url, todo)
        while todo:
            if (href := todo.popleft()) not in seen:
                seen.add(href)
                yield from self._inside(self._read(href), href, todo)

    def _read(self, href: str) -> Json:
        try:
            return read_any(self.io, href)
        except Exception as error:  # noqa: BLE001  (three libraries, each with its own tree)
            reason = " ".join(str(error).split())[:200]
            raise ImageryError(f"'{href}' does not resolve to a STAC object: {reason}") from None

    def _inside(self, found: Json, href: str, todo: deque[str]) -> Iterator[Json]:
        """Items that lie in an object itself; what it links to is put down to do."""
        if found.get("type") == "FeatureCollection":
            for page in self._pages(found, href):
                yield from self._listed(page.get("features") or [], href)
            return
        kind = _object_type(found)
        if kind == pystac.STACObjectType.ITEM:
            yield {**self._item(found, href), "self": href, "base": href}
            return
        if kind == pystac.STACObjectType.COLLECTION:
            self.collections.add(str(found.get("id")))
        links = [link for link in found["links"] if link.get("href")]
        below = [link["href"] for rel in ("item", "child") for link in links if link["rel"] == rel]
        if not below and any(link["rel"] == "items" for link in links):
            raise ImageryError(
                f"'{href}' is a collection of an API: give the API's root as url, and "
                f"collections: [{found.get('id')}]"
            )
        todo.extend(make_absolute_href(one, href, start_is_dir=False) for one in below)

    def _pages(self, found: Json, href: str) -> Iterator[Json]:
        """A list of items; what a server answered goes on where the server says so."""
        if urlsplit(href).scheme in ("http", "https"):
            return self.io.pages(found, href)
        if any(link.get("rel") == "next" for link in found.get("links") or []):
            self.io.notes[f"{href} is one page of several: the others are not read"] = None
        return iter([found])

    def _listed(self, features: list[Any], href: str) -> Iterator[Json]:
        """The items of a list; raises ImageryError where none is one."""
        items = [one if isinstance(one, dict) else {} for one in features]
        if features and not any(_object_type(one) == pystac.STACObjectType.ITEM for one in items):
            raise ImageryError(
                f"'{href}' holds features that are no STAC items, as they have no assets: "
                f"give {_WHAT}"
            )
        return (self._item(one, href) for one in items)

    def _item(self, found: Json, href: str) -> Json:
        facts = found
        with suppress(Exception):  # of three libraries; what is not valid is told where it is read
            item = self.io.stac_object_from_dict({"stac_version": _OLDEST, **found}, href=href)
            facts = item.to_dict(include_self_link=False, transform_hrefs=False)
        own = next((k["href"] for k in found.get("links") or [] if k.get("rel") == "self"), None)
        place = make_absolute_href(own, href, start_is_dir=False) if own else ""
        return {**facts, "self": place, "base": place or href}
