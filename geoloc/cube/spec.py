"""What a cube was made from, which blocks are done, where each block's pixels came from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from enum import IntEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

from ..area import portable
from ..domain import CHUNK_SIZE, Grid

FORMAT_VERSION = 1

_MOST_IN_ALL = 1 << 36  # cells: 10 m apart, 6.9 million km²
_MOST_CELLS = 1 << 26  # in a row or a column: 10 m apart they go 16 times around the Earth
_LARGEST_BLOCK = 4096


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Status(IntEnum):
    """States of a block in the ledger; MISSING and BROKEN are computed on resume."""

    MISSING = 0
    DONE = 1
    BROKEN = 2
    """Written, but some of its imagery could not be read."""
    OUTSIDE = 3
    """Not touched by the area's polygon: nothing to compute."""


class CubeSpec(_Strict):
    """All that decides a cube's numbers; two cubes of equal specs hold equal features.

    ``polygon`` is the sha256 of the area's geometry (WKB) or None for the whole grid,
    ``imagery`` the area's imagery spec, ``model`` the model's digest, ``encoding`` what the
    overhead encoder says of itself (method, GSD, stride, interpolation, dtype).

    Local paths in ``imagery`` count only as seen from the folder that holds them all: a folder
    of imagery may move. Which pixels a block is from is told by the block's own fingerprint.
    """

    crs: str
    left: FiniteFloat
    top: FiniteFloat
    step: FiniteFloat = Field(gt=0)
    ny: int = Field(ge=1, le=_MOST_CELLS)
    nx: int = Field(ge=1, le=_MOST_CELLS)
    polygon: str | None
    imagery: dict[str, Any]
    model: str
    encoding: dict[str, Any]
    block_size: int = Field(CHUNK_SIZE, ge=1, le=_LARGEST_BLOCK)

    @model_validator(mode="after")
    def _of_this_earth(self) -> CubeSpec:
        if self.ny * self.nx > _MOST_IN_ALL:
            raise ValueError(f"{self.ny:,} x {self.nx:,} cells are more than any area has")
        return self

    @property
    def grid(self) -> Grid:
        """The lattice of cells."""
        return Grid(self.crs, self.left, self.top, self.step, self.ny, self.nx)

    @classmethod
    def of_grid(cls, grid: Grid, **rest: Any) -> CubeSpec:
        """A spec for this lattice."""
        return cls(
            crs=grid.crs,
            left=grid.left,
            top=grid.top,
            step=grid.step,
            ny=grid.ny,
            nx=grid.nx,
            **rest,
        )

    @property
    def digest(self) -> str:
        """sha256 over the canonical JSON."""
        return hashlib.sha256(self._canonical().encode()).hexdigest()

    def differences(self, other: CubeSpec) -> list[str]:
        """One text for each value that differs: ``name: mine -> theirs``."""
        mine, theirs = json.loads(self._canonical()), json.loads(other._canonical())
        return [f"{name}: {a} -> {b}" for name, a, b in _compare(mine, theirs)]

    def same_but_imagery(self, other: CubeSpec) -> CubeSpec:
        """This spec with the other's imagery: what a refresh may change."""
        return self.model_copy(update={"imagery": other.imagery})

    def _canonical(self) -> str:
        facts = self.model_dump(mode="json")
        facts["imagery"] = portable(facts["imagery"])
        return json.dumps(facts, sort_keys=True, separators=(",", ":"))


def _compare(mine: Any, theirs: Any, name: str = "") -> Iterator[tuple[str, Any, Any]]:
    if isinstance(mine, dict) and isinstance(theirs, dict):
        for key in sorted(mine.keys() | theirs.keys()):
            path = f"{name}.{key}" if name else key
            yield from _compare(mine.get(key), theirs.get(key), path)
    elif mine != theirs:
        yield name, mine, theirs


class ItemRecord(_Strict):
    """One imagery item that a block was made from; ``date`` is ISO 8601 or None.

    ``version`` tells its files apart from what they were or will be under the same address.
    """

    id: str
    href: str
    date: str | None = None
    version: str | None = None


class Provenance(_Strict):
    """Where a block's numbers came from: kept as one small JSON text a block.

    ``fingerprint`` is the imagery's sha256 for the block's window; ``missing`` counts cells of
    the area without a vector, ``saturated`` clipped values, ``errors`` names broken imagery,
    ``notes`` what was taken for no imagery though it was there. ``digests``: sha256 of the
    block's chunks of features and norms as stored, empty for none; no such names where an older
    version wrote it.
    """

    fingerprint: str
    items: tuple[ItemRecord, ...] = ()
    missing: int = 0
    saturated: int = 0
    errors: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    digests: dict[str, str] = {}
