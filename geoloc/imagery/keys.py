"""Keys written as ``${NAME}`` in a specification: filled in at use, removed from messages.

The user states which variable may go to which host, in ``GEOLOC_IMAGERY_KEYS``::

    GEOLOC_IMAGERY_KEYS="tiles.example:TILE_KEY, *.maps.example:MAPS_KEY"

If it is set, nothing else is filled in. If not, an area file may name any variable except those of
other services (``AWS_…``, ``GITHUB_…``, ``PREFECT_…`` and the like), as an area file may come from
a stranger. The imagery recorded in a cube may name no other variable (`require_allowed_keys`).
"""

from __future__ import annotations

import fnmatch
import functools
import logging
import os
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlsplit

from ..area import Imagery, LayeredImagery
from ..errors import ImageryError
from ..stores import without_secrets

ALLOWED = "GEOLOC_IMAGERY_KEYS"
"""The variable that lists which others may go to which hosts: ``host:NAME``, comma-separated."""

_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_TALKATIVE = (  # log URLs
    "urllib3.connectionpool", "urllib3.poolmanager", "urllib3.util.retry",
    "pystac_client.stac_api_io",
    "rasterio._base", "rasterio._io", "rasterio._env", "rasterio._warp",
)  # fmt: skip
_SHORTEST = 3  # characters of a key; anything shorter occurs in ordinary words

_ELSEWHERE = re.compile(
    "(?:AWS|AZURE|ARM|GOOGLE_APPLICATION|GOOGLE_OAUTH|GCP|GCLOUD|CLOUDSDK|DIGITALOCEAN|B2|MINIO|"
    "GITHUB|GH|GITLAB|BITBUCKET|CI|PREFECT|DASK|DISTRIBUTED|PG|POSTGRES|MYSQL|MARIADB|REDIS|MONGO|"
    "DATABASE|DB|RABBITMQ|KUBE|KUBECONFIG|KUBERNETES|DOCKER|REGISTRY|SSH|GPG|VAULT|NPM|NODE_AUTH|PYPI|TWINE|"
    "PIP|UV|POETRY|CONDA|HF|HUGGING|HUGGINGFACE|WANDB|MLFLOW|OPENAI|ANTHROPIC|SLACK|DISCORD|"
    "TELEGRAM|TWILIO|SENDGRID|SMTP|MAIL|STRIPE|SENTRY|DATADOG|NETRC|CURL|XDG)(?:_.*)?|"
    "PG[A-Z]+|HOME|PATH|PWD|HOSTNAME|LOGNAME|SECRET_KEY|(?:HTTPS?|FTP|ALL|NO)_PROXY",
    re.IGNORECASE,
)
"""Names of other programs' variables, which must never reach a map server by accident."""

_filled: set[str] = set()  # names of variables whose values have been put into URLs


def fill_keys(url: str) -> str:
    """A URL with ``${NAME}`` replaced from the environment; a path on disk unchanged.

    Only for URLs of a specification: a catalog must not request the environment's secrets.
    Raises ImageryError if a variable is not set or must not go to the URL's host.
    """
    if "://" not in url:
        return url
    return _VARIABLE.sub(lambda match: key_called(match[1], url), url)


def key_called(name: str, url: str) -> str:
    """The value of a variable that is to be sent to ``url``.

    Raises ImageryError if it is not set or must not go there.
    """
    _require_allowed(name, host_of(url))
    value = os.environ.get(name, "")
    if not value:
        raise ImageryError(f"imagery: ${{{name}}} is not set in the environment: export it")
    _filled.add(name)
    return value


def require_allowed_keys(spec: Imagery) -> None:
    """Raise ImageryError if a specification names a variable that no rule of the user allows.

    For specifications written by others, in which only explicitly allowed variables are used.
    """
    if isinstance(spec, LayeredImagery):  # each variable goes to the server of its own layer
        for layer in spec.layers:
            require_allowed_keys(layer)
        return
    values = spec.model_dump()
    own = str(values.get("url") or values.get("path") or "")
    for text in _texts(values):
        for name in _VARIABLE.findall(text):
            host = host_of(text if "://" in text else own)
            if not _is_allowed(name, host):
                raise ImageryError(_not_allowed(name, host))


def host_of(url: str) -> str:
    """Host, and port if given, of a URL; empty if a variable determines it."""
    try:
        host = urlsplit(url).netloc.rpartition("@")[2].lower()
    except ValueError:
        return ""
    return "" if "${" in host else host


def _require_allowed(name: str, host: str) -> None:
    if _is_allowed(name, host):
        return
    if os.environ.get(ALLOWED, "").strip():
        raise ImageryError(_not_allowed(name, host))
    if _ELSEWHERE.fullmatch(name):
        raise ImageryError(f"{_not_allowed(name, host)}, as it may be another service's secret")


def _not_allowed(name: str, host: str) -> str:
    return (
        f"imagery: ${{{name}}} is not sent to {host or 'an unknown host'}: if it belongs there, "
        f"add {host or 'HOST'}:{name} to {ALLOWED}"
    )


def _is_allowed(name: str, host: str) -> bool:
    """Whether a rule of the user allows the variable for this host, with or without port."""
    bare = host.partition(":")[0]
    return bool(host) and any(
        name == allowed and (fnmatch.fnmatchcase(host, where) or fnmatch.fnmatchcase(bare, where))
        for where, allowed in _rules(os.environ.get(ALLOWED, ""))
    )


@functools.lru_cache(maxsize=4)
def _rules(text: str) -> tuple[tuple[str, str], ...]:
    """Pairs of host and variable. Raises ImageryError for an invalid rule."""
    rules = []
    for rule in filter(None, (part.strip() for part in text.split(","))):
        host, _, name = rule.rpartition(":")
        if not (host and re.fullmatch(r"\w+", name)):
            raise ImageryError(f"{ALLOWED}: {rule!r} is not a rule: write host:NAME, …")
        rules.append((host.strip().lower(), name))
    return tuple(rules)


def _texts(value: Any) -> Iterator[str]:
    """All texts of a structure."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list | tuple):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _texts(part)


def hide_keys(template: str, text: str) -> str:
    """A message without secrets and without the values of the template's ``${NAME}``."""
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
