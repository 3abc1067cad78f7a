"""Photo files to feature vectors, whatever is wrong with some of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..arrays import F32
from ..errors import ModelError, PhotoError
from ..models import Model
from ..names import path_text, writable
from ..photos import Photo, PhotoView, read_photo
from ..progress import Progress

BATCH = 16
"""Photos decoded at a time: bounds memory whatever their number."""

_KEPT_PIXELS = 1600  # longer side of a photo that is kept for its report
_WHOLE = (PhotoView(),)


def encode(
    paths: Sequence[Path],
    models: Sequence[Model],
    looks: Sequence[PhotoView] = _WHOLE,
    *,
    origins: Mapping[str, Mapping[str, Any]] | None = None,
    stop: bool = False,
    progress: Progress | None = None,
) -> tuple[list[Photo], F32, dict[str, str]]:
    """Readable photos (reduced), vectors ``(photo, feature)``, and failures by path.

    The vectors of several models are one behind the other.

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

    photos, vectors = [], [np.empty((0, sum(model.dim for model in models)), np.float32)]
    for batch, part in encode_batches(read(), models):
        photos += batch
        vectors.append(part)
    return photos, np.concatenate(vectors), failures


def encode_batches(
    photos: Iterable[Photo], models: Sequence[Model]
) -> Iterator[tuple[list[Photo], F32]]:
    """Photos, reduced to what a report shows, with their vectors ``(photo, feature)``.

    The vectors of several models are one behind the other. Takes BATCH photos at a time; the
    digest of the pixels that were encoded goes into ``origin``. Raises ModelError for a vector
    that no place has a distance to.
    """
    from ..encoders import open_ground  # torch: a scene search does without

    encoders, photos = [open_ground(model) for model in models], iter(photos)
    while batch := list(islice(photos, BATCH)):
        pixels = [photo.pixels for photo in batch]
        vectors = np.concatenate([encoder.encode(pixels) for encoder in encoders], axis=1)
        _require_numbers(models, batch, vectors)
        yield [kept(photo) for photo in batch], vectors


def parts_of(vectors: F32, models: Sequence[Model]) -> list[F32]:
    """Of vectors of several models, ``(…, feature)`` one behind the other, those of each."""
    ends = np.cumsum([model.dim for model in models])
    return np.split(vectors, ends[:-1], axis=-1)


def _require_numbers(models: Sequence[Model], photos: Sequence[Photo], vectors: F32) -> None:
    for model, own in zip(models, parts_of(vectors, models), strict=True):
        told = zip(photos, own, strict=True)
        if odd := [one.file for one, vector in told if not np.isfinite(vector).all()]:
            raise ModelError(
                f"model {model.name} gives no numbers for photo {odd[0]}: its ground network is "
                "damaged, get the model anew"
            )


def kept(photo: Photo) -> Photo:
    """The photo as its report needs it: a hundred of them fit in memory."""
    digest = hashlib.sha256(np.ascontiguousarray(photo.pixels).data).hexdigest()
    image = Image.fromarray(photo.pixels)
    image.thumbnail((_KEPT_PIXELS, _KEPT_PIXELS), Image.Resampling.LANCZOS)
    origin = {**photo.origin, "pixels_sha256": digest}
    return replace(photo, pixels=np.asarray(image), origin=origin)
