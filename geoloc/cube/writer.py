"""Writing blocks, and the ledger that says which of them count."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import SpecMismatchError
from ..grid import Block
from .encoding import Quantizer, distance_operator, squared_norm
from .reader import generation_exists, stored_spec
from .schema import LEDGER_CHUNK
from .spec import CubeSpec, Provenance, Status
from .store import array_of, open_group, optional_values_of, storage_errors, values_of


@dataclass(frozen=True)
class Written:
    """Counts of one written block: cells with a vector, and values clipped by the code."""

    cells: int
    saturated: int


class BlockWriter:
    """The workers' side: writes blocks, each of them one chunk; never the ledger."""

    def __init__(self, url: str | Path, generation: str) -> None:
        self.url = url
        group = open_group(url, generation, mode="r+")
        with storage_errors(url):
            self._features, self._norm = array_of(group, "features"), array_of(group, "norm")
            self._records = array_of(group, "provenance/record")
            self._quantizer = Quantizer(values_of(group, "scale"), values_of(group, "offset"))
            weights = optional_values_of(group, "distance_weight")
            metric = optional_values_of(group, "metric")
        self._operator = distance_operator(self._features.shape[2], weights, metric)

    def write(self, block: Block, features: NDArray[np.float32]) -> Written:
        """Encode and write float32 ``(y, x, feature)`` of a block, NaN where missing."""
        codes, saturated = self._quantizer.encode(features)
        values = self._quantizer.decode(codes)
        with storage_errors(self.url):
            self._features[block.slices] = codes
            self._norm[block.slices] = squared_norm(values, self._operator)
        return Written(int(np.isfinite(values[..., 0]).sum()), saturated)

    def record(self, block: Block, provenance: Provenance) -> None:
        """Write where the block came from."""
        text = provenance.model_dump_json(exclude_defaults=True)
        with storage_errors(self.url):
            self._records[block.row, block.col] = text


class Ledger:
    """The client's side: the state of every block, in memory and on the store.

    ``status``: uint8 ``(block_y, block_x)`` of Status. Only one process may hold a ledger for
    writing: its chunks are written whole from memory.
    """

    def __init__(self, url: str | Path, generation: str) -> None:
        self.url = url
        group = open_group(url, generation, mode="r+")
        with storage_errors(url):
            self._done = array_of(group, "done")
            self._prints = array_of(group, "provenance/fingerprint")
            self.status: NDArray[np.uint8] = np.asarray(self._done[:])
        self._fingerprints: dict[tuple[int, int], NDArray[np.uint8]] = {}

    def mark(self, row: int, col: int, status: Status, fingerprint: str) -> None:
        """Record a block whose data is written; ``fingerprint`` is a sha256 in hex."""
        top, left = row - row % LEDGER_CHUNK, col - col % LEDGER_CHUNK
        area = np.s_[top : top + LEDGER_CHUNK, left : left + LEDGER_CHUNK]
        with storage_errors(self.url):
            if (top, left) not in self._fingerprints:
                self._fingerprints[top, left] = np.asarray(self._prints[area])
            prints = self._fingerprints[top, left]
            prints[row - top, col - left] = np.frombuffer(bytes.fromhex(fingerprint), np.uint8)
            self._prints[area] = prints
            self.status[row, col] = status  # after the rest: this makes the block count
            self._done[area] = self.status[area]


def resume_generation(url: str | Path, generation: str, spec: CubeSpec) -> bool:
    """Whether this generation exists and was begun from the same spec.

    Raises SpecMismatchError, naming what differs, where it was made from another one.
    """
    if not generation_exists(url, generation):
        return False
    there = stored_spec(url, generation)
    if there.digest != spec.digest:
        raise SpecMismatchError(
            f"cube {url} was built from another specification "
            f"({'; '.join(_short(d) for d in there.differences(spec))}): "
            "name another cube in the area file, or delete this one"
        )
    return True


def _short(text: str, limit: int = 160) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
