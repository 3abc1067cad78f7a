"""Tiling imagery into Zarr: read from anywhere once, kept on the lattice that encoding reads.

When it pays. Building a cube fuses reading and encoding: no pixel is stored, each is read once
(and about a tenth twice, under the margins of blocks). That is best for one build. A tiled copy
costs a write and, at 0.5 m and 4 bytes a pixel and compressed, about 6 MB a km² of disk; it pays

- when the imagery is encoded more than once: other models, other steps of the same GSD;
- when reading is the bottleneck: a web server's rate, a catalog far away, many overlapping
  scenes or their median, decoding that keeps a GPU waiting;
- when the origin may change or vanish, and the pixels behind an answer shall be kept.

Layout (Zarr v3): ``pixels`` uint8 (band, y, x) and ``valid`` (y, x), one shard a tile of 2048 px
with chunks of 512; ``done``, the ledger (tile_y, tile_x), written after a tile's data; ``record``
a JSON text a tile: items, dates, versions, fingerprint. One task writes one whole shard.
"""

from __future__ import annotations

import functools
import hashlib
import json
import warnings
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray
from pyproj import CRS
from zarr.codecs import ZstdCodec

from ..errors import SpecMismatchError
from ..grid import Block, Grid
from .source import Source
from .zarr import (
    FORMAT_VERSION,
    TILE,
    TileItem,
    TileRecord,
    TileState,
    array_of,
    open_store,
    open_tiled,
    reading,
)

_CHUNK = 512
_LEDGER_CHUNK = 32
_LIGHT = ZstdCodec(level=3)


@dataclass(frozen=True)
class TiledSpec:
    """All that decides a copy's pixels: the lattice, and what was read (`Imagery.recorded`)."""

    lattice: Grid
    imagery: dict[str, Any]
    polygon: str | None = None

    @property
    def digest(self) -> str:
        """SHA-256 of it."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class TileResult:
    """What the client learns of a written tile."""

    state: TileState
    valid: int
    errors: tuple[str, ...]


@dataclass(frozen=True)
class TileWork:
    """Reads a tile and writes it; sent to workers (see ``cluster.Work``)."""

    url: str
    lattice: Grid
    source: Source

    @functools.cached_property
    def _group(self) -> zarr.Group:
        return open_tiled(self.url, mode="r+")

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_group"}

    def read(self, tile: Block) -> tuple[xr.DataArray | None, str]:
        """The origin's pixels, or None where it has none, and its fingerprint."""
        window = self.lattice.window(*tile.slices)
        fingerprint = self.source.fingerprint(window)
        image = self.source.read(window) if self.source.covers(window) else None
        return image, fingerprint

    def finish(self, tile: Block, data: tuple[xr.DataArray | None, str]) -> TileResult:
        """Write it, and where it is from; the ledger is the client's to write."""
        image, fingerprint = data
        record = TileRecord(fingerprint=fingerprint)
        count = 0
        if image is not None:
            valid = image.coords["valid"].values
            count = int(valid.sum())
            items = tuple(
                TileItem(
                    id=i.id,
                    href=i.href,
                    date=i.datetime.isoformat() if i.datetime else None,
                    version=i.version,
                )
                for i in image.attrs["items"]
            )
            record = record.model_copy(update={"items": items, "errors": image.attrs["errors"]})
            with reading(self.url):
                array_of(self._group, "pixels")[:, *tile.slices] = image.values
                array_of(self._group, "valid")[tile.slices] = valid.astype(np.uint8)
        with reading(self.url):
            array_of(self._group, "record")[tile.row, tile.col] = record.model_dump_json()
        state = TileState.BROKEN if record.errors else TileState.DONE
        return TileResult(state, count, record.errors)


