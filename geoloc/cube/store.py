"""Where cubes live: local folders, ``file://``, ``s3://`` and what else obstore or fsspec know."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import FsspecStore, LocalStore, ObjectStore

from ..errors import CubeError
from .credentials import profile_settings

if TYPE_CHECKING:
    from zarr.abc.store import Store

CURRENT = "CURRENT"

_OBJECT_STORES = ("s3", "s3a", "gs", "az", "azure", "abfs", "abfss", "http", "https")


def local_path(url: str | Path) -> Path | None:
    """The folder that a path or a ``file://`` URL names, or None for a remote URL."""
    text = os.fspath(url)
    if "://" not in text:
        return Path(text).expanduser().absolute()
    parts = urlsplit(text)
    return Path(unquote(parts.path)) if parts.scheme == "file" else None


def open_store(url: str | Path, *, read_only: bool = True) -> Store:
    """A Zarr store for a path or URL. Raises CubeError for a kind that is not installed.

    Credentials are found as the cloud's own tools find them: the environment
    (``AWS_ACCESS_KEY_ID``, ``AWS_ENDPOINT_URL``, ``GOOGLE_APPLICATION_CREDENTIALS``…), the
    profiles in ``~/.aws``, the machine's role.
    """
    path = local_path(url)
    if path is not None:
        return LocalStore(path, read_only=read_only)
    text = os.fspath(url)
    with storage_errors(text):
        if urlsplit(text).scheme in _OBJECT_STORES:
            return ObjectStore(_object_store(text), read_only=read_only)
        return FsspecStore.from_url(text, read_only=read_only)


def _object_store(url: str) -> Any:
    import obstore.store

    settings: dict[str, Any] = profile_settings() if url.startswith("s3") else {}
    endpoint = os.environ.get("AWS_ENDPOINT_URL", settings.get("endpoint", ""))
    # Loopback and in-house S3 speak plain HTTP; obstore wants to be told so.
    plain = endpoint.startswith("http://") or url.startswith("http://")
    options: Any = {"allow_http": plain}
    return obstore.store.from_url(url, client_options=options, **settings)


@contextlib.contextmanager
def storage_errors(url: str | Path) -> Iterator[None]:
    """Turn what a store raises into a CubeError of one line."""
    from obstore.exceptions import BaseError

    try:
        yield
    except (OSError, BaseError, ImportError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CubeError(f"cube {url}: {reason}") from error


def read_text(store: Store, key: str) -> str | None:
    """The text under a key, or None."""
    try:
        buffer = sync(store.get(key, default_buffer_prototype()))
    except FileNotFoundError:  # not even the folder
        return None
    return None if buffer is None else buffer.to_bytes().decode()


def write_text(store: Store, key: str, text: str) -> None:
    """Replace the text under a key at once: renamed into place on disk, one PUT elsewhere."""
    buffer = default_buffer_prototype().buffer.from_bytes(text.encode())
    sync(store.set(key, buffer))


def write_text_once(store: Store, key: str, text: str) -> bool:
    """Write the text unless something is under the key already; whether it was written.

    Atomic on disk (a link that must be new) and on object stores (a conditional PUT).
    """
    buffer = default_buffer_prototype().buffer.from_bytes(text.encode())
    sync(store.set_if_not_exists(key, buffer))
    return read_text(store, key) == text


def list_folder(store: Store, prefix: str = "") -> list[str]:
    """Names directly below a prefix, sorted."""

    async def collect() -> list[str]:
        return [name.strip("/").rpartition("/")[2] async for name in store.list_dir(prefix)]

    try:
        return sorted(set(sync(collect())))
    except FileNotFoundError:
        return []


def update_attributes(url: str | Path, generation: str, changes: dict[str, Any]) -> None:
    """Change attributes of a generation at once; its consolidated metadata stays as it is."""
    with storage_errors(url):
        store = open_store(url, read_only=False)
        key = f"{generation}/zarr.json"
        document = json.loads(read_text(store, key) or "{}")
        if any(document["attributes"].get(name) != value for name, value in changes.items()):
            document["attributes"].update(changes)
            write_text(store, key, json.dumps(document))


def current_generation(url: str | Path) -> str | None:
    """Name of the generation that readers open, or None where nothing is finished."""
    with storage_errors(url):
        text = read_text(open_store(url), CURRENT)
    return text.strip() if text else None


def publish(url: str | Path, generation: str) -> None:
    """Let readers open this generation from now on; those that read another go on with it."""
    with storage_errors(url):
        write_text(open_store(url, read_only=False), CURRENT, generation + "\n")


def open_group(url: str | Path, generation: str, mode: str = "r") -> zarr.Group:
    """The Zarr group of a generation. Raises CubeError where there is none."""
    try:
        with storage_errors(url):
            store = open_store(url, read_only=mode == "r")
            return zarr.open_group(store, path=generation, mode=mode)  # type: ignore[arg-type]
    except CubeError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise CubeError(
                f"no feature cube at {url} ({generation}): build it with 'geoloc cube build'"
            ) from error
        raise


def array_of(group: zarr.Group, name: str) -> zarr.Array[Any]:
    """An array of a group."""
    array = group[name]
    if not isinstance(array, zarr.Array):
        raise CubeError(f"cube {group.store_path}: {name} is not an array")
    return array


def values_of(group: zarr.Group, name: str) -> NDArray[np.float32]:
    """All of a small array, as float32."""
    return np.asarray(array_of(group, name)[...], np.float32)


def optional_values_of(group: zarr.Group, name: str) -> NDArray[np.float32] | None:
    """The same, or None where the group has no such array."""
    return values_of(group, name) if name in group else None
