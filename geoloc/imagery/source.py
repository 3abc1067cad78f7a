"""The protocol of every imagery source, and the source that lives in memory."""

from __future__ import annotations

import datetime as dt
import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from ..area import Bounds
from ..arrays import U8, Bools
from ..domain import Grid
from ..errors import ImageryError

if TYPE_CHECKING:
    import xarray as xr

_NOMINAL = 1.1  # pixel sizes are nominal: imagery this much coarser than a model serves will do
_REFUSED = 1.5


@dataclass(frozen=True)
class Item:
    """One image of a mosaic; ``datetime`` (UTC): when it was taken, if known."""

    id: str
    href: str
    datetime: dt.datetime | None = None
    version: str | None = None
    """Identifies its files' content: the catalog's checksum or date of change, else date and size
    on disk, or a server's ETag."""

    @property
    def record(self) -> dict[str, str | None]:
        """What is kept of it: id, href, date (ISO 8601) and version."""
        date = self.datetime.isoformat() if self.datetime else None
        return {"id": self.id, "href": self.href, "date": date, "version": self.version}


class Source(Protocol):
    """Overhead imagery of any origin, read as RGB on any lattice.

    A source is picklable (it is sent to workers), opens files lazily, and may be read by many
    threads at once.
    """

    @property
    def gsd(self) -> float:
        """Native ground sample distance of the finest image: m on the ground per pixel."""

    def bounds(self, crs: str) -> Bounds:
        """The box around all imagery: left, bottom, right, top in ``crs``."""

    def covers(self, window: Grid) -> bool:
        """False if the window certainly holds no imagery."""

    def read(self, window: Grid) -> xr.DataArray:
        """The pixels of a window, whose step is the required GSD.

        Returns uint8 ``("band", "y", "x")``, bands r, g, b, on exactly the window's lattice
        (``x``, ``y`` are pixel centres). Coordinate ``valid`` ``("y", "x")`` is False where
        there is no imagery; pixels there are 0. ``attrs``: ``crs``; ``items``, the Items
        whose pixels are visible, uppermost first; ``errors``, one line for each image that
        could not be read and so may be missing here; ``read_bytes``, bytes read from disk or
        network as stored there (mostly compressed), None if unknown (catalogs and headers, read
        once, are not counted); ``notes``, optional, one line for each kind of placeholder that
        was treated as missing imagery.
        """

    def fingerprint(self, window: Grid) -> str:
        """SHA-256 over the ids and versions of the images that touch the window."""


@runtime_checkable
class HasNotes(Protocol):
    """A source with notes on its imagery as a whole."""

    @property
    def notes(self) -> tuple[str, ...]:
        """One line for each thing that users should know."""


def notes_of(source: Source) -> list[str]:
    """A source's notes for users, on what has been searched so far."""
    return list(source.notes) if isinstance(source, HasNotes) else []


@runtime_checkable
class PartlyKnown(Protocol):
    """A source of partly unknown extent, as some of its files cannot be read."""

    def holds(self, window: Grid) -> bool:
        """Whether its known part may reach into the window."""


@runtime_checkable
class Reaching(Protocol):
    """A source that has to search for all of its imagery before its bounds are known."""

    def extent(self, crs: str) -> Bounds:
        """The box around all imagery. Raises ImageryError where it has no end."""


@runtime_checkable
class FromServer(Protocol):
    """A source that asks a server for each part of a window."""

    def requests(self, window: Grid) -> frozenset[tuple[int, int, int]]:
        """Names of what is asked for, each once where answers are kept."""
        ...


@runtime_checkable
class Uneven(Protocol):
    """A source whose GSD depends on the place."""

    def gsd_at(self, window: Grid) -> float:
        """`Source.gsd` around the middle of a window."""


def union_of(boxes: Iterable[Bounds]) -> Bounds:
    """The box around all boxes that are finite; the first one where none is."""
    every = list(boxes)
    finite = [box for box in every if all(map(math.isfinite, box))]
    if not finite:
        return every[0]
    left, bottom, right, top = zip(*finite, strict=True)
    return min(left), min(bottom), max(right), max(top)


def require_overlap(source: Source, grid: Grid) -> None:
    """Raise ImageryError, naming both extents, if the imagery misses the grid altogether."""
    covers = source.covers(grid)  # first, as it searches a catalog there
    if covers and (not isinstance(source, PartlyKnown) or source.holds(grid)):
        return
    extent = source.bounds(grid.crs)
    raise ImageryError(
        f"the area {_extent(grid.bounds)} is outside the imagery {_extent(extent)} "
        f"({grid.crs}): correct the bounds or the imagery"
    )


def gsd_at(source: Source, window: Grid) -> float | None:
    """m on the ground per pixel of a source in a window; None where that cannot be read."""
    try:
        return source.gsd_at(window) if isinstance(source, Uneven) else source.gsd
    except ImageryError:  # what is broken is for the reading to report
        return None


