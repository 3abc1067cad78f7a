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

Tiling again renews the tiles whose origin's fingerprint has changed, and no others. Before a
tile is rewritten the ledger says that it is missing, and its record is emptied: whoever reads
it then learns that, and a kill leaves a tile to be done again, never a mix that counts. Pixels
that are whole stay as they are while their origin cannot be read.
"""

from __future__ import annotations

import functools
import hashlib
import json
import warnings
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
from pyproj import CRS
from zarr.codecs import ZstdCodec
from zarr.core.sync import sync

from ...area import portable
from ...arrays import U8
from ...domain import Chunk, Grid, Index, Status
from ...errors import ImageryError, SpecMismatchError
from ...stores import open_store
from ...stores.ledger import PIECE, LedgerArray
from ..source import Source
from .source import (
    FORMAT_VERSION,
    TILE,
    TileItem,
    TileRecord,
    array_of,
    imagery_errors,
    open_tiled,
    parse_record,
)

if TYPE_CHECKING:
    import xarray as xr
    from zarr.abc.store import Store

_MARK = "geoloc_imagery"  # attribute: the format's version
_BEING_LAID_OUT = 0
_CHUNK = 512
_LIGHT = ZstdCodec(level=3)


@dataclass(frozen=True)
class TiledSpec:
    """What a copy is of: the lattice, the polygon's SHA-256, and what is read for it.

    ``imagery`` is `Imagery.recorded`; as with a cube, a folder of imagery may move.
    """

    lattice: Grid
    imagery: dict[str, Any]
    polygon: str | None = None

    @property
    def digest(self) -> str:
        """SHA-256 of it."""
        facts = {**asdict(self), "imagery": portable(self.imagery)}
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def of_imagery(self, imagery: dict[str, Any]) -> TiledSpec:
        """The same of other imagery."""
        return replace(self, imagery=imagery)


@dataclass(frozen=True)
class TileResult:
    """What the client learns of a tile. DONE with errors: it stays as it was, as these came up."""

    status: Status
    valid: int
    errors: tuple[str, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class TileTask:
    """Reads a tile and writes it; sent to workers (see ``executors.Task``)."""

    url: str
    lattice: Grid
    source: Source

    @functools.cached_property
    def _group(self) -> zarr.Group:
        return open_tiled(self.url, mode="r+")

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_group"}

    def fingerprint(self, tile: Chunk) -> str:
        """Of the imagery that the tile would be made from now; sha256 in hex."""
        return self.source.fingerprint(self.lattice.window(*tile.slices))

    def read(self, tile: Chunk) -> tuple[xr.DataArray | None, str]:
        """The origin's pixels, or None where it has none, and its fingerprint."""
        window, fingerprint = self.lattice.window(*tile.slices), self.fingerprint(tile)
        image = self.source.read(window) if self.source.covers(window) else None
        return image, fingerprint

    def finish(self, tile: Chunk, data: tuple[xr.DataArray | None, str]) -> TileResult:
        """Write it, and where it is from; the ledger is the client's to write."""
        image, fingerprint = data
        record = _record(image, fingerprint)
        with imagery_errors(self.url):
            before = parse_record(array_of(self._group, "record")[tile.index])
            if record.errors and before.status == Status.DONE:
                return TileResult(Status.DONE, 0, record.errors)
            if before.fingerprint:
                self._note(tile, "")  # from here on its pixels are neither old nor new
            self._write(tile, image, anew=bool(before.items))
            self._note(tile, record.model_dump_json())
        valid = 0 if image is None else int(image.coords["valid"].sum())
        notes = () if image is None else image.attrs.get("notes", ())
        return TileResult(record.status, valid, record.errors, notes)

    def _write(self, tile: Chunk, image: xr.DataArray | None, *, anew: bool) -> None:
        if image is not None:
            valid = image.coords["valid"].values
            array_of(self._group, "pixels")[:, *tile.slices] = image.values
            array_of(self._group, "valid")[tile.slices] = valid.astype(np.uint8)
        elif anew:  # the origin has withdrawn what was there
            array_of(self._group, "pixels")[:, *tile.slices] = 0
            array_of(self._group, "valid")[tile.slices] = 0

    def _note(self, tile: Chunk, text: str) -> None:
        array_of(self._group, "record")[tile.index] = text


def _record(image: xr.DataArray | None, fingerprint: str) -> TileRecord:
    if image is None:
        return TileRecord(fingerprint=fingerprint)
    items = tuple(TileItem.model_validate(i.record) for i in image.attrs["items"])
    return TileRecord(fingerprint=fingerprint, items=items, errors=image.attrs["errors"])


