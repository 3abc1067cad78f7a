"""What is asked: a photo each, or several photos of one place as one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..arrays import F32
from ..names import safe_name
from ..photos import Photo, PhotoView
from ..search import fuse as mean_vector
from .options import QueryOptions


@dataclass(frozen=True)
class QueryItem:
    """What one answer is for: ``vector``, float32 ``(feature,)``; ``name`` of its folder, and that
    folder, once it has one."""

    title: str
    name: str
    photos: tuple[Photo, ...]
    vector: F32
    folder: Path | None = None


def views_of(options: QueryOptions) -> list[PhotoView]:
    """What of each photo is looked at."""
    return [PhotoView(crop, options.rotate) for crop in options.crops or (None,)]


def items_of(photos: Sequence[Photo], vectors: F32, fuse: bool) -> Iterator[QueryItem]:
    """Of photos and their vectors ``(photo, feature)``; ``fuse``: one of all, by their mean."""
    if fuse and photos:
        title = f"{len(photos)} photos of one place" if len(photos) > 1 else _title(photos[0])
        yield QueryItem(title, "fused", tuple(photos), mean_vector(vectors))
        return
    for photo, vector in zip(photos, vectors, strict=True):
        yield QueryItem(_title(photo), safe_name(photo.name, _part(photo, " ")), (photo,), vector)


def _title(photo: Photo) -> str:
    return photo.file + _part(photo, " · ")


def _part(photo: Photo, separator: str) -> str:
    """The crop that was looked at, so that several of one photo can be distinguished."""
    crop = photo.origin.get("crop")
    return f"{separator}crop {','.join(map(str, crop))}" if crop else ""
