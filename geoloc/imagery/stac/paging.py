"""The pages of a search, read to the end, but not past the point where they yield anything.

Some servers name the same next page forever, send the same items under ever new tokens, or send an
empty page before the last one; pystac-client follows the first two endlessly and stops at the
third.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pystac import Link
from pystac.utils import make_absolute_href
from pystac_client.stac_api_io import StacApiIO

from ...errors import ImageryError
from ...stores import without_secrets
from ..bodies import MOST_BYTES, bounded_session
from .reach import Reach

Json = dict[str, Any]

_MOST_PAGES = 10_000  # of one search: a million items
_MOST_EMPTY = 20  # pages in a row
_MOST_PARTS = 2_000_000  # lists and objects of a document: half a gigabyte once read
_WORDS_A_PART = 8  # quotation marks that take as much memory as one part


def _require_document(path: Path) -> None:
    """Raise ImageryError for a huge file, and for a device or the like, which may be endless."""
    if path.exists() and not path.is_file():
        raise ImageryError(f"{path} is not a file")
    if path.exists() and path.stat().st_size > MOST_BYTES:
        raise ImageryError(f"{path} is larger than {MOST_BYTES >> 20} MiB: split it")


class PagedIO(StacApiIO):
    """Reads STAC from files and servers; ``notes``: one line for each fault in paging."""

    def __init__(self, reach: Reach | None = None, **options: Any) -> None:
        """``reach``: how far the catalog's links are followed; None: anywhere."""
        super().__init__(**options)
        known = reach.known if reach else None
        self.session = bounded_session(known, max_retries=options.get("max_retries", 0))
        self.reach = reach
        self.notes: dict[str, None] = {}

    def read_text(self, source: Any, *args: Any, **kwargs: Any) -> str:
        """The text at a link or href. Raises ImageryError if it is out of reach."""
        href = source.to_dict()["href"] if isinstance(source, Link) else str(source)
        if self.reach and (reason := self.reach.document_refusal(href)):
            raise ImageryError(f"it links to {without_secrets(href)[:100]}, and {reason}")
        if urlsplit(href).scheme not in ("http", "https"):
            _require_document(Path(href))
        text = super().read_text(source, *args, **kwargs)
        parts = text.count("{") + text.count("[") + text.count('"') // _WORDS_A_PART
        if parts > _MOST_PARTS:
            raise ImageryError(f"{without_secrets(href)[:100]} has more parts than any catalog")
        return text

    def get_pages(
        self, url: str, method: str | None = None, parameters: Json | None = None
    ) -> Iterator[Json]:
        """The non-empty pages, each once.

        Raises ImageryError if there are more than any search should have.
        """
        return self.pages(
            self.read_json(url, method=method, parameters=parameters), url, parameters
        )

    def pages(self, page: Json, url: str, parameters: Json | None = None) -> Iterator[Json]:
        """A page that was read from ``url`` and those after it, without empty ones."""
        known: set[str] = set()
        requested: set[str] = set()
        empty = 0
        for _ in range(_MOST_PAGES):
            identities = {_identity(one) for one in _content(page)}
            if identities and identities <= known:
                return self._note("sends the same items again")
            known |= identities
            empty = 0 if identities else empty + 1
            if identities:
                yield page
            link = _next(page, url)
            if link is None:
                return None
            if (token := json.dumps(link, sort_keys=True)) in requested:
                return self._note("names the same next page again")
            if empty > _MOST_EMPTY:
                return self._note(f"has sent {empty} empty pages in a row")
            requested.add(token)
            page = self.read_json(Link.from_dict(link), parameters=parameters or {})
        raise ImageryError(
            f"a search has more than {_MOST_PAGES:,} pages: narrow it by collections, datetime "
            "or max_cloud, or set max_items"
        )

    def _note(self, what: str) -> None:
        self.notes[
            f"the catalog's paging is broken, as it {what}: the search ended there, and items may "
            "be missing"
        ] = None


def _content(page: Json) -> list[Json]:
    entries = page.get("features") or page.get("collections") or []
    return [one for one in entries if isinstance(one, dict)]


def _identity(one: Json) -> str:
    """Identifies an item or collection in a search; assets may be signed differently each time."""
    places = [link.get("href") for link in one.get("links") or [] if link.get("rel") == "self"]
    return json.dumps([one.get("collection"), one.get("id"), places])


def _next(page: Json, url: str) -> Json | None:
    """The link to the next page, with an absolute href."""
    for link in page.get("links") or []:
        if link.get("rel") == "next" and link.get("href"):
            href = make_absolute_href(link["href"], url, start_is_dir=False)
            return {**link, "href": href}
    return None
