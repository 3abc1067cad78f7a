"""Which links of a catalog are followed: none from a server to this disk or a private host."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from ...net.gated import gate
from ...net.hosts import ALLOWED, is_allowed_file, place_of, refusal
from ..redirects import refused_on_the_way
from ..servers import as_url

_WEB = ("http", "https")
_OBJECTS = ("s3", "gs", "az")


@dataclass(frozen=True)
class Reach:
    """The reach of the catalog at ``url``, with its keys filled in."""

    url: str

    @property
    def is_remote(self) -> bool:
        """Whether it is on a server."""
        return urlsplit(self.url).scheme in _WEB

    @property
    def known(self) -> str | None:
        """The private place that its files may be read from (`geoloc.imagery.raster`)."""
        return self._place if self.is_remote else None

    def refusal(self, href: str) -> str:
        """Why a file that it names is not opened; empty if it may be.

        A server may name http(s) and object stores, and private hosts only if it is one itself
        or the user allows them (`geoloc.net.hosts`). A catalog on disk may name files there.
        """
        url = as_url(href)
        scheme = urlsplit(url).scheme
        if url.startswith("<") or url.startswith("/vsi"):
            return "a catalog may name files and plain URLs, but no other GDAL paths"
        if not self.is_remote or scheme in _OBJECTS:
            return ""
        if scheme in _WEB:
            return refusal(url, self._place)
        if scheme in ("", "file") and is_allowed_file(url.removeprefix("file://")):
            return ""
        return (
            "a catalog on a server may name http, https and s3 only, and files in folders that "
            f"{ALLOWED} lists"
        )

    def refused_on_the_way(self, href: str) -> str:
        """Why a file is not opened, by the redirects of its server; empty if it may be."""
        url = as_url(href)
        if not self.is_remote or urlsplit(url).scheme not in _WEB or gate() is not None:
            return ""  # each connection is checked
        return refused_on_the_way(url)

    def document_refusal(self, href: str) -> str:
        """Why another part of the catalog is not read; empty if it may be."""
        if not self.is_remote:
            return ""
        if urlsplit(href).scheme not in _WEB:
            return "a catalog on a server may link to http and https only"
        return refusal(href, self._place)

    @property
    def _place(self) -> str:
        return place_of(self.url)
