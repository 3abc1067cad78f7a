"""Secrets in URLs: detected, so that a file can refuse them, and removed from output and storage.

A secret is what precedes the ``@`` of a host, and the value of a parameter (of a query or a
fragment) one of whose words denotes a key, a password or a signature: ``apikey``, ``api_key``,
``apiKey``, but not ``keyword``. A signature's companions (its date, its expiry) are removed with
it, as they change with it. ``${NAME}`` is not a secret: it is filled in from the environment.
Whatever follows ``file://`` is a file name.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

_USER = re.compile(r"(?<=://)(?!(?:[^/?#\s:@]*:)?\$\{\w+\}@)[^/?#\s]*@")
_FILE = r"""(?i:(?<![\w=?&#;/])file://(?:(?!://)[^\s'"<>])*)"""  # not as a value
_SCHEME = "(?i:(?<==)(?:bearer|basic) )"  # of authorization=, the one blank before a secret
_PARAMETER = re.compile(
    rf"{_FILE}|(?<=[?&#;])(?P<name>[^\s?&#;=]+)=(?P<value>{_SCHEME}?[^\s?&#;]*)"
)
_QUERY = re.compile(  # or a fragment, also inside a message: a mark ends it where nothing follows
    rf"""{_FILE}|(?P<mark>[?#])"""
    rf"""(?P<parts>(?:{_SCHEME}|[^\s'"<>:?#]|['"<>](?=[\w&%=+$])|:(?!\s|$))+)"""
)
_FILLED_IN = re.compile(r"\$?\{[^{}]*\}")  # at use: a key, or ?quadkey={q}
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_SECRET_WORD = re.compile(
    r"(?:access|account|api|app|auth|aws|client|consumer|developer|id|licen[cs]e|map|o|private"
    r"|refresh|sas|secret|security|service|session|shared|signing|subscription|user)*"
    r"(?:(?:key|token|secret)(?:id)?|sig|signature|pass|passwd|password|passphrase|pwd"
    r"|credentials?|hmac|auth|authorization|bearer|jwt)"
)
_COMPANION = re.compile(
    r"(?i)^(x-(amz|goog)-.*|expires|policy|s[eprtv]|spr|sk[estv]|skoid|sktid)$"
)  # of signatures by AWS, Google and Azure


def secret_in(url: str) -> str | None:
    """The secret in a URL: ``NAME=`` of a parameter, or ``user:password``; None if there is none.

    The secret itself is not repeated.
    """
    if _USER.search(url):
        return "user:password"
    parameters = (part for part in _PARAMETER.finditer(url) if part["name"])
    return next((f"{part['name']}=" for part in parameters if _is_secret(*part.groups())), None)


def without_secrets(text: str) -> str:
    """A URL, or a message containing URLs, without their secrets."""
    shown = _QUERY.sub(_open_query, _USER.sub("", text))
    return _PARAMETER.sub(_open_parameter, shown)  # parameters outside a complete query


def _open_query(query: re.Match[str]) -> str:
    """The query without its secret parameters; unchanged if it has none."""
    own = _without_tail(query["parts"] or "")
    parts = [(part, *part.partition("=")[::2]) for part in own.split("&")]
    if not any(_is_secret(name, value) for _, name, value in parts):
        return query[0]
    kept = [
        p for p, name, value in parts if not (_is_secret(name, value) or _COMPANION.match(name))
    ]
    return (query["mark"] + "&".join(kept) if kept else "") + query["parts"][len(own) :]


def _without_tail(parts: str) -> str:
    """A query without the punctuation or closing bracket of the message after it."""
    while parts and (parts[-1] in ".,;:" or _closes_more(parts)):
        parts = parts[:-1]
    return parts


def _closes_more(parts: str) -> bool:
    """Whether the last character closes a bracket that was opened before the query."""
    opening = {")": "(", "]": "["}.get(parts[-1])
    return opening is not None and parts.count(parts[-1]) > parts.count(opening)


def _open_parameter(part: re.Match[str]) -> str:
    return "" if part["name"] and _is_secret(part["name"], part["value"]) else part[0]


def _is_secret(name: str, value: str) -> bool:
    words = _WORD.findall(unquote(name))
    names_secret = any(_SECRET_WORD.fullmatch(word.lower()) for word in words)
    return names_secret and re.search(r"\w", _FILLED_IN.sub("", value)) is not None
