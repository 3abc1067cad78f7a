"""Images through the trunks of the land-use model."""

from __future__ import annotations

import numpy as np

from geoloc.encoders.formats.landuse import PLACE_FEATURES, PLACE_VIEWS
from geoloc.training.landuse_features import middle, place_features

RNG = np.random.default_rng(0)


def _image(height: int, width: int) -> np.ndarray:
    """Stripes and noise that look unlike turned, shifted or closer."""
    y, x = np.mgrid[:height, :width]
    bands = (x * y / 60 % 255, (3 * x + 40 * np.sin(y / 9)) % 255, y * 255 / height)
    noise = RNG.integers(0, 60, (height, width, 3))
    return np.asarray(np.clip(np.stack(bands, 2) * 0.7 + noise, 0, 255), np.uint8)


def test_the_last_view_of_a_place_is_its_middle() -> None:
    images = [_image(90, 130), _image(64, 41)]
    features = place_features(images).reshape(2, PLACE_VIEWS + 1, PLACE_FEATURES)
    cuts = [images[0][22:68, 32:98], images[1][16:48, 10:31]]
    moved = images[0][26:72, 32:98]
    seen = [place_features([cut])[0, :PLACE_FEATURES] for cut in (*cuts, moved)]
    for number in range(2):
        assert np.allclose(features[number, -1], seen[number], atol=1e-4)
    assert not np.allclose(features[0, -1], seen[2], atol=1e-2)
    assert not np.allclose(features[0, -1], features[0, 0], atol=1e-2)


def test_images_of_few_pixels_have_a_middle() -> None:
    assert middle(_image(1, 3)).shape == (1, 3, 3)
    assert middle(_image(5, 4)).shape == (3, 2, 3)
