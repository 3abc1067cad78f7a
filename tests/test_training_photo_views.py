"""Views of photos: parts of them, by their pixels alone."""

from __future__ import annotations

import numpy as np

from geoloc.training.photo_views import PhotoViews

PHOTO = np.arange(90 * 160 * 3).reshape(90, 160, 3).astype(np.uint8)


def test_the_first_is_the_whole_and_the_others_are_parts_of_it() -> None:
    spec = PhotoViews(count=30, field=(0.5, 0.8), area=(0.6, 0.9))
    whole, *parts = spec.views(PHOTO)
    assert whole is PHOTO
    for part in parts:
        height, width = part.shape[:2]
        assert 0.77 <= height / 90 <= 0.96
        assert 0.38 <= width / 160 <= 0.77
        assert np.shares_memory(part, PHOTO)  # a part of it, in place
    assert len({part.shape for part in parts}) > 15


def test_they_depend_on_the_pixels_alone() -> None:
    spec = PhotoViews(count=3)
    shapes = [[view.shape for view in spec.views(photo)] for photo in (PHOTO, PHOTO.copy())]
    assert shapes[0] == shapes[1]
    assert [view.shape for view in spec.views(PHOTO[::-1])] != shapes[0]


def test_vectors_of_views_stand_beside_each_other() -> None:
    spec = PhotoViews(count=3)
    photos = [PHOTO, PHOTO[::-1].copy()]
    vectors = spec.encode(
        lambda images: np.array([[i.mean(), i.shape[1]] for i in images], np.float32), photos
    )
    assert vectors.shape == (2, 6)
    assert vectors[1, 3] == spec.views(photos[1])[1].shape[1]
