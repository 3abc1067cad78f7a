"""Which blocks of a generation are not what was written: by presence and size, or by content."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from zarr.storage import ObjectStore

from ..domain import Chunk, Index
from ..errors import CubeError
from ..progress import Progress
from ..stores import local_path
from .guard import block_keys
from .reader import Cube
from .store import open_store, storage_errors

if TYPE_CHECKING:
    from zarr.abc.store import Store


_THREADS = min(8, os.cpu_count() or 1)  # hashing releases the lock of the interpreter
_AT_ONCE = 256
_SOME = 3  # damaged blocks that a message names


@dataclass(frozen=True)
class Inspection:
    """What was found in the blocks of a cube.

    ``damaged``: why, by row and column as text; ``bytes`` and ``seconds``: what reading them took.
    """

    blocks: int
    damaged: dict[str, str]
    bytes: int
    seconds: float

    @property
    def speed(self) -> float:
        """MB/s."""
        return self.bytes / 1e6 / self.seconds if self.seconds else 0.0

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return {**asdict(self), "megabytes_per_second": self.speed}

    def summary(self) -> str:
        """For people, one line."""
        return (
            f"{self.blocks} blocks read, {self.bytes / 1e6:,.1f} MB in {self.seconds:.1f} s "
            f"({self.speed:,.0f} MB/s): {len(self.damaged) or 'none'} damaged"
        )

    def raise_if_damaged(self, url: str) -> None:
        """Raises CubeError that names some of the damaged blocks, and the repair."""
        if self.damaged:
            some = "; ".join(f"({at}) {why}" for at, why in islice(self.damaged.items(), _SOME))
            raise CubeError(
                f"cube {url}: {len(self.damaged)} of {self.blocks} blocks are damaged: {some}"
                f"{' …' if len(self.damaged) > _SOME else ''}: 'geoloc cube repair {url}' "
                "computes them again"
            )


def inspect_blocks(cube: Cube, progress: Progress | None = None) -> Inspection:
    """Read every block, a few at a time, and compare it with its checksums and digests.

    Open the cube with ``check_digests`` for the latter.
    """
    start, damaged, size = time.perf_counter(), dict[str, str](), 0
    blocks = cube.blocks()
    total = sum(1 for _ in cube.blocks())
    done = 0
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="inspect") as pool:
        while some := list(islice(blocks, _AT_ONCE)):
            for block, (why, read) in zip(some, pool.map(cube.inspect, some), strict=True):
                done, size = done + 1, size + read
                if why:
                    damaged[", ".join(map(str, block.index))] = why
                if progress:
                    progress(done, total)
    return Inspection(total, damaged, size, time.perf_counter() - start)


def damaged_blocks(cube: Cube, *, contents: bool) -> dict[Index, str]:
    """Blocks that are damaged, and why: by presence and size alone, or by ``contents`` too."""
    blocks = cube.blocks() if contents else _suspects(cube)
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="inspect") as pool:
        faults: dict[Index, str] = {}
        while some := list(islice(blocks, _AT_ONCE)):
            for block, (why, _) in zip(some, pool.map(cube.inspect, some), strict=True):
                if why:
                    faults[block.index] = why
    return faults


def _suspects(cube: Cube) -> Iterator[Chunk]:
    """Blocks of which a chunk is missing, or is of another size than it should have."""
    with storage_errors(cube.url):
        sizes = _Sizes(cube)
    for block in cube.blocks():
        place = block.index
        for part, key in enumerate(block_keys(cube.generation, place)):
            with storage_errors(cube.url):
                stored = sizes.of(key)
            if not cube.may_hold(part, place, stored):
                yield block
                break


class _Sizes:
    """Sizes of what lies on the store: asked of the file system, or listed once."""

    def __init__(self, cube: Cube) -> None:
        self._root = local_path(cube.url)
        self._listed: dict[str, int] = {}
        if self._root is None:
            store = open_store(cube.url)
            for prefix in ("features/c", "norm/c", "provenance/record/c"):
                self._listed |= _listing(store, f"{cube.generation}/{prefix}")

    def of(self, key: str) -> int | None:
        """None where nothing is there."""
        if self._root is None:
            return self._listed.get(key)
        try:
            return (self._root / key).stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return None


def _listing(store: Store, prefix: str) -> dict[str, int]:
    assert isinstance(store, ObjectStore)
    import obstore

    return {
        about["path"]: about["size"]
        for batch in obstore.list(store.store, prefix)
        for about in batch
    }
