"""Keys that stand as ``${NAME}`` in a specification: filled in at use, taken out of messages."""

from __future__ import annotations

import logging
import os
import re
from urllib.parse import quote

from ..errors import ImageryError
from ..stores import without_secrets

_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_TALKATIVE = (  # log URLs
    "urllib3.connectionpool", "urllib3.poolmanager", "urllib3.util.retry",
    "pystac_client.stac_api_io",
    "rasterio._base", "rasterio._io", "rasterio._env", "rasterio._warp",
)  # fmt: skip
_SHORTEST = 3  # characters of a key; what is shorter would be found in any word

_filled: set[str] = set()  # names of variables whose values are in URLs by now


def fill_keys(url: str) -> str:
    """A URL with ``${NAME}`` replaced from the environment; a path on disk as it is.

    Only for what a specification says: a catalog must not ask for the environment's secrets.
    Raises ImageryError where a variable is not set.
    """
    if "://" not in url:
        return url
    return _VARIABLE.sub(lambda found: key_called(found[1]), url)


def key_called(name: str) -> str:
    """A variable's value. Raises ImageryError where it is not set."""
    value = os.environ.get(name, "")
    if not value:
        raise ImageryError(f"imagery: ${{{name}}} is not set in the environment: export it")
    _filled.add(name)
    return value


def hide_keys(template: str, text: str) -> str:
    """A message without secrets, nor the values of the ``${NAME}`` that a template names."""
    for name in _VARIABLE.findall(template):
        value = os.environ.get(name, "")
        if len(value) >= _SHORTEST:
            for written in (quote(value, safe=""), quote(value), value):
                text = text.replace(written, f"${{{name}}}")
    return without_secrets(text)


def _scrub(record: logging.LogRecord) -> bool:
    template = "".join(f"${{{name}}}" for name in _filled)
    record.msg, record.args = hide_keys(template, record.getMessage()), ()
    return True


for _name in _TALKATIVE:
    logging.getLogger(_name).addFilter(_scrub)
