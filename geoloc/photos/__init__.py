"""Photos, read safely: any common format becomes upright 8-bit RGB with the file's claims."""

from __future__ import annotations

from .kinds import photo_kind
from .photo import Crop, Photo, PhotoView, inscribed, size_notes, turned
from .reading import MAX_BYTES, MAX_SIDE, decode_photo, photo_path, read_photo

__all__ = [
    "MAX_BYTES",
    "MAX_SIDE",
    "Crop",
    "Photo",
    "PhotoView",
    "decode_photo",
    "inscribed",
    "photo_kind",
    "photo_path",
    "read_photo",
    "size_notes",
    "turned",
]
