"""Photos, read safely: any common format becomes upright 8-bit RGB, with what the file tells."""

from __future__ import annotations

from .kinds import photo_kind
from .photo import (
    MAX_BYTES,
    MAX_PIXELS,
    MAX_SIDE,
    Crop,
    Look,
    Photo,
    inscribed,
    photo_path,
    read_photo,
    turned,
)

__all__ = [
    "MAX_BYTES",
    "MAX_PIXELS",
    "MAX_SIDE",
    "Crop",
    "Look",
    "Photo",
    "inscribed",
    "photo_kind",
    "photo_path",
    "read_photo",
    "turned",
]
