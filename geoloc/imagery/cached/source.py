"""Imagery that was tiled into Zarr: read as any other source, without its files or catalog.

`tiles` writes it, and says when that pays.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
from pydantic import BaseModel, ConfigDict
from zarr.storage import StorePath, WrapperStore

from ...area import Bounds, ZarrImagery
from ...arrays import U8, Bools
from ...domain import Chunk, Grid, Status
from ...errors import ImageryError
from ...stores import open_store, reason_of
from ..crs import box_in, pixel_side
from ..keys import fill_keys, hide_keys
from ..resample import Axis, resample
from ..source import Item, as_window, overlap
from ..warp import warp

if TYPE_CHECKING:
    import xarray as xr
    from zarr.abc.store import ByteRequest, Store
    from zarr.core.buffer import Buffer, BufferPrototype

FORMAT_VERSION = 1
TILE = 2048
"""Pixels along a side of a tile: the unit of tiling, one shard."""

_ON_LATTICE = 1e-3  # px
_MARGIN = 2  # px around what is resampled


class TileItem(BaseModel):
    """An image that a tile was made from."""

    model_config = ConfigDict(frozen=True)

    id: str
    href: str
    date: str | None = None
    version: str | None = None


class TileRecord(BaseModel):
    """Where a tile's pixels are from; ``fingerprint`` is the origin's, of the tile.

    Without a fingerprint its pixels are not whole: it was never written, or is being rewritten.
    """

    model_config = ConfigDict(frozen=True)

    fingerprint: str = ""
    items: tuple[TileItem, ...] = ()
    errors: tuple[str, ...] = ()

    @property
    def status(self) -> Status:
        """What the ledger should say of the tile."""
        if not self.fingerprint:
            return Status.MISSING
        return Status.BROKEN if self.errors else Status.DONE


@dataclass(frozen=True)
class _Tile:
    """A tile as it is on the store at one moment."""

    row: int
    col: int
    status: int
    record: TileRecord

    @property
    def lacking(self) -> bool:
        """Whether its pixels are not to be used: nobody knows what they are."""
        return Status.MISSING in (self.status, self.record.status) and (
            self.status != Status.OUTSIDE
        )


class _Counting(WrapperStore["Store"]):
    """A store that counts the bytes taken from it; zarr reads in one thread, its loop's."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.read_bytes = 0

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        content = await super().get(key, prototype, byte_range)
        self.read_bytes += 0 if content is None else len(content)
        return content

    async def get_partial_values(
        self,
        prototype: BufferPrototype,
        key_ranges: Iterable[tuple[str, ByteRequest | None]],
    ) -> list[Buffer | None]:
        parts = await super().get_partial_values(prototype, key_ranges)
        self.read_bytes += sum(len(part) for part in parts if part is not None)
        return parts


