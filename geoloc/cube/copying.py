"""Blocks taken over from one generation into another, byte by byte, undecoded."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import ObjectStore

from ..stores import local_path
from .guard import block_keys
from .store import open_store, storage_errors

if TYPE_CHECKING:
    from zarr.abc.store import Store


class BlockCopier:
    """Copies what belongs to a block: features, norms, provenance.

    On disk a copy is a second name of the same file, which costs no room: chunks are only ever
    replaced, never changed in place. Object stores copy on their own side.
    """

    def __init__(self, url: str | Path, source: str, target: str) -> None:
        self.url, self.source, self.target = url, source, target
        self._root = local_path(url)
        with storage_errors(url):
            self._store = open_store(url, read_only=False)

    def copy(self, *place: int) -> None:
        """Copy one block; a chunk that holds nothing is not on the store and needs no copy."""
        with storage_errors(self.url):
            keys = (block_keys(name, place) for name in (self.source, self.target))
            for source, target in zip(*keys, strict=True):
                self._copy(source, target)

    def _copy(self, source: str, target: str) -> None:
        if self._root is not None:
            _link(self._root / source, self._root / target)
        elif isinstance(self._store, ObjectStore):
            _copy_object(self._store, source, target)
        else:
            _carry(self._store, source, target)


def _link(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    if not source.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:  # a file system without links, or too many of one file
        shutil.copyfile(source, target)


def _copy_object(store: ObjectStore, source: str, target: str) -> None:  # type: ignore[type-arg]
    import obstore

    try:
        obstore.copy(store.store, source, target)
    except FileNotFoundError:
        sync(store.delete(target))


def _carry(store: Store, source: str, target: str) -> None:
    content = sync(store.get(source, default_buffer_prototype()))
    if content is None:
        sync(store.delete(target))
    else:
        sync(store.set(target, content))
