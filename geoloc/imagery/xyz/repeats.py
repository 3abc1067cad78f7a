"""Pictures that a map server sends for many tiles: "no imagery here yet", with status 200.

No two photographs of different places are the same to the pixel. A picture that comes for several
tiles is therefore no photograph, unless it is of one colour, as water and deserts are painted by
providers: those are left as they are. One grey, black or white for several tiles is a blank.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray

from .cache import TileCache

_ENOUGH = 4  # different tiles
_FLAT = 8  # levels between the darkest and the brightest pixel: compression's noise
_GREY = 6  # levels between the colours of a grey
_REMEMBERED = 100_000  # pictures, the last ones seen: some 20 MB

Place = tuple[int, int, int]


class Repeats:
    """Which pictures came for which tiles of a server. What is found out is kept with the tiles,

    so that other processes and later runs know from their first tile on.
    """

    def __init__(self, cache: TileCache, server: str) -> None:
        self._cache = cache
        self._server = server
        self._places: OrderedDict[str, tuple[Place, ...]] = OrderedDict()
        self._known: set[str] = set()
        self._lock = threading.Lock()

    def add(self, place: Place, digest: str, pixels: NDArray[np.uint8]) -> None:
        """Learn that a tile (zoom, x, y) is ``pixels`` (y, x, rgba), which have this digest."""
        with self._lock:
            places = self._places.pop(digest, ())
            first = not places
            if place not in places:
                places += (place,)
            self._places[digest] = places[:_ENOUGH]
            if len(self._places) > _REMEMBERED:
                self._places.popitem(last=False)
            found = digest not in self._known and len(places) >= _ENOUGH
        if found and not is_painted(pixels):
            self._cache.put(self._key(digest), b"1")
            self._known.add(digest)
        elif first and self._cache.get(self._key(digest)):
            self._known.add(digest)

    def is_placeholder(self, digest: str) -> bool:
        """Whether it is known to be no photograph."""
        return digest in self._known

    def _key(self, digest: str) -> str:
        return f"placeholder {self._server} {digest}"


def is_painted(pixels: NDArray[np.uint8]) -> bool:
    """Whether all is of one colour that is no grey, but for compression's noise, or transparent.

    ``pixels`` ``(y, x, rgba)``, of which transparent ones do not count.
    """
    seen = pixels[pixels[..., 3] > 0][:, :3]
    if not len(seen):
        return True
    flat = int((seen.max(axis=0) - seen.min(axis=0)).max()) <= _FLAT
    return flat and float(np.ptp(seen.mean(axis=0))) > _GREY
