"""Writing blocks, and the ledger that says which of them count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import zarr
from numpy.typing import NDArray

from ..arrays import F32, U8
from ..domain import Chunk, Index, Status
from ..errors import CubeError, SpecMismatchError
from ..stores import local_path
from ..stores.ledger import LedgerArray
from .checks import PARTS, stored
from .chunks import PlainChunks
from .guard import block_bytes, read_ledger, read_statuses, record_key
from .reader import feature_space_of, generation_exists, open_generation, stored_spec
from .seal import update_attributes
from .spec import CubeSpec, Provenance
from .store import (
    array_of,
    ledger_of,
    open_store,
    read_bytes,
    storage_errors,
)


@dataclass(frozen=True)
class Written:
    """Counts of one written block: cells with a vector, and values clipped by the code.

    ``checks``: checksums of its chunks of features and norms; ``digests``: their sha256 by name.
    """

    cells: int
    saturated: int
    checks: tuple[int, ...]
    digests: dict[str, str]


class BlockWriter:
    """The workers' side: writes blocks, each of them one chunk; never the ledger."""

    def __init__(self, url: str | Path, generation: str) -> None:
        self.url, self._generation = url, generation
        group, _ = open_generation(url, generation, mode="r+")
        with storage_errors(url):
            self._store = open_store(url, read_only=False)
            self._codes = _plain(url, group, "features")
            self._norm = _plain(url, group, "norm")
            self._records = array_of(group, "provenance/record")
            self._space = feature_space_of(group)
        self._distance = self._space.distance()

    def write(self, block: Chunk, features: F32) -> Written:
        """Encode and write float32 ``(*cells, feature)`` of a block, NaN where missing."""
        codes, saturated = self._space.encode(features)
        values = self._space.decode(codes)
        place = block.index
        with storage_errors(self.url):
            kept = (
                stored(self._codes.write(place, codes)),
                stored(self._norm.write(place, self._distance.squared_norm(values))),
            )
        return Written(
            int(np.isfinite(values[..., 0]).sum()),
            saturated,
            tuple(chunk.check for chunk in kept),
            dict(zip(PARTS, (chunk.digest for chunk in kept), strict=False)),
        )

    def record(self, block: Chunk, provenance: Provenance) -> int:
        """Write where the block came from; the checksum of what is stored of it."""
        text = provenance.model_dump_json(exclude_defaults=True)
        with storage_errors(self.url):
            self._records[block.index] = text
            key = record_key(self._generation, block.index)
            return stored(read_bytes(self._store, key)).check


def _plain(url: str | Path, group: zarr.Group, name: str) -> PlainChunks:
    array, dims = array_of(group, name), array_of(group, "norm").ndim
    chunks = PlainChunks.of(array, dims, local_path(url))
    if chunks is None:
        raise CubeError(
            f"cube {url}: {name} is compressed or sharded, which this geoloc only reads: "
            "name another cube in the area file"
        )
    return chunks


class Ledger:
    """The client's side: the state of every block, in memory and on the store.

    ``status``: uint8 of Status in the blocks' grid. Only one process may hold a ledger for
    writing: its chunks are written whole from memory. Raises CubeError where it is damaged.
    """

    def __init__(self, url: str | Path, generation: str) -> None:
        self.url, self.generation = url, generation
        group, _ = open_generation(url, generation, mode="r+")
        with storage_errors(url):
            self._store = open_store(url)
            self._prints = LedgerArray(ledger_of(group, "provenance/fingerprint"))
            self._check = ledger_of(group, "provenance/check")
            done = ledger_of(group, "done")
        self.status: U8 = read_statuses(url, generation, done)
        self._done = LedgerArray(done, self.status)
        self._checks = LedgerArray(self._check)

    def mark(
        self,
        index: Index,
        status: Status,
        fingerprint: str,
        checks: Sequence[int] | None = None,
    ) -> None:
        """Record a block whose data is written; ``fingerprint`` is a sha256 in hex.

        ``checks``: of its parts, as they were written; what is not given is read from the store.
        """
        values = np.frombuffer(bytes.fromhex(fingerprint), np.uint8)
        known = None if checks is None else np.array([checks], np.uint64)
        self.mark_many(np.array([index]), status, values[None], known)

    def mark_many(
        self,
        places: NDArray[np.intp],
        status: Status,
        fingerprints: U8,
        checks: NDArray[np.uint64] | None = None,
    ) -> None:
        """`mark` for blocks ``(n, dimension)``, fingerprints ``(n, 32)``, checks ``(n, part)``.

        Each piece of the ledger is written once.
        """
        checks = self._stored_checks(places) if checks is None else checks
        with storage_errors(self.url):
            self._prints.change(places, fingerprints)
            self._checks.change(places, checks)
            self._done.change(places, status)  # after the rest: it makes blocks count

    def forget(self, places: NDArray[np.intp]) -> None:
        """Blocks ``(n, dimension)`` count no more; what is remembered of them stays."""
        with storage_errors(self.url):
            self._done.change(places, Status.MISSING)

    def _stored_checks(self, places: NDArray[np.intp]) -> NDArray[np.uint64]:
        """Checksums ``(n, part)`` of what is on the store."""
        with storage_errors(self.url):
            numbers = [
                [stored(content).check for content in block_bytes(self._store, self.generation, at)]
                for at in map(tuple, places.tolist())
            ]
        return np.array(numbers, np.uint64)

    def checks(self) -> NDArray[np.uint64]:
        """Checksums of all blocks ``(block_y, block_x, part)``."""
        return read_ledger(self.url, self.generation, self._check)

    def fingerprints(self) -> U8:
        """Fingerprints of all blocks, ``(block_y, block_x, 32)``."""
        with storage_errors(self.url):
            return self._prints.read()


def resume_generation(url: str | Path, generation: str, spec: CubeSpec) -> bool:
    """Whether this generation exists and was begun from the same spec.

    Raises SpecMismatchError, naming what differs, where it was made from another one.
    """
    if not generation_exists(url, generation):
        return False
    require_spec(url, stored_spec(url, generation), spec)
    remember_imagery(url, generation, spec)
    return True


def require_spec(url: str | Path, stored: CubeSpec, spec: CubeSpec) -> None:
    """Raises SpecMismatchError, naming what differs, unless both specs are equal."""
    differences = stored.differences(spec)
    if not differences:
        return
    advice = "name another cube in the area file, or delete this one"
    if stored.domain.kind == "points" != spec.domain.kind:
        raise SpecMismatchError(
            f"cube {url} holds points, and the area file names none: write points: FILE in it, "
            f"or use 'geoloc points build'; or {advice}"
        )
    if all(difference.startswith("imagery.") for difference in differences):
        advice = f"'geoloc cube refresh' brings a finished cube up to date; or {advice}"
    raise SpecMismatchError(
        f"cube {url} was built from another specification "
        f"({'; '.join(_short(d) for d in differences)}): {advice}"
    )


def remember_imagery(url: str | Path, generation: str, spec: CubeSpec) -> None:
    """Note where the imagery lies now, so that those who only know the cube find it."""
    if stored_spec(url, generation).imagery != spec.imagery:
        changes = {"spec": spec.model_dump(mode="json"), "spec_digest": spec.digest}
        update_attributes(url, generation, changes)


def _short(text: str, limit: int = 160) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
