"""Signed hrefs: a token added to the URLs of a catalog's files, never shown or stored."""

from __future__ import annotations

import datetime as dt
import json
import threading
from typing import Any

from ...errors import ImageryError, one_line
from ..keys import fill_keys, hide_keys, key_called
from .paging import PagedIO

_PLANETARY_COMPUTER = "https://planetarycomputer.microsoft.com/api/sas/v1/token/{collection}"
_PLANETARY_HOST = ".blob.core.windows.net/"
_EARLY = dt.timedelta(minutes=3)  # a token is renewed so long before it expires
_TIMEOUT = 30  # s
_DEFAULT_LIFE = dt.timedelta(minutes=30)


class Signer:
    """Adds tokens to hrefs; ``how`` is ``StacImagery.sign``. Tokens stay in this process."""

    def __init__(self, how: str | None) -> None:
        self.how = how
        self._tokens: dict[str, tuple[str, dt.datetime]] = {}
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {"how": self.how}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["how"])  # type: ignore[misc]

    def sign(self, href: str, collection: str) -> str:
        """The href, with a token if it needs one. Raises ImageryError if there is none."""
        if self.how is None or not href.startswith(("http://", "https://")):
            return href
        if self.how == "planetary-computer" and _PLANETARY_HOST not in href:
            return href
        token = self._token(collection, href)
        return f"{href}{'&' if '?' in href else '?'}{token}"

    def scrub(self, text: str) -> str:
        """A message without any token."""
        for token, _ in list(self._tokens.values()):
            text = text.replace(f"?{token}", "").replace(token, "…")
        return text

    def _token(self, collection: str, href: str) -> str:
        assert self.how is not None
        if self.how.startswith("${"):  # checked each time: it may not go to every host
            token = key_called(self.how[2:-1], href).lstrip("?")
            self._tokens[collection] = token, _now() + _DEFAULT_LIFE
            return token
        with self._lock:
            token, until = self._tokens.get(collection, ("", _now()))
            if until - _EARLY <= _now():
                token, until = self._fetch(collection)
                self._tokens[collection] = token, until
            return token

    def _fetch(self, collection: str) -> tuple[str, dt.datetime]:
        assert self.how is not None
        url = _PLANETARY_COMPUTER if self.how == "planetary-computer" else self.how
        url = url.replace("{collection}", collection)
        filled = fill_keys(url)
        try:
            facts = json.loads(PagedIO(timeout=_TIMEOUT).read_text(filled))
            token = str(facts["token"]).lstrip("?")
        except Exception as error:  # noqa: BLE001  (errors of several libraries)
            reason = hide_keys(url, one_line(error))
            raise ImageryError(f"no token from {url}: {reason}") from None
        return token, _expiry(facts.get("msft:expiry") or facts.get("expires"))


def _expiry(text: str | None) -> dt.datetime:
    try:
        return dt.datetime.fromisoformat(str(text)).astimezone(dt.UTC)
    except ValueError:
        return _now() + _DEFAULT_LIFE


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
