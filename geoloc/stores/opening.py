"""A Zarr store for a path or URL."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from ..errors import CubeError
from ..net.gated import gate
from ..net.hosts import place_of
from .credentials import s3_settings
from .hiding import without_secrets

if TYPE_CHECKING:
    from zarr.abc.store import Store

_OBJECT_STORES = ("s3", "s3a", "gs", "az", "azure", "abfs", "abfss", "http", "https")


def local_path(url: str | Path) -> Path | None:
    """The folder that a path or a ``file://`` URL names, or None for a remote URL."""
    text = os.fspath(url)
    if "://" not in text:
        return Path(text).expanduser().absolute()
    parts = urlsplit(text)
    return Path(unquote(parts.path)) if parts.scheme == "file" else None


def open_store(url: str | Path, *, read_only: bool = True) -> Store:
    """A Zarr store for a path or URL. Raises its library's errors, CubeError for a bad AWS profile
    or an unsupported URL.

    Credentials are found as by the cloud's own tools: in the environment (``AWS_ACCESS_KEY_ID``,
    ``AWS_ENDPOINT_URL``, ``GOOGLE_APPLICATION_CREDENTIALS``…), in the profiles in ``~/.aws``, or by
    the machine's role.
    """
    from zarr.storage import LocalStore, ObjectStore

    path = local_path(url)
    if path is not None:
        return LocalStore(path, read_only=read_only)
    text = os.fspath(url)
    if urlsplit(text).scheme not in _OBJECT_STORES or "::" in text.partition("://")[0]:
        raise CubeError(
            f"{without_secrets(text)[:200]} is not the URL of a store: give a path, or a URL that "
            "begins with s3://, gs://, az://, https:// or http://"
        )
    return ObjectStore(open_objects(text), read_only=read_only)


def open_objects(url: str, **client: Any) -> Any:
    """The obstore store of a remote URL; ``client``: more options of its HTTP client.

    Raises obstore's errors, CubeError for a bad AWS profile.
    """
    import obstore.store

    settings: dict[str, Any] = s3_settings() if url.startswith("s3") else {}
    # Loopback and in-house S3 use plain HTTP, which obstore must be told to allow.
    plain = settings.get("endpoint", url).startswith("http://")
    options: Any = {"allow_http": plain, **_through_gate(url), **client}
    return obstore.store.from_url(url, client_options=options, **settings)


def _through_gate(url: str) -> dict[str, Any]:
    """Options for a web server, whose redirects lead to private hosts only if it is one itself.

    Cloud stores are exempt: they do not redirect, and fetch keys from private hosts.
    """
    import obstore

    if obstore.parse_scheme(url) != "http" or (guard := gate(gdal=False)) is None:
        return {}
    return guard.rights(place_of(url)).client_options(plain=url.startswith("http://"))