class TileLedger:
    """The client's side: the status of every tile, uint8 ``(tile_y, tile_x)`` of Status."""

    def __init__(self, url: str) -> None:
        self.url = url
        with imagery_errors(url):
            group = open_tiled(url, mode="r+")
            done, self._records = array_of(group, "done"), array_of(group, "record")
            self.status: U8 = np.asarray(done[:])
            self._done = LedgerArray(done, self.status)

    @property
    def whole(self) -> bool:
        """Whether no tile lacks anything."""
        return not np.isin(self.status, (Status.MISSING, Status.BROKEN)).any()

    def record(self, index: Index) -> TileRecord:
        """Where a tile is from."""
        with imagery_errors(self.url):
            return parse_record(self._records[index])

    def mark(self, tile: Chunk, status: Status) -> None:
        """Make a written tile count, or one that is to be rewritten count no more."""
        if self.status[tile.index] != status:
            with imagery_errors(self.url):
                self._done.change(np.array([tile.index]), status)


def open_ledger(
    url: str, spec: TiledSpec, status: U8, *, other_imagery: bool = False
) -> TileLedger:
    """The ledger of a copy begun from the same spec, or of a new one with these first statuses.

    ``other_imagery``: a copy of other imagery becomes one of this. The caller is the only one
    who writes there. Raises SpecMismatchError where another copy lies there, ImageryError where
    something else does, or none can be written.
    """
    if not _begun(url):
        _create(url, spec, status)
    with imagery_errors(url):
        group = open_tiled(url, mode="r+")
        stored: Any = group.attrs
        mine = spec.of_imagery(stored["imagery"]) if other_imagery else spec
        if stored["spec_digest"] != mine.digest:
            raise SpecMismatchError(
                f"tiled imagery {url} was made from another area, imagery or lattice: name another "
                "place with --out, or delete it"
            )
        if stored["imagery"] != spec.imagery:
            group.update_attributes({"imagery": spec.imagery, "spec_digest": spec.digest})
    return TileLedger(url)


def is_whole(url: str) -> bool:
    """Whether a copy is there and lacks nothing. Raises ImageryError where it cannot be read."""
    with imagery_errors(url):
        return _begun(url) and TileLedger(url).whole


def _begun(url: str) -> bool:
    """Whether a copy is laid out there. Raises ImageryError where something else lies there."""
    with imagery_errors(url):
        store = open_store(url)
        names = [name for name in _names(store) if not name.startswith("LOCK")]
        if not any(not name.endswith(".partial") for name in names):
            return False
        mark = zarr.open_group(store, mode="r").attrs.get(_MARK) if "zarr.json" in names else None
    if mark is None:
        raise ImageryError(f"{url} holds something else: name another place for tiled imagery")
    return mark != _BEING_LAID_OUT


def _names(store: Store) -> list[str]:
    """What lies directly in a store."""

    async def collect() -> list[str]:
        return [name.strip("/") async for name in store.list_dir("")]

    try:
        return sync(collect())
    except FileNotFoundError:
        return []


def _create(url: str, spec: TiledSpec, status: U8) -> None:
    lattice = spec.lattice
    with imagery_errors(url), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # strings: not yet in the specification
        # nothing is deleted that others may have put there; a layout that was killed is redone
        store = open_store(url, read_only=False)
        group = zarr.open_group(store, mode="a", attributes={_MARK: _BEING_LAID_OUT})
        _create_pixels(group, lattice)
        _create_ledger(group, status)
        a, b, c, d, e, f = lattice.transform
        place = {**CRS(lattice.crs).to_cf(), "GeoTransform": f"{c!r} {a!r} {b!r} {f!r} {d!r} {e!r}"}
        group.create_array("spatial_ref", shape=(), dtype="int64", attributes=place, overwrite=True)
        attributes: dict[str, Any] = {
            "Conventions": "CF-1.11",
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "lattice": asdict(lattice),
            "imagery": spec.imagery,
            "spec_digest": spec.digest,
        }
        group.attrs.update(attributes)
        group.attrs[_MARK] = FORMAT_VERSION  # last: makes it count


def _create_pixels(group: zarr.Group, lattice: Grid) -> None:
    mapping = {"grid_mapping": "spatial_ref"}
    group.create_array(
        "pixels",
        shape=(3, *lattice.shape),
        chunks=(3, _CHUNK, _CHUNK),
        shards=(3, TILE, TILE),
        overwrite=True,
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
        overwrite=True,
        dtype="uint8",
        fill_value=0,
        compressors=_LIGHT,
        dimension_names=("y", "x"),
        attributes={**mapping, "long_name": "1 where there is imagery"},
    )
    for name, values in (("y", lattice.y), ("x", lattice.x)):
        axis = group.create_array(
            name,
            shape=values.shape,
            dtype="float64",
            chunks=values.shape,
            dimension_names=(name,),
            overwrite=True,
        )
        axis[:] = values


def _create_ledger(group: zarr.Group, status: U8) -> None:
    names = ("tile_y", "tile_x")
    done = group.create_array(
        "done",
        shape=status.shape,
        chunks=(PIECE, PIECE),
        overwrite=True,
        dtype="uint8",
        fill_value=0,
        compressors=None,
        dimension_names=names,
        attributes={"flag_values": [0, 1, 2, 3], "flag_meanings": "missing done broken outside"},
    )
    done[:] = status
    group.create_array(
        "record",
        shape=status.shape,
        chunks=(1, 1),
        overwrite=True,
        dtype=str,
        fill_value="",
        compressors=_LIGHT,
        dimension_names=names,
    )
