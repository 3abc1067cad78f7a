"""Compares the chunks of blocks with what was remembered of them, before they are used."""

from __future__ import annotations

import json
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
from numcodecs import VLenUTF8, Zstd
from numpy.typing import NDArray

from ..arrays import U8
from ..domain import Index, Status
from ..errors import CubeError, UnavailableError
from .checks import NOTHING, PARTS, UNRECORDED, checksum, sha256
from .chunks import Guard, PlainChunks, Raw, chunk_key
from .store import (
    LOCK,
    array_of,
    generation_errors,
    ledger_of,
    open_store,
    read_bytes,
    require_there,
    storage_errors,
)

if TYPE_CHECKING:
    from zarr.abc.store import Store


_RECORD = PARTS.index("provenance")
_LONGEST_RECORD = 1 << 24


class BlockGuard:
    """What a generation says of its blocks: whether they count, and the checksums of their bytes.

    Safe to use from several threads. A chunk is compared when it is first read; a file that
    stays as it was then is not compared again.
    """

    def __init__(self, url: str, generation: str, group: zarr.Group, *, digests: bool) -> None:
        self.url, self.generation, self._digests = url, generation, digests
        self._done = ledger_of(group, "done")
        self._check = ledger_of(group, "provenance/check")
        self._records = array_of(group, "provenance/record")
        self._sound: dict[tuple[int, Index], tuple[int, int, int]] = {}

    @cached_property
    def status(self) -> U8:
        """The ledger, uint8 of the blocks' grid, of Status, as it was when first asked."""
        with generation_errors(self.url, self.generation):
            status = read_statuses(self.url, self.generation, self._done)
        if (status == Status.MISSING).any():  # of a generation that was deleted, that of all
            require_there(self.url, self.generation)
        return status

    @cached_property
    def checks(self) -> NDArray[np.uint64]:
        """Checksums uint64 ``(*blocks, part)``."""
        _ = self.status  # first: checksums are written before the ledger names their block
        return self._read_checks()

    def _read_checks(self) -> NDArray[np.uint64]:
        return read_ledger(self.url, self.generation, self._check)

    def counts(self, place: Index) -> bool:
        """Whether a block holds data; whatever lies in the place of others is ignored."""
        return bool(self.status[place] in (Status.DONE, Status.BROKEN))

    def of(self, part: str, chunks: PlainChunks) -> Guard:
        """For reading the chunks of one part."""
        return partial(self._admit, PARTS.index(part), chunks)

    def _admit(self, part: int, chunks: PlainChunks, place: Index, raw: Raw | None) -> bool:
        if not self.counts(place):
            return False
        stamp = None if raw is None else raw.stamp
        if stamp is None or self._sound.get((part, place)) != stamp:
            self._require(part, place, raw, chunks.nbytes)
            if stamp is not None:
                self._sound[part, place] = stamp
        return True

    def _require(self, part: int, place: Index, raw: Raw | None, size: int) -> None:
        why = self.fault(part, place, raw, size)
        if why:
            self.checks = self._read_checks()  # the block may have been computed anew
            why = self.fault(part, place, raw, size)
        if why:
            self._refuse(place, f"its {PARTS[part]} chunk {why}")

    def fault(self, part: int, place: Index, raw: Raw | None, size: int) -> str | None:
        """What is wrong with a chunk that should hold ``size`` bytes; None where nothing is."""
        recorded = self.recorded(part, place)
        if recorded == UNRECORDED:
            return "was never recorded"
        if raw is None:
            return None if recorded == NOTHING else "is missing"
        actual = raw.content.size if raw.stamp is None else raw.stamp[2]
        if actual != size:
            return f"holds {actual} bytes instead of {size}"
        if checksum(raw.content) != recorded:
            return "is not what was written"
        told_digest = self._digest(part, place) if self._digests else None
        if told_digest is not None and sha256(raw.content) != told_digest:
            return "is not what was written (its sha256 is another)"
        return None

    def recorded(self, part: int, place: Index) -> int:
        """The checksum that is kept of a part."""
        return int(self.checks[(*place, part)])

    def _digest(self, part: int, place: Index) -> str | None:
        """The sha256 of a chunk; None where none is recorded, as of the record itself."""
        if part == _RECORD:
            return None
        digests: dict[str, str] = (_parsed(self._record_bytes(place)) or {}).get("digests") or {}
        return digests.get(PARTS[part])

    def record(self, place: Index) -> dict[str, Any]:
        """The provenance of a block; empty where it does not count. Raises CubeError if damaged."""
        if not self.counts(place):
            return {}
        raw = self._record_bytes(place)
        if raw is None:
            require_there(self.url, self.generation)
        self._require(_RECORD, place, raw, _size(raw))
        record = _parsed(raw)
        return self._refuse(place, "its provenance is damaged") if record is None else record

    def record_fault(self, place: Index) -> str | None:
        """What is wrong with the provenance of a block; None where nothing is."""
        raw = self._record_bytes(place)
        return self.fault(_RECORD, place, raw, _size(raw)) or (
            "cannot be decoded" if _parsed(raw) is None else None
        )

    def _record_bytes(self, place: Index) -> Raw | None:
        with storage_errors(self.url):
            content = read_bytes(self._store, record_key(self.generation, place))
        return None if content is None else Raw(np.frombuffer(content, np.uint8))

    @cached_property
    def _store(self) -> Store:
        return open_store(self.url)

    def _refuse(self, place: Index, why: str) -> Any:
        with storage_errors(self.url):
            written = read_bytes(self._store, LOCK) is not None
        what = f"cube {self.url}: block {place} of {self.generation} is damaged: {why}"
        if written:
            raise UnavailableError(
                f"{what}, or being written just now: try again when that has ended, or run "
                f"'geoloc cube repair {self.url}'"
            )
        raise CubeError(f"{what}: 'geoloc cube repair {self.url}' computes it again")


