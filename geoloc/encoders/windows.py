"""Which pixels a chunk of any domain needs, and the vectors that come of them.

A chunk of a grid needs one window. Points may lie anywhere on Earth, so each has a window of its
own: in its own UTM zone (UPS near a pole), where metres are metres, and centred on the point to
the last digit. What a point's vector is then depends on no other point; reading what neighbours
share only once is the matter of the sources of imagery (`geoloc.imagery.sharing`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol, runtime_checkable

import numpy as np
from pyproj import Transformer

from ..area.ground import utm_code
from ..arrays import F32, F64, U8, Bools
from ..domain import Chunk, Domain, Grid
from ..errors import UsageError

CELL_M = 10.0
"""The side of the cell that stands for a point; nothing depends on it but its centre."""

_LONLAT = "EPSG:4326"


@dataclass(frozen=True, eq=False)
class Image:
    """What was read of a window: RGB ``(3, y, x)`` and validity ``(y, x)``; None for nothing."""

    window: Grid
    pixels: U8 | None = None
    valid: Bools | None = None

    @property
    def is_empty(self) -> bool:
        """Whether no pixel of it is imagery."""
        return self.pixels is None or self.valid is None or not bool(self.valid.any())


class EncodesCells(Protocol):
    """What is needed of an encoder; see `geoloc.encoders.overhead.OverheadEncoder`."""

    @property
    def dim(self) -> int: ...

    def window(self, cells: Grid, /) -> Grid: ...

    def encode(self, pixels: U8, valid: Bools, window: Grid, cells: Grid) -> F32: ...


@runtime_checkable
class EncodesAlone(Protocol):
    """An encoder that takes many cells at once, each with a window of its own."""

    def encode_alone(self, pixels: U8, valid: Bools) -> F32:
        """RGB ``(n, 3, H, W)`` and validity ``(n, H, W)`` -> vectors ``(n, feature)``."""
        ...


def windows(encoder: EncodesCells, domain: Domain, chunk: Chunk) -> Sequence[Grid]:
    """The windows to read for a chunk: of a grid one, of points one each, in their order."""
    return [encoder.window(cells) for cells in cells_of(domain, chunk)]


def encode_chunk(
    encoder: EncodesCells, images: Sequence[Image], domain: Domain, chunk: Chunk
) -> F32:
    """Vectors ``(cell, feature)`` of a chunk from what its ``windows`` show; NaN where missing."""
    cells = cells_of(domain, chunk)
    if len(images) != len(cells):
        raise UsageError(f"{len(images)} images of the {len(cells)} windows of a chunk")
    if isinstance(domain, Grid):
        return _encode_one(encoder, images[0], cells[0]).reshape(-1, encoder.dim)
    vectors = np.full((len(cells), encoder.dim), np.nan, np.float32)
    shown = [i for i, image in enumerate(images) if not image.is_empty]
    if shown and isinstance(encoder, EncodesAlone):
        pixels, valid = ([getattr(images[i], name) for i in shown] for name in ("pixels", "valid"))
        vectors[shown] = encoder.encode_alone(np.stack(pixels), np.stack(valid))
        return vectors
    for i in shown:
        vectors[i] = _encode_one(encoder, images[i], cells[i]).reshape(-1)
    return vectors


def cells_of(domain: Domain, chunk: Chunk) -> list[Grid]:
    """The cells of a chunk as lattices: of a grid all in one, of points each by itself."""
    if isinstance(domain, Grid):
        return [domain.window(*chunk.slices)]
    return [
        Grid(crs, x - CELL_M / 2, y + CELL_M / 2, CELL_M, 1, 1)
        for crs, x, y in own_zones(domain.crs, domain.xy(chunk))
    ]


def own_zones(crs: str, coordinates: F64) -> list[tuple[str, float, float]]:
    """Each point ``(n, 2)`` of ``crs`` in its own zone: the zone's CRS, and x and y there, m."""
    lonlat = coordinates
    if crs != _LONLAT:
        lonlat = np.stack(_between(crs, _LONLAT).transform(*coordinates.T), axis=1)
    codes = np.array([utm_code(lon, lat) for lon, lat in lonlat.tolist()], dtype=object)
    placed = np.empty_like(lonlat)
    for code in sorted(set(codes.tolist())):
        here = codes == code
        placed[here] = np.stack(_between(_LONLAT, code).transform(*lonlat[here].T), axis=1)
    return [(code, x, y) for code, (x, y) in zip(codes.tolist(), placed.tolist(), strict=True)]


@lru_cache(maxsize=256)
def _between(source: str, target: str) -> Transformer:
    return Transformer.from_crs(source, target, always_xy=True)


def _encode_one(encoder: EncodesCells, image: Image, cells: Grid) -> F32:
    if image.pixels is None or image.valid is None or image.is_empty:
        return np.full((*cells.shape, encoder.dim), np.nan, np.float32)
    return encoder.encode(image.pixels, image.valid, image.window, cells)
