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
from .store import (
    array_of,
    open_group,
    optional_values_of,
    storage_errors,
    update_attributes,
    values_of,
)


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
        self.url, self.generation = url, generation
        group = open_group(url, generation, mode="r+")
        with storage_errors(url):
            self._done = array_of(group, "done")
            self._prints = array_of(group, "provenance/fingerprint")
            self.status: NDArray[np.uint8] = np.asarray(self._done[:])
        self._fingerprints: dict[tuple[int, int], NDArray[np.uint8]] = {}

    def mark(self, row: int, col: int, status: Status, fingerprint: str) -> None:
        """Record a block whose data is written; ``fingerprint`` is a sha256 in hex."""
        values = np.frombuffer(bytes.fromhex(fingerprint), np.uint8)
        self.mark_many(np.array([[row, col]]), status, values[None])

    def mark_many(
        self, places: NDArray[np.intp], status: Status, fingerprints: NDArray[np.uint8]
    ) -> None:
        """`mark` for blocks ``(n, 2)`` with fingerprints ``(n, 32)``: each chunk once."""
        corners = places - places % LEDGER_CHUNK
        for top, left in np.unique(corners, axis=0).tolist():
            here = (corners == (top, left)).all(axis=1)
            rows, cols = places[here].T
            area = np.s_[top : top + LEDGER_CHUNK, left : left + LEDGER_CHUNK]
            with storage_errors(self.url):
                if (top, left) not in self._fingerprints:
                    self._fingerprints[top, left] = np.asarray(self._prints[area])
                prints = self._fingerprints[top, left]
                prints[rows - top, cols - left] = fingerprints[here]
                self._prints[area] = prints
                self.status[rows, cols] = status  # after the rest: this makes blocks count
                self._done[area] = self.status[area]

    def fingerprints(self) -> NDArray[np.uint8]:
        """Fingerprints of all blocks, ``(block_y, block_x, 32)``."""
        with storage_errors(self.url):
            return np.asarray(self._prints[:])


def resume_generation(url: str | Path, generation: str, spec: CubeSpec) -> bool:
    """Whether this generation exists and was begun from the same spec.

    Raises SpecMismatchError, naming what differs, where it was made from another one.
    """
    if not generation_exists(url, generation):
        return False
    require_spec(url, stored_spec(url, generation), spec)
    remember_imagery(url, generation, spec)
    return True


def require_spec(url: str | Path, there: CubeSpec, spec: CubeSpec) -> None:
    """Raises SpecMismatchError, naming what differs, unless both specs are equal."""
    differences = there.differences(spec)
    if not differences:
        return
    advice = "name another cube in the area file, or delete this one"
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
