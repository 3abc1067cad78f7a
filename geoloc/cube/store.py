"""What cubes need of the store that they live in; its errors become errors of one line."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync

from .. import stores
from ..errors import CubeError, UnavailableError

if TYPE_CHECKING:
    from zarr.abc.store import Store

CURRENT = "CURRENT"
LOCK = "LOCK"


def open_store(url: str | Path, *, read_only: bool = True) -> Store:
    """`geoloc.stores.open_store`. Raises CubeError for a kind that is not installed."""
    with storage_errors(url):
        return stores.open_store(url, read_only=read_only)


@contextlib.contextmanager
def storage_errors(url: str | Path) -> Iterator[None]:
    """Turn what a store raises into a CubeError of one line: UnavailableError if it may pass."""
    from obstore.exceptions import BaseError

    try:
        yield
    except (OSError, BaseError, ImportError, ValueError, RuntimeError) as error:
        kind = UnavailableError if stores.may_pass(error) else CubeError
        raise kind(f"cube {url}: {stores.reason_of(error)}") from error


def read_bytes(store: Store, key: str) -> bytes | None:
    """What is under a key, or None."""
    try:
        buffer = sync(store.get(key, default_buffer_prototype()))
    except FileNotFoundError:  # not even the folder
        return None
    return None if buffer is None else buffer.to_bytes()


def write_bytes(store: Store, key: str, content: bytes) -> None:
    """Replace what is under a key at once: renamed into place on disk, one PUT elsewhere."""
    sync(store.set(key, default_buffer_prototype().buffer.from_bytes(content)))


def read_text(store: Store, key: str) -> str | None:
    """The text under a key, or None."""
    content = read_bytes(store, key)
    return None if content is None else content.decode()


def delete_folder(store: Store, prefix: str) -> None:
    """Delete all that is under a prefix, if there is anything."""
    sync(store.delete_dir(prefix))


def write_text(store: Store, key: str, text: str) -> None:
    """``write_bytes`` of a text."""
    write_bytes(store, key, text.encode())


def write_text_once(store: Store, key: str, text: str) -> bool:
    """Write the text unless something is under the key already; whether it was written.

    Atomic on disk (a link that must be new) and on object stores (a conditional PUT).
    """
    buffer = default_buffer_prototype().buffer.from_bytes(text.encode())
    sync(store.set_if_not_exists(key, buffer))
    return read_text(store, key) == text


def read_attributes(url: str | Path, node: str = "") -> dict[str, Any] | None:
    """Attributes of a node of a Zarr store as they are now, or None where there is none.

    Raises CubeError where its metadata is damaged.
    """
    key = f"{node}/zarr.json".lstrip("/")
    with storage_errors(url):
        text = read_text(open_store(url), key)
    if text is None:
        return None
    try:
        attributes: dict[str, Any] = json.loads(text).get("attributes") or {}
    except (ValueError, AttributeError):
        raise CubeError(
            f"cube {url}: {key} is damaged: restore it from a copy, or delete the folder that "
            "it describes"
        ) from None
    return attributes


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
            raise CubeError(_absent(url, generation)) from error
        raise


def _absent(url: str | Path, generation: str) -> str:
    current = current_generation(url)
    if current is None or current == generation:
        return f"no feature cube at {url} ({generation}): build it with 'geoloc cube build'"
    return (
        f"cube {url} has no generation {generation}: the current one is {current}; "
        "'geoloc cube generations' lists all"
    )


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
