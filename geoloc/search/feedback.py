"""Relevance feedback (Rocchio): a photo asks anew with what its first answer was like.

The vector of a photo is moved away from what places are usually like, and then towards the places
that it is nearest to. So the places that are searched say how such a scene looks *there*, which a
model learnt on others. It needs a sample of them, and no truth of any.

What is right nearby becomes more so, and so does what is wrong: whether it helps a model has to be
measured. Sizes were chosen for `landuse` on halves of its training images, also with galleries of
which one class is half.
"""

from __future__ import annotations

import numpy as np

from ..arrays import F32, F64
from ..models import Distance

SHARE = 0.01
"""Of the sample: the places that a vector is moved towards."""

TOWARDS, AWAY = 0.5, 0.75
"""Weights of their mean and of the mean of all, where the photo's own is 1."""

_GROUP = 256  # photos at once: bounds the memory of their distances


def with_feedback(vectors: F32, places: F32, distance: Distance) -> F32:
    """Vectors ``(photo, feature)`` as they ask anew, given those ``(place, feature)`` of a sample.

    Their distances rank places alone: they are no distances of the photos. Weights sum to 1, so
    nothing depends on where zero is. Without places, vectors stay as they are.
    """
    if not len(places):
        return vectors
    usual = places.mean(axis=0, dtype=np.float64)
    apart = (vectors - AWAY * usual) / (1 - AWAY)
    near = np.concatenate(
        [_near(apart[start : start + _GROUP], places, distance)
         for start in range(0, len(vectors), _GROUP)]
    )  # fmt: skip
    moved = vectors + TOWARDS * near - AWAY * usual
    return np.asarray(moved / (1 + TOWARDS - AWAY), np.float32)


def _near(vectors: F64, places: F32, distance: Distance) -> F64:
    """The mean ``(photo, feature)`` of the places that each vector is nearest to."""
    asked, known = distance.apply(vectors), distance.apply(places)
    scores = (known**2).sum(axis=1)[None] - 2 * asked @ known.T
    count = max(1, round(SHARE * len(places)))
    nearest = np.argsort(scores, axis=1, kind="stable")[:, :count]
    return np.asarray(places[nearest].mean(axis=1, dtype=np.float64))
