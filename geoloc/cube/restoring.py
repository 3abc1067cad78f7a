"""Restores what a generation needs beside its blocks, from what else lies on the store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import zarr
from pydantic import ValidationError
from zarr.core.sync import sync

from ..arrays import U8
from ..domain import Index, Status
from ..errors import CubeError, UnavailableError
from .checks import PARTS, sha256, stored
from .guard import block_bytes, parse_record, read_ledger, read_statuses
from .reader import stored_spec
from .seal import CONTENTS, contents_key, damaged_contents
from .spec import Provenance
from .store import (
    generation_names,
    ledger_of,
    open_group,
    open_store,
    read_bytes,
    storage_errors,
    write_bytes,
)

if TYPE_CHECKING:
    from zarr.abc.store import Store

_ARRAYS = ("provenance/fingerprint", "provenance/check", "done")
"""In the order of writing: the last makes blocks count."""


@dataclass(frozen=True)
class LedgerState:
    """How many blocks were found whole when a ledger was restored, and how many were not."""

    sound: int
    lost: int


def restore_contents(url: str | Path, generation: str) -> list[str]:
    """Take damaged small arrays from other generations; names of those restored.

    A generation's code and classes are those of the one before. Raises CubeError, naming the
    first, where none holds what was written.
    """
    stored_spec(url, generation)  # the metadata itself must be sound
    group = open_group(url, generation)
    restored = damaged_contents(url, generation, group)
    others = [name for name in generation_names(url) if name != generation]
    for name in restored:
        key = contents_key(group, name)
        digest = (group.attrs.get(CONTENTS) or {}).get(name)  # type: ignore[union-attr]
        content = _found_elsewhere(url, [f"{other}/{name}/{key}" for other in others], digest)
        if content is None:
            raise CubeError(
                f"cube {url}: {generation}/{name} is missing or damaged, and no other generation "
                f"holds it: restore it from a copy, or delete the folder {generation} and build "
                "it again"
            )
        with storage_errors(url):
            write_bytes(open_store(url, read_only=False), f"{generation}/{name}/{key}", content)
    return restored


def _found_elsewhere(url: str | Path, keys: list[str], digest: object) -> bytes | None:
    with storage_errors(url):
        store = open_store(url)
        contents = (read_bytes(store, key) for key in keys)
        return next((c for c in contents if c is not None and sha256(c) == digest), None)


def restore_ledger(
    url: str | Path, generation: str, planned: Callable[[], U8]
) -> LedgerState | None:
    """Write a damaged ledger anew from the records of blocks that are whole by their digests.

    ``planned``: the ledger of a new cube. None where nothing was to be done. All blocks are read.
    """
    group = open_group(url, generation)
    if not _is_damaged(url, generation, group):
        return None
    status = planned()
    prints = np.zeros((*status.shape, 32), np.uint8)
    checks = np.zeros((*status.shape, len(PARTS)), np.uint64)
    with storage_errors(url):
        store = open_store(url, read_only=False)
        for place in map(tuple, np.argwhere(status == Status.MISSING).tolist()):
            block = _whole_block(store, generation, place)
            if block is not None:
                status[place], prints[place], checks[place] = block
        group = open_group(url, generation, mode="r+")
        arrays = dict(zip(_ARRAYS, (prints, checks, status), strict=True))
        for name in arrays:
            sync(store.delete_dir(f"{generation}/{name}/c"))
        for name, values in arrays.items():
            ledger_of(group, name)[:] = values
    lost = int((status == Status.MISSING).sum())
    return LedgerState(int(np.isin(status, (Status.DONE, Status.BROKEN)).sum()), lost)


def _is_damaged(url: str | Path, generation: str, group: zarr.Group) -> bool:
    try:
        status = read_statuses(url, generation, ledger_of(group, "done"))
        checks = read_ledger(url, generation, ledger_of(group, "provenance/check"))
        read_ledger(url, generation, ledger_of(group, "provenance/fingerprint"))
    except UnavailableError:
        raise
    except CubeError:
        return True
    counted = np.isin(status, (Status.DONE, Status.BROKEN))
    return bool((checks[counted] == 0).any())


def _whole_block(
    store: Store, generation: str, place: Index
) -> tuple[Status, U8, list[int]] | None:
    """Status, fingerprint and checksums of a block that is as its record says; else None."""
    contents = block_bytes(store, generation, place)
    record = parse_record(contents[-1])
    try:
        provenance = Provenance.model_validate(record)
        fingerprint = np.frombuffer(bytes.fromhex(provenance.fingerprint), np.uint8)
    except (ValidationError, ValueError):
        return None
    kept = [stored(content) for content in contents]
    recorded = [provenance.digests.get(part) for part in PARTS[:2]]
    if recorded != [chunk.digest for chunk in kept[:2]] or fingerprint.size != 32:
        return None
    status = Status.BROKEN if provenance.errors else Status.DONE
    return status, fingerprint, [chunk.check for chunk in kept]
