"""Secrets in URLs: found, so that a file may refuse them, and left out of what is told or kept.

A secret is what stands before the ``@`` of a host, and the value of a query's parameter whose
name speaks of a key or a signature; a signature's companions (its date, its end) go with it, as
they change with it. ``${NAME}`` in such a place is none: it is filled in from the environment.
"""

from __future__ import annotations

import re

_USER = re.compile(r"(?<=://)(?!(?:[^/?#\s:@]*:)?\$\{\w+\}@)[^/?#\s]*@")
_QUERY = re.compile(r"""\?((?:[^\s'"<>()\[\]:]|:(?!\s|$))+)""")  # of a URL, also inside a message
_SECRET_NAME = re.compile(r"(?i)key|token|secret|sig|passw|pwd|credential|hmac|^auth$")
_COMPANION = re.compile(
    r"(?i)^(x-(amz|goog)-.*|expires|policy|s[eprtv]|spr|sk[estv]|skoid|sktid)$"
)  # of signatures by AWS, Google and Azure


def secret_in(url: str) -> str | None:
    """What in a URL is a secret: ``NAME=`` of a parameter, or ``user:password``; None if nothing.

    The secret itself is not repeated.
    """
    if _USER.search(url):
        return "user:password"
    parts = (part for query in _QUERY.findall(url) for part in re.split("[?&]", query))
    return next((f"{part.partition('=')[0]}=" for part in parts if _is_secret(part)), None)


def without_secrets(text: str) -> str:
    """A URL, or a message with some in it, without their secrets."""
    return _QUERY.sub(_open_query, _USER.sub("", text))


def _open_query(query: re.Match[str]) -> str:
    """The query without its secret parameters, as it was where it has none."""
    parts = re.split("[?&]", query[1])
    if not any(map(_is_secret, parts)):
        return query[0]
    kept = [p for p in parts if not (_is_secret(p) or _COMPANION.match(p.partition("=")[0]))]
    return "?" + "&".join(kept) if kept else ""


def _is_secret(parameter: str) -> bool:
    name, _, value = parameter.partition("=")
    filled_in = value.startswith(("${", "{"))  # at use: a key, or ?quadkey={q}
    return bool(value and not filled_in and _SECRET_NAME.search(name))
