"""Requests to servers for the version of a file: a few headers, never the file."""

from __future__ import annotations

import contextlib
import email.utils
import threading
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3 import Retry
from urllib3.exceptions import HTTPError

from ..stores import may_pass, open_objects
from .redirects import watched
from .unanswered import MISSING, Unanswered

_PATIENCE = (10.0, 30.0)  # s until a server is reached, and until it answers
_RETRIES = Retry(
    total=3, connect=1, read=0, backoff_factor=0.5, status_forcelist=(429, 502, 503, 504),
    allowed_methods=None, raise_on_status=False, respect_retry_after_header=False,
)  # fmt: skip
_GONE = (404, 410)
_BUSY = (429, 500, 502, 503, 504)
_UNANSWERED = 3  # files in a row after which a host is given up
_OBJECT_PATIENCE = {"connect_timeout": "10s", "timeout": "30s"}
_OBJECTS = ("s3", "gs", "az")
_GDALS = {"/vsicurl/": "", "/vsis3/": "s3://", "/vsigs/": "gs://", "/vsiaz/": "az://"}
_AS_STORED = {"Accept-Encoding": "identity"}
_ONE_BYTE = _AS_STORED | {"Range": "bytes=0-0"}


class _Busy(Unanswered):
    """A response that says: not now."""


class Servers:
    """Keeps connections to servers, and remembers which refuse HEAD or are silent."""

    def __init__(self) -> None:
        self._stores: dict[str, Any] = {}
        self._lock = threading.Lock()
        self._headless: set[str] = set()
        self._silent: dict[str, int] = {}
        self._own = threading.local()

    def version(self, href: str) -> str | None:
        """A file's version, None if its server gives none. Raises CubeError, Unanswered."""
        url = as_url(href)
        try:
            scheme, host = urlsplit(url)[:2]
        except ValueError:
            return None
        if scheme not in (*_OBJECTS, "http", "https"):
            return None
        if self._silent.get(host, 0) >= _UNANSWERED:
            raise Unanswered("no answer")
        try:
            version = self._of_object(url) if scheme in _OBJECTS else self._of_page(url)
        except _Busy:  # the host works
            raise
        except Unanswered:
            self._silent[host] = self._silent.get(host, 0) + 1
            raise
        self._silent.pop(host, None)
        return version

    def _of_object(self, url: str) -> str | None:
        """An object's version, through our own stores, which know profiles and endpoints."""
        import obstore
        from obstore.exceptions import BaseError

        scheme, _, place = url.partition("://")
        bucket, _, key = place.partition("/")
        try:
            facts = obstore.head(self._store(f"{scheme}://{bucket}"), key)
        except FileNotFoundError:
            return MISSING
        except (BaseError, OSError, ValueError) as error:
            if may_pass(error):
                raise Unanswered("no answer") from None
            return None
        return str(facts["e_tag"] or f"{facts['last_modified']}-{facts['size']}")

    def _store(self, root: str) -> Any:
        with self._lock:
            if root not in self._stores:
                self._stores[root] = open_objects(root, **_OBJECT_PATIENCE)
            return self._stores[root]

    def _of_page(self, url: str) -> str | None:
        """A page's version by HEAD, or by a GET of one byte if HEAD is refused or gives none."""
        host = urlsplit(url).netloc
        if host not in self._headless and (version := self._answer("HEAD", url)[1]):
            return version
        status, version = self._answer("GET", url)
        if version:
            self._headless.add(host)
        return MISSING if status in _GONE else version

    def _answer(self, method: str, url: str) -> tuple[int, str | None]:
        """The status, and the version if given. No body is read. Raises Unanswered."""
        headers = _ONE_BYTE if method == "GET" else _AS_STORED
        try:
            with self._session().request(
                method, url, headers=headers, stream=True, allow_redirects=True, timeout=_PATIENCE
            ) as answer:
                status = answer.status_code
                version = _version_of(answer.headers) if answer.ok else None
        except (requests.RequestException, HTTPError, ValueError):  # the last two: odd redirects
            raise Unanswered("no answer") from None
        if status in _BUSY:
            raise _Busy(f"HTTP {status}")
        return status, version

    def _session(self) -> requests.Session:
        """This thread's session; it handles redirects, proxies and passwords as GDAL does."""
        if not hasattr(self._own, "session"):
            self._own.session = watched(requests.Session())
            for scheme in ("http://", "https://"):
                self._own.session.mount(scheme, HTTPAdapter(max_retries=_RETRIES))
        session: requests.Session = self._own.session
        return session


def _version_of(headers: Mapping[str, str]) -> str | None:
    """The ETag, else the date and the whole file's size."""
    if etag := headers.get("ETag"):
        return etag
    if (date := headers.get("Last-Modified")) is None:
        return None
    whole = headers.get("Content-Range", "").rpartition("/")[2]
    with contextlib.suppress(ValueError, OverflowError):
        date = str(email.utils.parsedate_to_datetime(date))
    return f"{date}-{whole or headers.get('Content-Length', '')}"


def as_url(href: str) -> str:
    """The URL that a path of GDAL's virtual file systems stands for."""
    for prefix, scheme in _GDALS.items():
        if href.startswith(prefix):
            return scheme + href.removeprefix(prefix)
    return href
