"""A small picture of an area's imagery, kept beside its cube, so that answers have a map at once.

Making one costs a build next to nothing: each block's imagery is in memory when it is encoded, and
is shrunk there; no image is read for it. It holds no more than a few million pixels whatever the
area's size. On the store::

    <cube>/.overview/<generation>/pixels     all of them, PNG: what a build goes on from
    <cube>/.overview/<generation>/pictures   JPEG, ready for a page: the whole area, then its tiles

Each is one object, written at once: the sha256 of the rest, a line of JSON (the lattice of its
pixels, which blocks it shows, the days it is from, where its pictures lie), and the pictures.
What is damaged counts as not there: nobody's answer depends on it. Like the cube, an overview is
the same to the last bit however often its build was interrupted.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import io
import math
import re
import zlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict, ValidationError

from ..arrays import U8, Bools
from ..cube import Status
from ..cube.store import (
    delete_folder,
    list_folder,
    open_store,
    read_bytes,
    storage_errors,
    write_bytes,
)
from ..domain import CHUNK_SIZE, Chunk, Domain, Grid
from ..encoders.lattice import Reading
from ..errors import GeolocError

if TYPE_CHECKING:
    from ..cube import Cube
    from ..imagery import Source

FOLDER = ".overview"
PIXELS = 4_000_000
"""Of an overview, at most: a page that holds it opens on a phone."""

COARSE = 1500
"""Pixels along the longer side of the picture of the whole area."""

TILE = 512

NOTHING = 96
"""Grey of places without imagery."""

SAVING_SECONDS = 120.0
"""Between two savings while a build goes on: what a kill costs is read again."""

_QUALITY = 82
_MOST_READ = 256  # blocks that are read for an overview alone: of an old cube, or after a kill
_LONGEST_HEAD = 1 << 20  # bytes
_PIXELS, _PICTURES = "pixels", "pictures"
_DIGEST = 64  # characters of a sha256

Seen = U8
"""Pixels ``(y, x, rgb)``."""


def lattice_of(grid: Grid, finest: float) -> Grid:
    """The pixels of an overview: a whole number along a block, none finer than ``finest`` m."""
    side = CHUNK_SIZE * grid.step
    most = min(math.sqrt(PIXELS * CHUNK_SIZE**2 / grid.size), side / finest)
    step = side / max(math.floor(most + 1e-6), 1)
    ny, nx = (math.ceil(n * grid.step / step - 1e-6) for n in grid.shape)
    return Grid(grid.crs, grid.left, grid.top, step, ny, nx)


def part_of(lattice: Grid, grid: Grid, block: Chunk) -> tuple[slice, slice]:
    """Rows and columns of the lattice that show a block of the grid."""
    k = round(CHUNK_SIZE * grid.step / lattice.step)
    rows, cols = lattice.chunk(*block.index, size=k).slices
    return rows, cols


def shrunk(pixels: U8, valid: Bools, window: Grid, target: Grid) -> Seen:
    """Pixels ``(3, y, x)`` of a window, averaged onto coarser ones of the same CRS.

    Grey where the window does not reach, or holds nothing.
    """
    out = np.full((*target.shape, 3), NOTHING, np.uint8)
    rows, top, bottom = _reach(window.top - target.top, window.ny, window.step, target, target.ny)
    cols, left, right = _reach(target.left - window.left, window.nx, window.step, target, target.nx)
    if rows.start >= rows.stop or cols.start >= cols.stop:
        return out
    picture = np.ascontiguousarray(np.moveaxis(pixels, 0, -1))
    if not valid.all():
        picture[~valid] = NOTHING
    size = (cols.stop - cols.start, rows.stop - rows.start)
    box = (left, top, right, bottom)
    image = Image.fromarray(picture).resize(size, Image.Resampling.BOX, box, reducing_gap=2.0)
    out[rows, cols] = np.asarray(image)
    return out


def _reach(
    offset: float, count: int, step: float, target: Grid, wanted: int
) -> tuple[slice, float, float]:
    """Target pixels along an axis that lie inside of the window, and their edges in its pixels.

    ``offset``: how far the target's first edge lies inside of the window's, m.
    """
    first = max(math.ceil(-offset / target.step - 1e-6), 0)
    last = min(math.floor((count * step - offset) / target.step + 1e-6), wanted)
    start = max((offset + first * target.step) / step, 0.0)
    stop = min((offset + last * target.step) / step, float(count))
    return slice(first, max(last, first)), start, stop


@dataclass(frozen=True)
class Piece:
    """A picture file and the box it shows: left, bottom, right, top in the grid's CRS."""

    content: bytes
    width: int
    height: int
    bounds: tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)
class Overview:
    """What is kept: ``whole`` shows the area, ``tiles`` the same in full resolution, if finer.

    ``lattice``: of all its pixels; ``seen`` ``(block_y, block_x)``: which blocks it shows;
    ``dates``: first and last day of the images in it, empty where none is known.
    """

    lattice: Grid
    whole: Piece
    tiles: tuple[Piece, ...]
    seen: Bools
    dates: tuple[str, ...]


