"""Photo files to feature vectors, whatever is wrong with some of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..arrays import F32
from ..errors import PhotoError
from ..models import Model
from ..names import path_text, writable
from ..photos import Photo, PhotoView, read_photo

BATCH = 16
"""Photos decoded at a time: bounds memory whatever their number."""

_KEPT_PIXELS = 1600  # longer side of a photo that is kept for its report
_WHOLE = (PhotoView(),)


def encode(
    paths: Sequence[Path],
    model: Model,
    looks: Sequence[PhotoView] = _WHOLE,
    *,
    origins: Mapping[str, Mapping[str, Any]] | None = None,
    stop: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[list[Photo], F32, dict[str, str]]:
    """Readable photos (reduced), vectors ``(photo, feature)``, and failures by path.

    Each look at a photo counts as a photo of its own. ``origins``: by path, what `Photo.origin`
    tells from the outset. With ``stop`` the first failure is raised.
    """
    failures: dict[str, str] = {}
    by_path = origins or {}

    def read() -> Iterator[Photo]:
        for done, path in enumerate(paths, start=1):
            if progress:
                progress(done, len(paths))
            try:
                photo = read_photo(path)
                photo = replace(photo, origin={**photo.origin, **by_path.get(str(path), {})})
            except PhotoError as error:
                if stop:
                    raise
                failures[path_text(path)] = writable(str(error))
                continue
            yield from (look.of(photo) for look in looks)

    photos, vectors = [], [np.empty((0, model.dim), np.float32)]
    for batch, part in encode_batches(read(), model):
        photos += batch
        vectors.append(part)
    return photos, np.concatenate(vectors), failures


def encode_batches(photos: Iterable[Photo], model: Model) -> Iterator[tuple[list[Photo], F32]]:
    """Photos, reduced to what a report shows, with their vectors ``(photo, feature)``.

    Takes BATCH photos at a time; the digest of the pixels that were encoded goes into ``origin``.
    """
    from ..encoders import open_ground  # torch: a scene search does without

    encoder, photos = open_ground(model), iter(photos)
    while batch := list(islice(photos, BATCH)):
        vectors = encoder.encode([photo.pixels for photo in batch])
        yield [kept(photo) for photo in batch], vectors


def kept(photo: Photo) -> Photo:
    """The photo as its report needs it: a hundred of them fit in memory."""
    digest = hashlib.sha256(np.ascontiguousarray(photo.pixels).data).hexdigest()
    image = Image.fromarray(photo.pixels)
    image.thumbnail((_KEPT_PIXELS, _KEPT_PIXELS), Image.Resampling.LANCZOS)
    origin = {**photo.origin, "pixels_sha256": digest}
    return replace(photo, pixels=np.asarray(image), origin=origin)
