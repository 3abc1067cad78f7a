"""Images that a map server sends for many tiles: "no imagery here yet", with status 200.

No two photographs of different places are identical to the pixel. An image that is sent for
several tiles is therefore a placeholder, unless it has a single colour, as providers paint water
and deserts: those are kept. A single grey, black or white for several tiles is a blank.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

import numpy as np

from ...arrays import U8
from .cache import TileCache

_ENOUGH = 4  # different tiles
_FLAT = 8  # levels between the darkest and the brightest pixel: compression's noise
_GREY = 6  # levels between the colours of a grey
_REMEMBERED = 100_000  # most recent images: some 20 MB

Place = tuple[int, int, int]


class Repeats:
    """Which images a server sent for which tiles. Known placeholders are stored with the tiles,
    so that other processes and later runs know them from their first tile on.
    """

    def __init__(self, cache: TileCache, server: str) -> None:
        self._cache = cache
        self._server = server
        self._places: OrderedDict[str, tuple[Place, ...]] = OrderedDict()
        self._known: set[str] = set()
        self._lock = threading.Lock()

    def add(self, place: Place, digest: str, pixels: U8) -> None:
        """Record that a tile (zoom, x, y) is ``pixels`` (y, x, rgba) with this digest."""
        with self._lock:
            places = self._places.pop(digest, ())
            first = not places
            if place not in places:
                places += (place,)
            self._places[digest] = places[:_ENOUGH]
            if len(self._places) > _REMEMBERED:
                self._places.popitem(last=False)
            repeated = digest not in self._known and len(places) >= _ENOUGH
        if repeated and not is_painted(pixels):
            self._cache.put(self._key(digest), b"1")
            self._known.add(digest)
        elif first and self._cache.get(self._key(digest)):
            self._known.add(digest)

    def is_placeholder(self, digest: str) -> bool:
        """Whether it is a known placeholder."""
        return digest in self._known

    def _key(self, digest: str) -> str:
        return f"placeholder {self._server} {digest}"


def is_painted(pixels: U8) -> bool:
    """Whether an image has one colour that is not grey, up to compression noise, or is transparent.

    ``pixels`` ``(y, x, rgba)``; transparent ones are ignored.
    """
    seen = pixels[pixels[..., 3] > 0][:, :3]
    if not len(seen):
        return True
    flat = int((seen.max(axis=0) - seen.min(axis=0)).max()) <= _FLAT
    return flat and float(np.ptp(seen.mean(axis=0))) > _GREY
