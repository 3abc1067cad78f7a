"""Static catalogs and their items: walked by their links, each document once.

The content at a URL determines its kind: a catalog or collection of any version since 0.6 (older
ones have no ``type``), one item, or a list of items as returned by a search.
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

from ...errors import ImageryError, one_line
from .paging import Json, PagedIO

_WHAT = "an API's root, a catalog.json, a collection, an item, or a list of items"
_OLDEST = "0.8.1"  # the assumed version of an object without one


def read_any(io: PagedIO, href: str) -> Json:
    """The STAC object at ``href``. Raises ImageryError for anything else."""
    text = io.read_text(href.removeprefix("file://"))
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        begin = " ".join(text.split())[:30]
        page = "an HTML page" if begin.startswith("<") else f"not JSON but {begin!r}"
        raise ImageryError(f"it is {page}: give {_WHAT}") from None
    kind = content.get("type") if isinstance(content, dict) else type(content).__name__
    if kind == "FeatureCollection" or _object_type(content) is not None:
        return dict(content)
    keys = ", ".join(list(map(str, content))[:5]) if isinstance(content, dict) else ""
    raise ImageryError(f"it is JSON, but not STAC ({keys or kind}): give {_WHAT}")


def _object_type(content: Any) -> pystac.STACObjectType | None:
    """Catalog, collection or item, of any version; None for anything else."""
    if not isinstance(content, dict):
        return None
    kind = content.get("type")
    if kind == "Feature":
        return pystac.STACObjectType.ITEM if isinstance(content.get("assets"), dict) else None
    if not isinstance(content.get("links"), list) or kind not in (None, "Catalog", "Collection"):
        return None
    if kind == "Collection" or (kind is None and ("extent" in content or "license" in content)):
        return pystac.STACObjectType.COLLECTION
    return pystac.STACObjectType.CATALOG if "id" in content else None


@dataclass
class Walk:
    """The items below ``root``, the object at ``url``; ``collections``: ids of those passed."""

    io: PagedIO
    url: str
    root: Json
    collections: set[str] = field(default_factory=set)

    def items(self) -> Iterator[Json]:
        """Items as dictionaries of the current version; ``self`` is the href of each.

        Circular links are followed once. Raises ImageryError for a broken link.
        """
        seen = {self.url}
        todo: deque[str] = deque()
        yield from self._inside(self.root, self.url, todo)
        while todo:
            if (href := todo.popleft()) not in seen:
                seen.add(href)
                yield from self._inside(self._read(href), href, todo)

    def _read(self, href: str) -> Json:
        try:
            return read_any(self.io, href)
        except Exception as error:  # noqa: BLE001  (three libraries, each with its own tree)
            reason = one_line(error)
            raise ImageryError(f"'{href}' does not resolve to a STAC object: {reason}") from None

    def _inside(self, content: Json, href: str, todo: deque[str]) -> Iterator[Json]:
        """Items in an object itself; its links are added to ``todo``."""
        if content.get("type") == "FeatureCollection":
            for page in self._pages(content, href):
                yield from self._listed(page.get("features") or [], href)
            return
        kind = _object_type(content)
        if kind == pystac.STACObjectType.ITEM:
            yield {**self._item(content, href), "self": href, "base": href}
            return
        if kind == pystac.STACObjectType.COLLECTION:
            self.collections.add(str(content.get("id")))
        links = [link for link in content["links"] if link.get("href")]
        below = [link["href"] for rel in ("item", "child") for link in links if link["rel"] == rel]
        if not below and any(link["rel"] == "items" for link in links):
            raise ImageryError(
                f"'{href}' is a collection of an API: give the API's root as url, and "
                f"collections: [{content.get('id')}]"
            )
        todo.extend(make_absolute_href(one, href, start_is_dir=False) for one in below)

    def _pages(self, page: Json, href: str) -> Iterator[Json]:
        """The pages of a list of items; a server's list continues with its next pages."""
        if urlsplit(href).scheme in ("http", "https"):
            return self.io.pages(page, href)
        if any(link.get("rel") == "next" for link in page.get("links") or []):
            self.io.notes[f"{href} is one page of several: the others are not read"] = None
        return iter([page])

    def _listed(self, features: list[Any], href: str) -> Iterator[Json]:
        """The items of a list; raises ImageryError if none of its entries is one."""
        items = [one if isinstance(one, dict) else {} for one in features]
        if features and not any(_object_type(one) == pystac.STACObjectType.ITEM for one in items):
            raise ImageryError(
                f"'{href}' holds features that are not STAC items, as they have no assets: "
                f"give {_WHAT}"
            )
        return (self._item(one, href) for one in items)

    def _item(self, raw: Json, href: str) -> Json:
        facts = raw
        with suppress(Exception):  # of three libraries; invalid items are reported when read
            item = self.io.stac_object_from_dict({"stac_version": _OLDEST, **raw}, href=href)
            facts = item.to_dict(include_self_link=False, transform_hrefs=False)
        own = next((k["href"] for k in raw.get("links") or [] if k.get("rel") == "self"), None)
        place = make_absolute_href(own, href, start_is_dir=False) if own else ""
        return {**facts, "self": place, "base": place or href}