class TileLedger:
    """The client's side: the state of every tile, uint8 ``(tile_y, tile_x)`` of TileState."""

    def __init__(self, url: str) -> None:
        self.url = url
        with reading(url):
            self._done = array_of(open_tiled(url, mode="r+"), "done")
            self.state: NDArray[np.uint8] = np.asarray(self._done[:])

    def mark(self, tile: Block, state: TileState) -> None:
        """Make a written tile count."""
        top, left = tile.row - tile.row % _LEDGER_CHUNK, tile.col - tile.col % _LEDGER_CHUNK
        part = np.s_[top : top + _LEDGER_CHUNK, left : left + _LEDGER_CHUNK]
        self.state[tile.row, tile.col] = state
        with reading(self.url):
            self._done[part] = self.state[part]


def open_ledger(url: str, spec: TiledSpec, states: NDArray[np.uint8]) -> TileLedger:
    """The ledger of a copy begun from the same spec, or of a new one with these first states.

    Raises SpecMismatchError where another one lies there, ImageryError where none can be written.
    """
    if not _exists(url):
        _create(url, spec, states)
    with reading(url):
        there = open_tiled(url).attrs["spec_digest"]
    if there != spec.digest:
        raise SpecMismatchError(
            f"tiled imagery {url} was made from another area, imagery or lattice: name another "
            "place with --out, or delete it"
        )
    return TileLedger(url)


def _exists(url: str) -> bool:
    """Whether a copy was begun there; attributes are written last."""
    try:
        with reading(url):
            group = zarr.open_group(open_store(url), mode="r")
            return "geoloc_imagery" in group.attrs
    except Exception as error:
        if "no tiled imagery" in str(error):
            return False
        raise


def _create(url: str, spec: TiledSpec, states: NDArray[np.uint8]) -> None:
    lattice = spec.lattice
    with reading(url), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # strings: not yet in the specification
        group = zarr.create_group(open_store(url, read_only=False), overwrite=True)
        _create_pixels(group, lattice)
        _create_ledger(group, states)
        a, b, c, d, e, f = lattice.transform
        place = {**CRS(lattice.crs).to_cf(), "GeoTransform": f"{c!r} {a!r} {b!r} {f!r} {d!r} {e!r}"}
        group.create_array("spatial_ref", shape=(), dtype="int64", attributes=place)
        attributes: dict[str, Any] = {
            "Conventions": "CF-1.11",
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "lattice": asdict(lattice),
            "imagery": spec.imagery,
            "spec_digest": spec.digest,
        }
        group.attrs.update(attributes)
        group.attrs["geoloc_imagery"] = FORMAT_VERSION  # last: makes it count


def _create_pixels(group: zarr.Group, lattice: Grid) -> None:
    mapping = {"grid_mapping": "spatial_ref"}
    group.create_array(
        "pixels",
        shape=(3, *lattice.shape),
        chunks=(3, _CHUNK, _CHUNK),
        shards=(3, TILE, TILE),
        dtype="uint8",
        fill_value=0,
        compressors=_LIGHT,
        dimension_names=("band", "y", "x"),
        attributes={**mapping, "long_name": "red, green, blue"},
    )
    group.create_array(
        "valid",
        shape=lattice.shape,
        chunks=(_CHUNK, _CHUNK),
        shards=(TILE, TILE),
        dtype="uint8",
        fill_value=0,
        compressors=_LIGHT,
        dimension_names=("y", "x"),
        attributes={**mapping, "long_name": "1 where there is imagery"},
    )
    for name, values in (("y", lattice.y), ("x", lattice.x)):
        axis = group.create_array(
            name, shape=values.shape, dtype="float64", chunks=values.shape, dimension_names=(name,)
        )
        axis[:] = values


def _create_ledger(group: zarr.Group, states: NDArray[np.uint8]) -> None:
    names = ("tile_y", "tile_x")
    done = group.create_array(
        "done",
        shape=states.shape,
        chunks=(_LEDGER_CHUNK, _LEDGER_CHUNK),
        dtype="uint8",
        fill_value=0,
        compressors=None,
        dimension_names=names,
        attributes={"flag_values": [0, 1, 2, 3], "flag_meanings": "missing done broken outside"},
    )
    done[:] = states
    group.create_array(
        "record",
        shape=states.shape,
        chunks=(1, 1),
        dtype=str,
        fill_value="",
        compressors=_LIGHT,
        dimension_names=names,
    )
