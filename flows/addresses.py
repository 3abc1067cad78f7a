"""Secrets in addresses: what a run is asked with is kept by the server and shown to all its users.

So a password or a signature stands in an address as ``${NAME}``, a variable of the worker's
environment that ``GEOLOC_PHOTO_KEYS`` lets go to that host alone: ``NAME@host`` or
``NAME@host:port``, commas between them. Who may start runs cannot send the worker's other secrets
anywhere.
"""

from __future__ import annotations

import os
import re
from urllib.parse import quote, urlsplit

from geoloc.errors import UsageError

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_VARIABLE = re.compile(rf"\$\{{({_NAME})\}}")
_ENDINGS = (  # of names in a query
    "signature", "token", "secret", "password", "passwd", "pwd", "credential", "credentials",
    "hmac", "jwt", "apikey", "policy", "session",
)  # fmt: skip
_WORDS = ("sig", "key", "pass", "auth", "hash", "sid", "oh", "hm")  # the last two: picture CDNs


def holding_no_secret(start: str, fix: str) -> str:
    """A pattern of addresses that begin with the pattern ``start`` and show no secret.

    Of Python, JSON schemas and browsers alike. Refused are a user or a password, values whose name
    is that of a secret, opaque values of 32 characters or more, and keys of Telegram bots. The
    words ``fix`` stand in it for who is refused: Prefect shows the pattern.
    """
    variable = rf"\$\{{{_NAME}\}}"
    query = r"[^?#]*://[^?#]*[?#](?:.*[?#&;])?"
    endings, words = ("|".join(map(_any_case, names)) for names in (_ENDINGS, _WORDS))
    named = rf"(?:[^=&;]*(?:{endings})|(?:[^=&;]*[._-])?(?:{words})|[^=&;]*[a-z](?:Key|Sig|Auth))"
    refused = (
        fix,
        rf"[A-Za-z][A-Za-z0-9+.-]*:/*(?!{variable}(?::{variable})?@[^/?#@]*(?:[/?#]|$))[^/?#]*@",
        rf"{query}{named}=(?!{variable}(?:[&;#]|$))[^&;#]",
        rf"{query}[^=&;]*=[^&;#]*[A-Za-z0-9+%=]{{32}}",
        r"[^?#]*://[^?#]*/bot[0-9]+:[A-Za-z0-9_-]{20}",
    )
    return "^" + "".join(f"(?!{pattern})" for pattern in refused) + start.removeprefix("^")


def _any_case(word: str) -> str:
    """A pattern of the word: JSON schemas have no flags."""
    return "".join(f"[{letter.upper()}{letter}]" for letter in word)


def filled(address: str) -> str:
    """The address with the worker's secrets in it, for the request alone.

    Raises UsageError for a variable that is not set, or that may not go to this host.
    """
    return _VARIABLE.sub(lambda found: quote(_secret(found[1], address), safe=""), address)


def _secret(name: str, address: str) -> str:
    try:
        host = urlsplit(address).netloc.rpartition("@")[2].lower()
    except ValueError:
        host = ""
    listed = {key.strip() for key in os.environ.get("GEOLOC_PHOTO_KEYS", "").split(",")}
    if not any(n == name and h.lower() == host for n, _, h in (k.partition("@") for k in listed)):
        raise UsageError(
            f"${{{name}}} may not be sent to {host}: set GEOLOC_PHOTO_KEYS={name}@{host} "
            "in the worker's environment"
        )
    if not (value := os.environ.get(name)):
        raise UsageError(f"${{{name}}} is not set in the worker's environment")
    return value
