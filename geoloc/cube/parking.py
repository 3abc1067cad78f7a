"""Encoded blocks that wait in the cube's own place until the cube's code is chosen.

On the store, until the blocks are written like all others::

    <cube>/.sample/<digest of the spec>/<row>-<col>

Each is one object that is written at once: the sha256 of the rest, a line of JSON (provenance,
smallest and largest value of each feature), and the features as .npy where they are kept. What
is damaged counts as not there.
"""

from __future__ import annotations

import hashlib
import io
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError
from zarr.core.sync import sync

from ..domain import Chunk
from .spec import Provenance
from .store import list_folder, open_store, read_bytes, storage_errors, write_bytes

FOLDER = ".sample"

_DIGEST = re.compile("[0-9a-f]+")
_NAME = re.compile(r"(\d+)-(\d+)")  # others are remains of files that were being written


@dataclass(frozen=True)
class Parked:
    """A block that waits: float32 ``low`` and ``high`` ``(feature,)`` over its cells.

    ``features``: float32 ``(y, x, feature)``, NaN where missing, or None where they are not kept.
    """

    provenance: Provenance
    low: NDArray[np.float32]
    high: NDArray[np.float32]
    features: NDArray[np.float32] | None


class Parking:
    """The blocks of one specification that wait; whoever opens it holds the cube's lock.

    ``places``: rows and columns of those that were there when it was opened. What waits for
    another specification is removed. All methods raise CubeError where the store cannot be used.
    """

    def __init__(self, url: str | Path, digest: str) -> None:
        self.url, self._folder = url, f"{FOLDER}/{digest}"
        with storage_errors(url):
            self._store = open_store(url, read_only=False)
            for name in list_folder(self._store, FOLDER):
                if name != digest and _DIGEST.fullmatch(name):
                    sync(self._store.delete_dir(f"{FOLDER}/{name}"))
            found = map(_NAME.fullmatch, list_folder(self._store, self._folder))
        self.places = {(int(name[1]), int(name[2])) for name in found if name}

    def put(self, block: Chunk, parked: Parked) -> None:
        """Keep a block, in place of what was kept of it before."""
        with storage_errors(self.url):
            write_bytes(self._store, self._key(block), _pack(parked))

    def get(self, block: Chunk) -> Parked | None:
        """What is kept of a block; None where it is nothing, or damaged."""
        with storage_errors(self.url):
            content = read_bytes(self._store, self._key(block))
        return None if content is None else _unpack(content)

    def drop(self, block: Chunk) -> None:
        """Keep nothing of a block any more."""
        with storage_errors(self.url):
            sync(self._store.delete(self._key(block)))

    def clear(self) -> None:
        """Keep nothing."""
        with storage_errors(self.url):
            sync(self._store.delete_dir(FOLDER))

    def _key(self, block: Chunk) -> str:
        return f"{self._folder}/{'-'.join(map(str, block.index))}"


class _Head(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    provenance: Provenance
    low: list[float]
    high: list[float]


def _pack(parked: Parked) -> bytes:
    # float32 values survive JSON: their digits as double precision are exact
    head = _Head(provenance=parked.provenance, low=parked.low.tolist(), high=parked.high.tolist())
    body = io.BytesIO()
    body.write(head.model_dump_json().encode() + b"\n")
    if parked.features is not None:
        np.save(body, parked.features, allow_pickle=False)
    return hashlib.sha256(body.getbuffer()).hexdigest().encode() + b"\n" + body.getvalue()


def _unpack(content: bytes) -> Parked | None:
    told, _, body = content.partition(b"\n")
    if hashlib.sha256(body).hexdigest().encode() != told:
        return None
    text, _, array = body.partition(b"\n")
    try:
        head = _Head.model_validate_json(text)
    except ValidationError:  # of another version of geoloc
        return None
    features = np.load(io.BytesIO(array), allow_pickle=False) if array else None
    low, high = np.array(head.low, np.float32), np.array(head.high, np.float32)
    return Parked(head.provenance, low, high, features)
