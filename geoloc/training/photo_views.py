"""Photos as other cameras would have taken them: a narrower field of view, a closer crop.

The teacher sees each photo whole and in some such views, once; a student is then shown any of their
vectors. The views of a photo depend only on its pixels.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

Pixels = NDArray[np.uint8]
F32 = NDArray[np.float32]
Encode = Callable[[Sequence[Pixels]], F32]


class PhotoViews(BaseModel):
    """``count``: views of each photo, the first of them the whole. ``field``: range of the share of
    a photo's width, as that of a lens with a narrower field of view; ``area``: range of the share
    of that which is kept."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    count: int = Field(default=1, ge=1, le=64)
    field: tuple[float, float] = (0.5, 1.0)
    area: tuple[float, float] = (0.6, 1.0)

    def views(self, photo: Pixels) -> list[Pixels]:
        """Views ``(h, w, 3)`` of a photo."""
        seed = zlib.crc32(photo[::8, ::8].tobytes())
        rng = np.random.default_rng(seed)
        return [photo, *(self._view(photo, rng) for _ in range(self.count - 1))]

    def _view(self, photo: Pixels, rng: np.random.Generator) -> Pixels:
        height, width = photo.shape[:2]
        side = float(np.sqrt(rng.uniform(*self.area)))
        columns = max(1, round(width * rng.uniform(*self.field) * side))
        rows = max(1, round(height * side))
        top, left = (int(rng.integers(n + 1)) for n in (height - rows, width - columns))
        return photo[top : top + rows, left : left + columns]

    def encode(self, encode: Encode, photos: Sequence[Pixels]) -> F32:
        """Vectors ``(photo, view * feature)``."""
        shown = [view for photo in photos for view in self.views(photo)]
        return encode(shown).reshape(len(photos), -1)
