"""A bank of unrelated photos: what is usual of places is told by them."""

from __future__ import annotations

from pathlib import Path

from ..errors import UsageError
from ..pairs import class_images


def bank_photos(folder: Path) -> list[Path]:
    """The photos of a folder of unrelated ones. Raises UsageError where there is none."""
    photos = class_images(folder) if folder.is_dir() else []
    if not photos:
        raise UsageError(f"{folder} has no photos: give a folder of unrelated photos")
    return photos