def require_sharp(source: Source, window: Grid, coarsest: float | None) -> list[str]:
    """A note on imagery coarser than ``coarsest``, the m per pixel that a model serves at most.

    Resampled, it looks as if the model served it, and its vectors mean little; so it is refused
    by an ImageryError from `_REFUSED` times that on. ``coarsest`` None: anything is served.
    """
    gsd = None if coarsest is None else gsd_at(source, window)
    if coarsest is None or gsd is None or gsd <= coarsest * _NOMINAL:
        return []
    blur = f"the imagery has {gsd:.3g} m per pixel, and the model serves {coarsest:.3g} m at most"
    if gsd >= coarsest * _REFUSED:
        raise ImageryError(f"{blur}: use finer imagery, or another model")
    return [f"{blur}: its vectors are less exact than the model's figures say"]


def as_window(
    pixels: U8,
    valid: Bools,
    window: Grid,
    items: tuple[Item, ...],
    errors: tuple[str, ...],
    read_bytes: int | None = None,
) -> xr.DataArray:
    """Pixels ``(3, y, x)`` and validity ``(y, x)`` in the form of `Source.read`."""
    import xarray as xr  # takes a second, which version checks need not wait for

    return xr.DataArray(
        pixels,
        dims=("band", "y", "x"),
        coords={
            "band": ["r", "g", "b"],
            "y": window.y,
            "x": window.x,
            "valid": (("y", "x"), valid),
        },
        attrs={
            "crs": window.crs,
            "items": items,
            "errors": errors,
            "read_bytes": read_bytes,
        },
    )


def fill_gaps(pixels: U8, valid: Bools, new: U8, present: Bools) -> bool:
    """Put ``new`` ``(3, y, x)`` where nothing is valid yet, in place; whether any was put."""
    added = present & ~valid
    np.copyto(pixels, new, where=added)
    valid |= added
    return bool(added.any())


def overlap(bounds: Bounds, window: Grid) -> tuple[slice, slice] | None:
    """Rows and columns of the window whose pixels a box touches; None if there are none."""
    left, bottom, right, top = bounds
    if not all(map(math.isfinite, bounds)):
        return None
    x0 = max(math.floor((left - window.left) / window.step), 0)
    x1 = min(math.ceil((right - window.left) / window.step), window.nx)
    y0 = max(math.floor((window.top - top) / window.step), 0)
    y1 = min(math.ceil((window.top - bottom) / window.step), window.ny)
    return (slice(y0, y1), slice(x0, x1)) if x0 < x1 and y0 < y1 else None


@dataclass(frozen=True, eq=False)
class ArraySource:
    """Imagery in memory: ``pixels`` uint8 ``(3, y, x)`` on the lattice ``grid``.

    Windows of another step or offset get the nearest pixel. Reads that touch a box of
    ``broken`` get no pixels in it and report an error, as for a damaged file.
    """

    pixels: U8
    grid: Grid
    valid: Bools | None = None
    item: Item = Item("array", "memory:array")
    broken: tuple[Bounds, ...] = ()

    @property
    def gsd(self) -> float:
        return self.grid.step

    def bounds(self, crs: str) -> Bounds:
        self._same_crs(crs)
        return self.grid.bounds

    def covers(self, window: Grid) -> bool:
        self._same_crs(window.crs)
        return overlap(self.grid.bounds, window) is not None

    def read(self, window: Grid) -> xr.DataArray:
        pixels, valid = self._sample(window)
        errors = []
        for box in self.broken:
            if (hit := overlap(box, window)) is not None:
                valid[hit] = False
                errors.append(f"{self.item.id}: {_extent(box)} cannot be read")
        pixels[:, ~valid] = 0
        items = (self.item,) if valid.any() else ()
        return as_window(pixels, valid, window, items, tuple(errors), read_bytes=0)

    def fingerprint(self, window: Grid) -> str:
        pixels, valid = self._sample(window)
        digest = hashlib.sha256(self.item.id.encode())
        for part in (pixels, valid):
            digest.update(np.ascontiguousarray(part).tobytes())
        return digest.hexdigest()

    def _sample(self, window: Grid) -> tuple[U8, Bools]:
        """Nearest pixels ``(3, y, x)`` and their validity ``(y, x)``."""
        self._same_crs(window.crs)
        # slightly inwards, so that centres on an edge do not depend on rounding
        cols = np.floor((window.x - self.grid.left) / self.grid.step + 1e-6).astype(int)
        rows = np.floor((self.grid.top - window.y) / self.grid.step + 1e-6).astype(int)
        y = np.flatnonzero((rows >= 0) & (rows < self.grid.ny))
        x = np.flatnonzero((cols >= 0) & (cols < self.grid.nx))
        source = rows[y][:, None], cols[x][None, :]
        pixels = np.zeros((3, *window.shape), np.uint8)
        valid = np.zeros(window.shape, np.bool_)
        pixels[:, y[:, None], x] = self.pixels[:, source[0], source[1]]
        valid[y[:, None], x] = True if self.valid is None else self.valid[source]
        return pixels, valid

    def _same_crs(self, crs: str) -> None:
        if crs != self.grid.crs:
            raise ImageryError(f"imagery in memory is in {self.grid.crs}, not in {crs}")


def _extent(bounds: Bounds) -> str:
    return "[" + ", ".join(f"{edge:.10g}" for edge in bounds) + "]"