class Mosaic:
    """An overview in the making; ``changed`` since it was last kept."""

    def __init__(self, grid: Grid, lattice: Grid, start: Overview | None = None) -> None:
        """``start``: an older one's pixels to go on from, if they lie on the same lattice."""
        self.grid, self.lattice, self.changed = grid, lattice, False
        if start is not None and start.lattice == lattice:
            self.pixels = np.array(Image.open(io.BytesIO(start.whole.content)))
            self.seen, self.dates = start.seen.copy(), set(start.dates)
        else:
            self.pixels = np.full((*lattice.shape, 3), NOTHING, np.uint8)
            self.seen = np.zeros(grid.chunk_grid(), np.bool_)
            self.dates = set[str]()

    def put(self, block: Chunk, picture: Seen | None, dates: set[str]) -> None:
        """Show a block; None: nothing is there."""
        part = part_of(self.lattice, self.grid, block)
        self.pixels[part] = NOTHING if picture is None else picture
        self.seen[block.index] = self.changed = True
        self.dates |= {day[:10] for day in dates}

    def lacking(self, status: U8) -> NDArray[np.intp]:
        """Rows and columns ``(n, 2)`` of blocks that hold data and are not shown."""
        return np.argwhere(np.isin(status, (Status.DONE, Status.BROKEN)) & ~self.seen)

    def fill(self, source: Source, status: U8, window_of: Callable[[Chunk], Grid]) -> None:
        """Read blocks that are not shown, unless they are too many; as far as it can be read.

        ``window_of`` a block: the pixels that it is encoded from.
        """
        places = self.lacking(status)
        if len(places) > _MOST_READ:
            return
        for row, col in places.tolist():
            block = self.grid.chunk(row, col)
            window = window_of(block)
            with contextlib.suppress(GeolocError, OSError):
                image = source.read(window) if source.covers(window) else None
                picture, dates = None, set[str]()
                if image is not None and (valid := image.coords["valid"].values).any():
                    part = self.lattice.window(*part_of(self.lattice, self.grid, block))
                    picture = shrunk(image.values, valid, window, part)
                    dates = {i.datetime.isoformat() for i in image.attrs["items"] if i.datetime}
                self.put(block, picture, dates)

    def kept_pixels(self) -> Overview:
        """What another build can go on from."""
        lattice, memory = self.lattice, io.BytesIO()
        Image.fromarray(self.pixels).save(memory, "png", compress_level=1)
        whole = Piece(memory.getvalue(), lattice.nx, lattice.ny, lattice.bounds)
        return Overview(lattice, whole, (), self.seen.copy(), tuple(sorted(self.dates)))

    def pictures(self) -> Overview:
        """What answers show."""
        image, days = Image.fromarray(self.pixels), sorted(self.dates)
        factor = max(self.lattice.shape) / COARSE
        tiles = tuple(self._tiles(image)) if factor > 1 else ()
        if factor > 1:
            size = (max(round(image.width / factor), 1), max(round(image.height / factor), 1))
            image = image.resize(size, Image.Resampling.BOX, reducing_gap=2.0)
        whole = Piece(_jpeg(image), image.width, image.height, self.lattice.bounds)
        dates = tuple(dict.fromkeys((days[0], days[-1]))) if days else ()
        return Overview(self.lattice, whole, tiles, self.seen.copy(), dates)

    def _tiles(self, image: Image.Image) -> Iterator[Piece]:
        for block in self.lattice.chunks(size=TILE):
            (top, left), (bottom, right) = block.start, block.stop
            cut = image.crop((left, top, right, bottom))
            bounds = self.lattice.window(*block.slices).bounds
            yield Piece(_jpeg(cut), cut.width, cut.height, bounds)


def open_mosaic(
    grid: Domain, source: Source, encoding: dict[str, Any], kept: Overview | None
) -> Mosaic | None:
    """The overview of an area in the making, from what is kept of it; None for points."""
    if not isinstance(grid, Grid):
        return None
    gsd = float(encoding.get("gsd") or source.gsd)
    return Mosaic(grid, lattice_of(grid, gsd), kept)


def _jpeg(image: Image.Image) -> bytes:
    memory = io.BytesIO()
    image.save(memory, "jpeg", quality=_QUALITY, optimize=True)
    return memory.getvalue()


