"""What cubes need of the store that they live in; its errors become errors of one line."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync

from .. import stores
from ..arrays import F32
from ..errors import CubeError, GeolocError, UnavailableError

if TYPE_CHECKING:
    from zarr.abc.store import Store

CURRENT = "CURRENT"
LOCK = "LOCK"
GENERATION = re.compile(r"g\d{4,9}")
"""Names of generations, and the folders that hold them."""

_THOROUGH = "zarr.core.codec_pipeline.BatchedCodecPipeline"
_LONGEST_NAME = 64  # bytes that are looked at for one
_MALFORMED = (
    AttributeError,
    AssertionError,
    IndexError,
    KeyError,
    NotImplementedError,
    OverflowError,
    RecursionError,
    TypeError,
    ZeroDivisionError,
)
"""What zarr and its codecs raise, beside ValueError, where metadata or strings make no sense."""


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
    except GeolocError:
        raise
    except MemoryError as error:
        raise CubeError(
            f"cube {url} holds more than there is memory for ({_brief(error)}): free some, or "
            "restore the cube from a copy if that is more than it should hold"
        ) from error
    except _MALFORMED as error:
        raise CubeError(
            f"cube {url} is damaged ({_brief(error)}): restore it from a copy, or build it again"
        ) from error
    except (OSError, BaseError, ImportError, ValueError, RuntimeError) as error:
        kind = UnavailableError if stores.may_pass(error) else CubeError
        raise kind(f"cube {url}: {stores.reason_of(error)}") from error


def _brief(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"


def read_bytes(store: Store, key: str) -> bytes | None:
    """What is under a key, or None."""
    try:
        buffer = sync(store.get(key, default_buffer_prototype()))
    except (FileNotFoundError, NotADirectoryError):  # not even the folder
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


def current_generation(url: str | Path) -> str | None:
    """Name of the generation that readers open, or None where nothing is finished.

    Raises CubeError where it can be no name of one.
    """
    with storage_errors(url):
        content = read_bytes(open_store(url), CURRENT)
    name = (content or b"")[:_LONGEST_NAME].decode(errors="replace").strip()
    if name and not GENERATION.fullmatch(name):
        raise CubeError(
            f"cube {url}: CURRENT is damaged, it names {name!r}: 'geoloc cube repair {url}' "
            "writes it anew"
        )
    return name or None


def open_group(url: str | Path, generation: str, mode: str = "r") -> zarr.Group:
    """The Zarr group of a generation. Raises CubeError where there is none."""
    try:
        with storage_errors(url):
            store = open_store(url, read_only=mode == "r")
            return zarr.open_group(store, path=generation, mode=mode, zarr_format=3)  # type: ignore[arg-type]
    except CubeError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise CubeError(absent(url, generation)) from error
        raise


def absent(url: str | Path, generation: str) -> str:
    """What to say of a generation that is not there."""
    current = current_generation(url)
    if current is not None and current != generation:
        return (
            f"cube {url} has no generation {generation}: the current one is {current}; "
            "'geoloc cube generations' lists all"
        )
    if current is not None and generation_names(url):
        return (
            f"cube {url}: CURRENT names {current}, whose metadata is not there: "
            f"'geoloc cube repair {url}' names the newest that is finished"
        )
    return f"no feature cube at {url} ({generation}): build it with 'geoloc cube build'"


@contextlib.contextmanager
def generation_errors(url: str | Path, generation: str) -> Iterator[None]:
    """`storage_errors` of reading a generation that was there: where it was deleted meanwhile,
    that is the error, and not what is missing now."""
    try:
        with storage_errors(url):
            yield
    except CubeError:
        require_there(url, generation)
        raise


def require_there(url: str | Path, generation: str) -> None:
    """Raise UnavailableError where a generation that was opened is not there any more.

    Whatever is missing of it was then not missing when it was written. The first thing that is
    deleted of a generation is what is looked for here.
    """
    with storage_errors(url):
        if read_bytes(open_store(url), f"{generation}/zarr.json") is not None:
            return
    current = current_generation(url)
    if current is None:
        raise UnavailableError(
            f"cube {url} was deleted or moved while its generation {generation} was read: name "
            "where it is now"
        )
    raise UnavailableError(
        f"cube {url}: generation {generation} was deleted ('geoloc cube prune') while it was read, "
        f"so there is no answer: run the same command again, without --generation or --date, to "
        f"ask the current one, {current}"
    )


def generation_names(url: str | Path) -> list[str]:
    """Names of all folders of generations, whole or not, oldest first."""
    with storage_errors(url):
        names = filter(GENERATION.fullmatch, list_folder(open_store(url)))
    return sorted(names, key=number_of)


def number_of(name: str) -> int:
    """Its place among the generations."""
    return int(name[1:])


def array_of(group: zarr.Group, name: str) -> zarr.Array[Any]:
    """An array of a group."""
    array = group[name]
    if not isinstance(array, zarr.Array):
        raise CubeError(f"cube {group.store_path}: {name} is not an array")
    return array


def ledger_of(group: zarr.Group, name: str) -> zarr.Array[Any]:
    """An array whose chunks carry a CRC; other pipelines pass over that of chunks read in part."""
    with zarr.config.set({"codec_pipeline.path": _THOROUGH}):
        return array_of(group, name)


def values_of(group: zarr.Group, name: str) -> F32:
    """All of a small array, as float32."""
    return np.asarray(array_of(group, name)[...], np.float32)


def optional_values_of(group: zarr.Group, name: str) -> F32 | None:
    """The same, or None where the group has no such array."""
    return values_of(group, name) if name in group else None
