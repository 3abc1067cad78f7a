"""Photo files to feature vectors, whatever is wrong with some of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..encoders import Model
from ..errors import PhotoError
from ..photos import Photo, read_photo

_BATCH = 16  # photos decoded at a time: bounds memory whatever their number
_KEPT_PIXELS = 1600  # longer side of a photo that is kept for its report


def encode(
    paths: Sequence[Path], model: Model, *, stop: bool = False
) -> tuple[list[Photo], NDArray[np.float32], dict[str, str]]:
    """Readable photos (reduced), vectors ``(photo, feature)``, and failures by path.

    With ``stop`` the first failure is raised.
    """
    from ..encoders import open_ground  # torch: a scene search does without

    encoder = open_ground(model)
    photos: list[Photo] = []
    vectors, failures = [np.empty((0, model.dim), np.float32)], {}
    for start in range(0, len(paths), _BATCH):
        batch = []
        for path in paths[start : start + _BATCH]:
            try:
                batch.append(read_photo(path))
            except PhotoError as error:
                if stop:
                    raise
                failures[str(path)] = str(error)
        if batch:
            vectors.append(encoder.encode([photo.pixels for photo in batch]))
            photos += map(_reduced, batch)
    return photos, np.concatenate(vectors), failures


def _reduced(photo: Photo) -> Photo:
    """The photo as its report needs it: a hundred of them fit in memory."""
    image = Image.fromarray(photo.pixels)
    image.thumbnail((_KEPT_PIXELS, _KEPT_PIXELS), Image.Resampling.LANCZOS)
    return replace(photo, pixels=np.asarray(image))