class _Picture(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    bytes: int
    width: int
    height: int
    bounds: tuple[float, float, float, float]


class _Head(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    crs: str
    left: float
    top: float
    step: float
    ny: int
    nx: int
    blocks: tuple[int, int]
    seen: str  # base64 of deflated bits
    dates: tuple[str, ...]
    pictures: tuple[_Picture, ...]


def read_overview(url: str | Path, generation: str) -> Overview | None:
    """A generation's pictures; None where there are none, damaged ones, or out of reach."""
    return _read(url, f"{FOLDER}/{generation}/{_PICTURES}")


def read_pixels(url: str | Path, generation: str) -> Overview | None:
    """What a build can go on from; None as ``read_overview``."""
    return _read(url, f"{FOLDER}/{generation}/{_PIXELS}")


def _read(url: str | Path, key: str) -> Overview | None:
    with contextlib.suppress(GeolocError), storage_errors(url):
        content = read_bytes(open_store(url), key)
        return None if content is None else _unpack(content)
    return None


def keep_overview(url: str | Path, generation: str, mosaic: Mosaic) -> Overview:
    """Keep it in place of what was kept before, if the store takes it; what answers show of it."""
    made, folder = mosaic.pictures(), f"{FOLDER}/{generation}"
    with contextlib.suppress(GeolocError), storage_errors(url):
        store = open_store(url, read_only=False)
        write_bytes(store, f"{folder}/{_PIXELS}", _pack(mosaic.kept_pixels()))
        write_bytes(store, f"{folder}/{_PICTURES}", _pack(made))
        mosaic.changed = False
    return made


def drop_overviews(url: str | Path, kept: Collection[str]) -> None:
    """Keep those of these generations alone, whoever was killed before it had dropped one."""
    with contextlib.suppress(GeolocError), storage_errors(url):
        store = open_store(url, read_only=False)
        for generation in list_folder(store, FOLDER):
            if generation not in kept:
                delete_folder(store, f"{FOLDER}/{generation}")


def overview_of(cube: Cube, source: Source | None) -> Overview | None:
    """The cube's overview; of one that has none it is read and kept, where both can be done.

    None where there is none and the area is too large to be read for it.
    """
    kept = read_overview(cube.url, cube.generation)
    if kept is not None or source is None:
        return kept
    holding = int(np.isin(cube.chunk_status, (Status.DONE, Status.BROKEN)).sum())
    if not 0 < holding <= _MOST_READ or cube.spec.step is None:
        return None
    try:
        mosaic = open_mosaic(cube.grid, source, cube.spec.encoding, None)
    except GeolocError:
        return None
    assert mosaic is not None
    reading = Reading.of_encoding(cube.spec.encoding, cube.grid.step)

    def window_of(block: Chunk) -> Grid:
        part = mosaic.lattice.window(*part_of(mosaic.lattice, cube.grid, block))
        return part if reading is None else reading.window(cube.grid.window(*block.slices))

    mosaic.fill(source, cube.chunk_status, window_of)
    return keep_overview(cube.url, cube.generation, mosaic) if mosaic.changed else None


def _pack(overview: Overview) -> bytes:
    lattice, pieces = overview.lattice, (overview.whole, *overview.tiles)
    head = _Head(
        crs=lattice.crs,
        left=lattice.left,
        top=lattice.top,
        step=lattice.step,
        ny=lattice.ny,
        nx=lattice.nx,
        blocks=(overview.seen.shape[0], overview.seen.shape[1]),
        seen=base64.b64encode(zlib.compress(np.packbits(overview.seen).tobytes())).decode(),
        dates=overview.dates,
        pictures=tuple(
            _Picture(bytes=len(p.content), width=p.width, height=p.height, bounds=p.bounds)
            for p in pieces
        ),
    )
    body = b"".join([head.model_dump_json().encode(), b"\n", *(p.content for p in pieces)])
    return hashlib.sha256(body).hexdigest().encode() + b"\n" + body


def _unpack(content: bytes) -> Overview | None:
    digest, body = content[:_DIGEST], content[_DIGEST + 1 :]
    if not re.fullmatch(rb"[0-9a-f]{64}", digest):
        return None
    if hashlib.sha256(body).hexdigest().encode() != digest:
        return None
    try:
        length = body.index(b"\n", 0, _LONGEST_HEAD)
        head = _Head.model_validate_json(body[:length])
        return _opened(head, body[length + 1 :])
    except (ValidationError, ValueError, zlib.error, binascii.Error, IndexError):
        return None  # of another version of geoloc


def _opened(head: _Head, pictures: bytes) -> Overview:
    rows, cols = head.blocks
    packed = zlib.decompressobj().decompress(base64.b64decode(head.seen), -(-rows * cols // 8))
    bits = np.unpackbits(np.frombuffer(packed, np.uint8))[: rows * cols]
    seen = bits.astype(np.bool_).reshape(rows, cols)
    pieces, at = [], 0
    for picture in head.pictures:
        content = pictures[at : at + picture.bytes]
        pieces.append(Piece(content, picture.width, picture.height, picture.bounds))
        at += picture.bytes
    lattice = Grid(head.crs, head.left, head.top, head.step, head.ny, head.nx)
    return Overview(lattice, pieces[0], tuple(pieces[1:]), seen, head.dates)
