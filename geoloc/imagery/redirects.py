"""Redirects, checked at every hop: none leads from a public to a private host."""

from __future__ import annotations

from typing import Any

import requests

from ..net.hosts import refused_redirect
from ..stores import without_secrets


class RefusedRedirect(requests.RequestException):
    """A server redirected to an address that must not be requested on its behalf."""


def check_redirect(response: requests.Response, *_: Any, **__: Any) -> None:
    """A hook of `requests`, called before a redirect is followed. Raises RefusedRedirect."""
    if not response.is_redirect:
        return
    to = response.headers["Location"]
    if reason := refused_redirect(str(response.url), to):
        raise RefusedRedirect(f"it redirects to {without_secrets(to)[:100]}, and {reason}")


def watched(session: requests.Session) -> requests.Session:
    """The session, with its redirects checked."""
    session.hooks["response"].append(check_redirect)
    return session


def refused_on_the_way(url: str, timeout: tuple[float, float] = (10.0, 30.0)) -> str:
    """Why a URL is not given to a library that follows any redirect (GDAL); empty if it may be.

    Costs a request for one byte.
    """
    headers = {"Range": "bytes=0-0", "Accept-Encoding": "identity"}
    with watched(requests.Session()) as session:
        try:
            session.get(url, headers=headers, stream=True, timeout=timeout).close()
        except RefusedRedirect as error:
            return str(error)
        except (requests.RequestException, ValueError):
            return ""  # reported when it is opened
    return ""