def read_statuses(url: str | Path, generation: str, done: zarr.Array[Any]) -> U8:
    """The ledger, of the blocks' grid. Raises CubeError where a part of it is lost."""
    status = read_ledger(url, generation, done)
    if status.size and status.max() > max(Status):
        raise _ledger_damaged(url, generation, "a part of it is missing")
    return status


def read_ledger(url: str | Path, generation: str, array: zarr.Array[Any]) -> NDArray[Any]:
    """All of an array of the ledger. Raises CubeError where it cannot be decoded."""
    try:
        with storage_errors(url):
            return np.asarray(array[:])
    except UnavailableError:
        raise
    except CubeError as error:
        if isinstance(error.__cause__, OSError):
            raise
        raise _ledger_damaged(url, generation, "a part of it cannot be decoded") from error


def _ledger_damaged(url: str | Path, generation: str, why: str) -> CubeError:
    return CubeError(
        f"cube {url}: the ledger of {generation} is damaged, {why}: 'geoloc cube repair {url}' "
        "finds out which blocks are there"
    )


def block_keys(generation: str, place: Index) -> tuple[str, str, str]:
    """Where a block's parts lie on the store, in the order of PARTS."""
    return (
        f"{generation}/features/{chunk_key(place, len(place) + 1)}",
        f"{generation}/norm/{chunk_key(place, len(place))}",
        record_key(generation, place),
    )


def block_bytes(store: Store, generation: str, place: Index) -> list[bytes | None]:
    """What is stored of a block, in the order of PARTS; None for what is not there."""
    return [read_bytes(store, key) for key in block_keys(generation, place)]


def record_key(generation: str, place: Index) -> str:
    """The name of a block's provenance on the store."""
    return f"{generation}/provenance/record/{chunk_key(place, len(place))}"


def decode_record(raw: bytes) -> str:
    """The JSON text of a stored record. Raises ValueError, RuntimeError… where it is damaged."""
    if len(raw) > _LONGEST_RECORD or _content_size(raw) > _LONGEST_RECORD:
        raise ValueError("a record of many megabytes")
    return str(VLenUTF8().decode(Zstd().decode(raw))[0])


def _content_size(raw: bytes) -> int:
    """What a Zstandard frame says that it holds, before room is made for it (RFC 8878, 3.1.1)."""
    if len(raw) < 5 or raw[:4] != b"\x28\xb5\x2f\xfd":
        raise ValueError("no Zstandard frame")
    flags = raw[4]
    single = flags >> 5 & 1
    width = (single, 2, 4, 8)[flags >> 6]
    start = 5 + (not single) + (0, 1, 2, 4)[flags & 3]
    return int.from_bytes(raw[start : start + width], "little") + (256 if width == 2 else 0)


def parse_record(raw: bytes | None) -> dict[str, Any] | None:
    """A record as it is stored; None where it is damaged."""
    if raw is None:
        return {}
    try:
        text = decode_record(raw)
        return dict(json.loads(text)) if text else {}
    except (ValueError, RuntimeError, TypeError, IndexError, MemoryError):
        return None


def _parsed(raw: Raw | None) -> dict[str, Any] | None:
    return parse_record(None if raw is None else raw.content.tobytes())


def _size(raw: Raw | None) -> int:
    return 0 if raw is None else raw.content.size
