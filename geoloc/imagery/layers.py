"""Several sources as one: where the first has no imagery, the next is read.

``imagery: [first, second]`` of an area file. It is decided pixel by pixel: a window that the
first covers in part is filled up from the second, so that a patch may hold pixels of both, and
the colours of both; as in a mosaic of one source's images, the provenance names all that are
visible. What cannot be read is no lack of imagery: where the first says that some of it is
broken or out of reach, the window is reported as such and read again another time, and no other
source takes its place silently. Fingerprints are of all sources that cover a window: a backup
that changes is read anew even where it is hidden, since that is not known beforehand.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from ..area import Bounds, LayeredImagery
from ..domain import Grid
from .registry import open_source
from .source import (
    Item,
    PartlyKnown,
    Reaching,
    Source,
    as_window,
    fill_gaps,
    gsd_at,
    notes_of,
    union_of,
)

if TYPE_CHECKING:
    import xarray as xr


class LayeredSource:
    """Sources in order of preference; see ``Source``."""

    def __init__(self, spec: LayeredImagery) -> None:
        """Raises ImageryError where any of them cannot be opened."""
        self.layers: tuple[Source, ...] = tuple(open_source(layer) for layer in spec.layers)

    @property
    def gsd(self) -> float:
        """Of the source that is preferred."""
        return self.layers[0].gsd

    def gsd_at(self, window: Grid) -> float:
        """Of the coarsest source there: any may show in a window."""
        known = (gsd_at(layer, window) for layer in self.layers if layer.covers(window))
        return max((gsd for gsd in known if gsd is not None), default=self.gsd)

    @property
    def notes(self) -> tuple[str, ...]:
        """Those of all sources."""
        return tuple(dict.fromkeys(note for layer in self.layers for note in notes_of(layer)))

    def bounds(self, crs: str) -> Bounds:
        """The box around the imagery of all sources that can be mapped in ``crs``."""
        return union_of(layer.bounds(crs) for layer in self.layers)

    def extent(self, crs: str) -> Bounds:
        """The same. Raises ImageryError where the extent of any is not known or has no end."""
        return union_of(
            layer.extent(crs) if isinstance(layer, Reaching) else layer.bounds(crs)
            for layer in self.layers
        )

    def covers(self, window: Grid) -> bool:
        """Whether any of them may hold imagery there."""
        return any(layer.covers(window) for layer in self.layers)

    def holds(self, window: Grid) -> bool:
        """Whether the known part of any may reach into the window."""
        return any(
            layer.holds(window) if isinstance(layer, PartlyKnown) else layer.covers(window)
            for layer in self.layers
        )

    def read(self, window: Grid) -> xr.DataArray:
        """The pixels of the first source that has imagery, each by itself (see ``Source.read``).

        Errors of one end the search: what it might have shown is not replaced.
        """
        pixels = np.zeros((3, *window.shape), np.uint8)
        valid = np.zeros(window.shape, np.bool_)
        items: list[Item] = []
        errors: tuple[str, ...] = ()
        notes: dict[str, None] = {}
        size: int | None = 0
        for layer in self.layers:
            if valid.all() or errors:
                break
            if not layer.covers(window):
                continue
            image = layer.read(window)
            if fill_gaps(pixels, valid, image.values, image.coords["valid"].values):
                items += image.attrs["items"]
            errors = tuple(image.attrs["errors"])
            notes |= dict.fromkeys(image.attrs.get("notes", ()))
            read = image.attrs["read_bytes"]
            size = None if size is None or read is None else size + read
        data = as_window(pixels, valid, window, tuple(items), errors, size)
        data.attrs["notes"] = tuple(notes)
        return data

    def fingerprint(self, window: Grid) -> str:
        """SHA-256 over the fingerprints of the sources that cover the window, and which they are.

        Raises ImageryError where a server cannot be reached now.
        """
        digest = hashlib.sha256()
        for number, layer in enumerate(self.layers):
            if layer.covers(window):
                digest.update(f"{number} {layer.fingerprint(window)} ".encode())
        return digest.hexdigest()
