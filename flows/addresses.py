"""Secrets in addresses: what a run is asked with is kept by the server and shown to all its users.

So a password or a signature stands in an address as ``${NAME}``, a variable of the worker's
environment that ``GEOLOC_PHOTO_KEYS`` lets go to that host alone: ``NAME@host`` or
``NAME@host:port``, commas between them. Who may start runs cannot send the worker's other secrets
anywhere.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from pydantic import BaseModel, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from geoloc.errors import UsageError

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_VARIABLE = re.compile(rf"\$\{{({_NAME})\}}")
_ENDINGS = (  # of names in a query
    "signature", "token", "secret", "password", "passwd", "pwd", "credential", "credentials",
    "hmac", "jwt", "apikey", "policy", "session",
)  # fmt: skip
_WORDS = ("sig", "key", "pass", "auth", "hash", "sid", "oh", "hm")  # the last two: picture CDNs

_DEPTH = 4
"""How deep values may be nested where a model takes any."""


def holding_no_secret(start: str, fix: str) -> str:
    """A pattern of addresses that begin with the pattern ``start`` and show no secret.

    Of Python, JSON schemas and browsers alike. Refused are a user or a password, values whose name
    is that of a secret, opaque values of 32 characters or more, and keys of Telegram bots. The
    words ``fix`` stand in it for who is refused: Prefect shows the pattern.
    """
    variable = rf"\$\{{{_NAME}\}}"
    remote = r"(?:/vsi[^?#]*/)?[A-Za-z][A-Za-z0-9+.-]*:"  # GDAL's virtual files too
    query = r"(?:[^?#]*:/|/vsi)[^?#]*[?#](?:.*[?#&;])?"
    endings, words = ("|".join(map(_any_case, names)) for names in (_ENDINGS, _WORDS))
    named = rf"(?:[^=&;]*(?:{endings})|(?:[^=&;]*[._-])?(?:{words})|[^=&;]*[a-z](?:Key|Sig|Auth))"
    refused = (
        fix,
        rf"{remote}/*(?!{variable}(?::{variable})?@[^/?#@]*(?:[/?#]|$))[^/?#]*@",
        rf"{query}{named}=(?!{variable}(?:[&;#]|$))[^&;#]",
        rf"{query}[^=&;]*=[^&;#]*[A-Za-z0-9+%=]{{32}}",
        r"[^?#]*://[^?#]*/bot[0-9]+:[A-Za-z0-9_-]{20}",
    )
    return "^" + "".join(f"(?!{pattern})" for pattern in refused) + start.removeprefix("^")


@dataclass(frozen=True)
class EveryText:
    """Of a parameter that is a model: all its texts match a pattern, in its JSON schema as well.

    So the server refuses what does not before it keeps it. ``what`` says what was expected.
    """

    pattern: str
    what: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> Any:
        """What pydantic asks an annotation for."""
        return core_schema.no_info_after_validator_function(self._checked, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """What pydantic asks an annotation for."""
        made = handler(schema)
        self._mark(made, handler.resolve_ref_schema)
        return made

    def _checked(self, model: BaseModel) -> BaseModel:
        if not all(re.search(self.pattern, text) for text in _texts(model.model_dump(mode="json"))):
            raise ValueError(self.what)
        return model

    def _mark(self, node: Any, resolved: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        """Give a schema's texts the pattern, those of the models it refers to as well."""
        if isinstance(node, list):
            for part in node:
                self._mark(part, resolved)
        elif isinstance(node, dict) and "$ref" in node:
            self._mark(resolved(node), resolved)
        elif isinstance(node, dict):
            if node.get("type") == "string" and not {"const", "enum", "pattern"} & node.keys():
                node["pattern"] = self.pattern
            if node.get("additionalProperties") is True:
                node |= {"propertyNames": {"pattern": self.pattern}}
                node["additionalProperties"] = self._anything(_DEPTH)
            inner = [node.get(key) for key in ("items", "anyOf", "oneOf")]
            self._mark([*inner, *node.get("properties", {}).values()], resolved)

    def _anything(self, depth: int) -> dict[str, Any]:
        """The schema of any value whose texts match; not of one that is nested deeper."""
        kinds = ["string", "number", "boolean", "null"] + ["array", "object"] * (depth > 0)
        deeper = self._anything(depth - 1) if depth else {}
        return {
            "type": kinds, "pattern": self.pattern,
            "propertyNames": {"pattern": self.pattern},
            "items": deeper, "additionalProperties": deeper,
        }  # fmt: skip


def _texts(value: Any) -> Iterator[str]:
    """All texts of JSON, names of values among them."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield name
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


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
