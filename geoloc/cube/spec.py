"""What a cube was made from, which blocks are done, where each block's pixels came from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

from ..area import portable
from ..domain import CHUNK_SIZE, Domain, Grid, Points
from ..errors import CubeError

FORMAT_VERSION = 2
"""See FORMAT.md."""

_MOST_IN_ALL = 1 << 36  # cells: 10 m apart, 6.9 million km²
_MOST_CELLS = 1 << 26  # along a dimension: 10 m apart they go 16 times around the Earth
_LARGEST_BLOCK = 4096


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class GridSpec(_Strict):
    """A regular lattice of cells."""

    kind: Literal["grid"] = "grid"
    crs: str
    left: FiniteFloat
    top: FiniteFloat
    step: FiniteFloat = Field(gt=0)
    ny: int = Field(ge=1, le=_MOST_CELLS)
    nx: int = Field(ge=1, le=_MOST_CELLS)

    dims: ClassVar[tuple[str, ...]] = ("y", "x")

    @model_validator(mode="after")
    def _of_this_earth(self) -> GridSpec:
        if self.ny * self.nx > _MOST_IN_ALL:
            raise ValueError(f"{self.ny:,} x {self.nx:,} cells are more than any area has")
        return self

    @property
    def shape(self) -> tuple[int, ...]:
        return self.ny, self.nx


class PointsSpec(_Strict):
    """Points anywhere; ``digest`` is that of `Points`, whose coordinates the cube holds.

    ``sequence`` names what they are the beginning of, empty where that is not known.
    """

    kind: Literal["points"] = "points"
    crs: str
    count: int = Field(ge=1, le=_MOST_CELLS)
    digest: str
    sequence: str = ""

    dims: ClassVar[tuple[str, ...]] = ("point",)

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.count,)


class CubeSpec(_Strict):
    """All that decides a cube's numbers; two cubes of equal specs hold equal features.

    ``domain``: where the vectors are. ``polygon`` is the sha256 of the area's geometry (WKB) or
    None for all of the domain, ``imagery`` the area's imagery spec, ``model`` the model's digest,
    ``encoding`` what the overhead encoder says of itself (method, GSD, stride, interpolation,
    dtype).

    Local paths in ``imagery`` count only as seen from the folder that holds them all: a folder
    of imagery may move. Which pixels a block is from is told by the block's own fingerprint.
    """

    domain: GridSpec | PointsSpec = Field(discriminator="kind")
    polygon: str | None
    imagery: dict[str, Any]
    model: str
    encoding: dict[str, Any]
    block_size: int = Field(CHUNK_SIZE, ge=1, le=_LARGEST_BLOCK)

    @property
    def grid(self) -> Grid:
        """The lattice of cells. Raises CubeError for a cube of points."""
        d = self.domain
        if isinstance(d, PointsSpec):
            raise CubeError(
                f"this cube holds {d.count:,} points, and no grid of cells: give a cube that was "
                "built from an area file"
            )
        return Grid(d.crs, d.left, d.top, d.step, d.ny, d.nx)

    @property
    def step(self) -> float | None:
        """m between cells; None for points."""
        return None if isinstance(self.domain, PointsSpec) else self.domain.step

    @property
    def chunk_grid(self) -> tuple[int, ...]:
        """How many blocks cover the domain along each dimension."""
        return tuple(-(-count // self.block_size) for count in self.domain.shape)

    @classmethod
    def of(cls, domain: Domain, **rest: Any) -> CubeSpec:
        """A spec for this domain."""
        if isinstance(domain, Points):
            part: Any = PointsSpec(
                crs=domain.crs,
                count=domain.size,
                digest=domain.digest,
                sequence=domain.sequence,
            )
        else:
            assert isinstance(domain, Grid)
            part = GridSpec(**asdict(domain))
        return cls(**{"domain": part, "block_size": domain.chunk_size, **rest})

    @property
    def digest(self) -> str:
        """sha256 over the canonical JSON."""
        return hashlib.sha256(self._canonical().encode()).hexdigest()

    def differences(self, other: CubeSpec) -> list[str]:
        """One text for each value that differs: ``name: mine -> theirs``."""
        mine, theirs = json.loads(self._canonical()), json.loads(other._canonical())
        differing = _compare(mine, theirs)
        return [f"{name.removeprefix('domain.')}: {a} -> {b}" for name, a, b in differing]

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
    block's chunks of features and norms as stored, empty for none.
    """

    fingerprint: str
    items: tuple[ItemRecord, ...] = ()
    missing: int = 0
    saturated: int = 0
    errors: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    digests: dict[str, str] = {}