class ZarrSource:
    """A tiled copy; see ``Source``. On its own lattice, its pixels are given as they are."""

    def __init__(self, spec: ZarrImagery) -> None:
        self.spec = spec

    def __getstate__(self) -> dict[str, Any]:
        return {"spec": self.spec}

    @functools.cached_property
    def _group(self) -> zarr.Group:
        return open_tiled(self.spec.path, opened=fill_keys(self.spec.path))

    @functools.cached_property
    def lattice(self) -> Grid:
        """The pixels' lattice."""
        return Grid(**self._group.attrs["lattice"])  # type: ignore[arg-type]

    @functools.cached_property
    def gsd(self) -> float:
        """m on the ground per pixel, at the middle."""
        x, y = self.lattice.center(self.lattice.ny // 2, self.lattice.nx // 2)
        step = self.lattice.step
        return pixel_side(self.lattice.crs, np.array([x, x + step, x]), np.array([y, y, y - step]))

    def bounds(self, crs: str) -> Bounds:
        """The lattice's box in ``crs``."""
        return box_in(self.lattice.bounds, self.lattice.crs, crs)

    def covers(self, window: Grid) -> bool:
        """Whether the window touches the lattice."""
        return overlap(self.bounds(window.crs), window) is not None

    def read(self, window: Grid) -> xr.DataArray:
        """The copy's pixels in the window (see ``Source.read``)."""
        part = self._part(window)
        if part is None:
            pixels, valid = np.zeros((3, *window.shape), np.uint8), np.zeros(window.shape, bool)
            return as_window(pixels, valid, window, (), (), read_bytes=0)
        with imagery_errors(self.spec.path):
            group, store = _counted(self._group)
            before = _tiles(group, part)
            values: U8 = np.asarray(array_of(group, "pixels")[:, *part])
            known: Bools = np.asarray(array_of(group, "valid")[part]) > 0
            after = _tiles(group, part)
        # a tile that was rewritten meanwhile may be a mix of old and new
        unusable = [b for b, a in zip(before, after, strict=True) if b.lacking or a != b]
        for tile in unusable:
            values[:, *_inside(tile, part)] = 0
            known[_inside(tile, part)] = False
        pixels, valid = self._pixels(window, values, known, self.lattice.window(*part))
        items = dict.fromkeys(item for tile in before for item in tile.record.items)
        errors = dict.fromkeys(error for tile in before for error in tile.record.errors)
        seen = tuple(map(_item, items)) if valid.any() else ()
        faults = (*errors, *self._complaint(unusable))
        return as_window(pixels, valid, window, seen, faults, store.read_bytes)

    def fingerprint(self, window: Grid) -> str:
        """SHA-256 over the lattice and the fingerprints of the tiles that the window touches."""
        facts: list[object] = [repr(self.lattice)]
        part = self._part(window)
        with imagery_errors(self.spec.path):
            tiles = _tiles(self._group, part) if part else []
        facts += [[t.row, t.col, "" if t.lacking else t.record.fingerprint] for t in tiles]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()

    @staticmethod
    def _pixels(window: Grid, values: U8, known: Bools, source: Grid) -> tuple[U8, Bools]:
        """What lies on the lattice ``source``, on the window's."""
        pixels = np.zeros((3, *window.shape), np.uint8)
        valid = np.zeros(window.shape, np.bool_)
        if source.crs != window.crs:
            return warp(values, known, source, window)
        if (at := _offset(source, window)) is None:
            return _resampled(values, known, source, window)
        y, x = at
        to = slice(max(y, 0), y + source.ny), slice(max(x, 0), x + source.nx)
        ny, nx = valid[to].shape
        cut = slice(max(-y, 0), max(-y, 0) + ny), slice(max(-x, 0), max(-x, 0) + nx)
        pixels[:, *to], valid[to] = values[:, *cut], known[cut]
        return pixels, valid

    def _part(self, window: Grid) -> tuple[slice, slice] | None:
        """Rows and columns of the copy that the window needs."""
        box = box_in(window.bounds, window.crs, self.lattice.crs)
        reach = _MARGIN * max(self.lattice.step, window.step)
        wide = box[0] - reach, box[1] - reach, box[2] + reach, box[3] + reach
        return overlap(wide, self.lattice)

    def _complaint(self, tiles: list[_Tile]) -> tuple[str, ...]:
        if not tiles:
            return ()
        return (
            f"{self.spec.path}: {len(tiles)} tiles are not written yet, or were being rewritten: "
            "run 'geoloc imagery tile' (or 'geoloc cube build', where the area keeps the copy)",
        )


def _counted(group: zarr.Group) -> tuple[zarr.Group, _Counting]:
    """The group again, and what counts the bytes that are read by way of it alone."""
    store = _Counting(group.store)
    opened = zarr.AsyncGroup(metadata=group.metadata, store_path=StorePath(store, group.path))
    return zarr.Group(opened), store


def _tiles(group: zarr.Group, part: tuple[slice, slice]) -> list[_Tile]:
    """The tiles under a part of the copy, as they are now."""
    rows, cols = (slice(s.start // TILE, -(-s.stop // TILE)) for s in part)
    states = np.asarray(array_of(group, "done")[rows, cols])
    texts = np.asarray(array_of(group, "record")[rows, cols])
    return [
        _Tile(rows.start + row, cols.start + col, int(states[row, col]), parse_record(text))
        for (row, col), text in np.ndenumerate(texts)
    ]


def _inside(tile: _Tile, part: tuple[slice, slice]) -> tuple[slice, slice]:
    """Where a tile lies in a part of the copy."""
    starts = tile.row * TILE - part[0].start, tile.col * TILE - part[1].start
    rows, cols = (slice(max(start, 0), max(start + TILE, 0)) for start in starts)
    return rows, cols


def parse_record(text: Any) -> TileRecord:
    """The record that a text of the store is; an empty one for a tile that is not whole."""
    return TileRecord.model_validate_json(str(text)) if str(text) else TileRecord()


def _resampled(values: U8, known: Bools, source: Grid, window: Grid) -> tuple[U8, Bools]:
    ratio = window.step / source.step
    y = Axis((source.top - window.top) / source.step, ratio, window.ny, source.ny)
    x = Axis((window.left - source.left) / source.step, ratio, window.nx, source.nx)
    cut = values[:, y.source, x.source], known[y.source, x.source]
    mixed, valid = resample(*cut, y, x)
    pixels = np.rint(mixed).astype(np.uint8)
    pixels[:, ~valid] = 0
    return pixels, valid


def _offset(source: Grid, window: Grid) -> tuple[int, int] | None:
    """Where the source's first pixel lies in the window; None where lattices differ."""
    y, x = (window.top - source.top) / window.step, (source.left - window.left) / window.step
    drift = abs(source.step / window.step - 1) * max(window.shape)
    near = abs(y - round(y)) < _ON_LATTICE and abs(x - round(x)) < _ON_LATTICE
    return (round(y), round(x)) if near and drift < _ON_LATTICE else None


def _item(item: TileItem) -> Item:
    date = datetime.fromisoformat(item.date) if item.date else None
    return Item(item.id, item.href, date, item.version)


def tile_of(lattice: Grid, row: int, col: int) -> Chunk:
    """The tile at a place of the lattice of tiles."""
    return lattice.chunk(row, col, size=TILE)


def open_tiled(url: str, mode: str = "r", opened: str | None = None) -> zarr.Group:
    """The Zarr group of a tiled copy; ``opened`` is its URL where people may not see that.

    Raises ImageryError where there is none.
    """
    with imagery_errors(url):
        store = open_store(opened or url, read_only=mode == "r")
        group = zarr.open_group(store, mode=mode, zarr_format=3)  # type: ignore[arg-type]
        version = group.attrs.get("geoloc_imagery")
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise ImageryError(
            f"tiled imagery {url} has format {version}, this geoloc reads up to "
            f"{FORMAT_VERSION}: install a newer geoloc"
        )
    if version != FORMAT_VERSION:
        raise ImageryError(
            f"{url} is not imagery tiled by this version of geoloc (format {version}): tile it "
            "again with 'geoloc imagery tile'"
        )
    return group


@contextlib.contextmanager
def imagery_errors(url: str) -> Iterator[None]:
    """Turn what a store raises into an ImageryError of one line."""
    from obstore.exceptions import BaseError

    try:
        yield
    except FileNotFoundError:
        raise ImageryError(
            f"no tiled imagery at {url}: write it with 'geoloc imagery tile'"
        ) from None
    except (OSError, BaseError, ImportError, ValueError, KeyError, RuntimeError) as error:
        raise ImageryError(f"tiled imagery {url}: {hide_keys(url, reason_of(error))}") from error


def array_of(group: zarr.Group, name: str) -> zarr.Array[Any]:
    """An array of a group. Raises ValueError for something else under its name."""
    array = group[name]
    if not isinstance(array, zarr.Array):
        raise ValueError(f"{name} is not an array")
    return array
