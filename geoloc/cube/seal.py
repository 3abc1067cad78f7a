"""What a generation's metadata says of itself, so that damage to it is found before it is used.

``zarr.json`` carries the sha256 of its own content (attribute ``sealed``), and that of the small
arrays whose values every answer depends on (attribute ``contents``). Both are compared before
anything is decoded: damaged metadata can then neither shift an answer nor ask for memory.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import zarr
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync

from ..errors import CubeError
from .checks import PARTS, sha256
from .spec import CubeSpec
from .store import array_of, open_store, read_text, storage_errors, write_text

if TYPE_CHECKING:
    from zarr.abc.store import Store

SEAL, CONTENTS = "sealed", "contents"

SMALL = ("feature", "name", "distance_weight", "metric", "readout", "y", "x", "spatial_ref")
"""Arrays in one chunk each, written once."""

_MOST_FEATURES = 1 << 16
_MOST_COMPONENTS = 1 << 14
_MOST_BLOCKS = 1 << 24


def document_of(url: str | Path, generation: str) -> dict[str, Any] | None:
    """A generation's ``zarr.json`` as it is now, or None. Raises CubeError where it is damaged."""
    with storage_errors(url):
        text = read_text(open_store(url), f"{generation}/zarr.json")
    if text is None:
        return None
    try:
        document = json.loads(text)
        if isinstance(document["attributes"], dict):
            return dict(document)
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    raise CubeError(f"cube {url}: {generation}/zarr.json is damaged: {_advice(generation)}")


def require_seal(url: str | Path, generation: str, document: dict[str, Any]) -> None:
    """Raises CubeError where the document is not what was written."""
    if document["attributes"].get(SEAL) != _digest(document, generation):
        raise CubeError(
            f"cube {url}: {generation}/zarr.json is damaged (its digest is another): "
            f"{_advice(generation)}"
        )


def write_sealed(store: Store, generation: str, document: dict[str, Any]) -> None:
    """Replace a generation's ``zarr.json`` at once."""
    document["attributes"][SEAL] = _digest(document, generation)
    write_text(store, f"{generation}/zarr.json", json.dumps(document))


def update_attributes(url: str | Path, generation: str, changes: dict[str, Any]) -> None:
    """Change attributes of a generation at once; its consolidated metadata stays as it is.

    Raises CubeError where it is damaged: a new seal would hide that.
    """
    document = document_of(url, generation)
    if document is None:
        raise CubeError(f"cube {url}: {generation}/zarr.json is missing: {_advice(generation)}")
    require_seal(url, generation, document)
    attributes = document["attributes"]
    if any(attributes.get(name) != value for name, value in changes.items()):
        attributes.update(changes)
        with storage_errors(url):
            write_sealed(open_store(url, read_only=False), generation, document)


def contents_of(store: Store, generation: str, group: zarr.Group) -> dict[str, str]:
    """The sha256 of each small array's chunk as it is stored; empty where it is not."""
    return _digests(
        store, generation, {name: contents_key(group, name) for name in SMALL if name in group}
    )


def require_contents(url: str | Path, generation: str, group: zarr.Group) -> None:
    """Raises CubeError, naming it, where a small array is not what was written."""
    wrong = damaged_contents(url, generation, group)
    if wrong:
        raise CubeError(
            f"cube {url}: {generation}/{wrong[0]} is missing or damaged: 'geoloc cube repair' "
            f"takes it from another generation; or else {_advice(generation)}"
        )


def damaged_contents(url: str | Path, generation: str, group: zarr.Group) -> list[str]:
    """Names of the small arrays that are not what was written."""
    with storage_errors(url):
        recorded: dict[str, Any] = dict(group.attrs[CONTENTS])  # type: ignore[arg-type]
        keys = {name: contents_key(group, name) for name in recorded}
        actual = _digests(open_store(url), generation, keys)
    return [name for name, digest in recorded.items() if actual[name] != digest]


def require_layout(url: str | Path, generation: str, group: zarr.Group, spec: CubeSpec) -> None:
    """Raises CubeError where arrays have not the shapes that the specification calls for.

    Only metadata is looked at: what is refused here is never allocated.
    """
    features = array_of(group, "features")
    dim, side = features.shape[-1], spec.block_size
    cells, blocks = spec.domain.shape, spec.chunk_grid
    shapes: dict[str, tuple[int, ...]] = {
        "features": (*cells, dim),
        "norm": cells,
        "done": blocks,
        "provenance/record": blocks,
        "provenance/check": (*blocks, len(PARTS)),
        "y": cells[:1],
        "x": cells[-1:],
    }
    if "distance_weight" in group:
        shapes["distance_weight"] = (dim,)
    if "metric" in group:
        shapes["metric"] = (dim, min(array_of(group, "metric").shape[-1], _MOST_COMPONENTS))
    shapes |= _shapes_of_names(group, dim)
    for name, shape in shapes.items():
        if name not in group:
            _refuse(url, generation, f"array {name} is missing")
        array = array_of(group, name)
        if array.shape != shape:
            _refuse(url, generation, f"array {name} is {array.shape} instead of {shape}")
        if name in SMALL and array.chunks != shape:
            _refuse(url, generation, f"array {name} is in chunks of {array.chunks}")
    chunk, count = (side,) * len(cells), math.prod(blocks)
    if dim > _MOST_FEATURES or count > _MOST_BLOCKS or features.chunks != (*chunk, dim):
        _refuse(url, generation, f"{count} blocks in chunks of {features.chunks}")
    if array_of(group, "norm").chunks != chunk:
        _refuse(url, generation, f"norm is in chunks of {array_of(group, 'norm').chunks}")


def _shapes_of_names(group: zarr.Group, dim: int) -> dict[str, tuple[int, ...]]:
    if "readout" not in group:
        return {name_array(group): (dim,)}
    names = min(array_of(group, "readout").shape[0], _MOST_FEATURES)
    return {"readout": (names, dim), name_array(group): (names,)}


def name_array(group: zarr.Group) -> str:
    """Which array holds the names of the feature space."""
    return "name" if "readout" in group else "feature"


def _refuse(url: str | Path, generation: str, what: str) -> None:
    raise CubeError(
        f"cube {url}: the metadata of {generation} is damaged: {what}: {_advice(generation)}"
    )


def _advice(generation: str) -> str:
    return f"restore it from a copy, or delete the folder {generation} and build it again"


def _digest(document: dict[str, Any], generation: str) -> str:
    """Of all but the seal, and of where it belongs: two generations' may not change places."""
    rest = {name: value for name, value in document["attributes"].items() if name != SEAL}
    plain = json.dumps({**document, "attributes": rest}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(f"{generation} {plain}".encode()).hexdigest()


def contents_key(group: zarr.Group, name: str) -> str:
    """Where the one chunk of a small array lies, below its folder."""
    return "/".join(["c"] + ["0"] * array_of(group, name).ndim)


def _digests(store: Store, generation: str, keys: dict[str, str]) -> dict[str, str]:
    async def digest(name: str) -> str:
        try:
            held = await store.get(f"{generation}/{name}/{keys[name]}", default_buffer_prototype())
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return ""
        return "" if held is None else sha256(held.to_bytes())

    async def all_of() -> list[str]:
        return await asyncio.gather(*map(digest, keys))

    return dict(zip(keys, sync(all_of()), strict=True))
