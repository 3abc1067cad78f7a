"""Photos to vectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from geoloc.encoders.ground import open_ground
from geoloc.encoders.preprocess import stretch, to_input
from geoloc.models.spec import IMAGENET_MEAN, IMAGENET_STD, GroundSpec

from .encoder_models import imagery, tiny_model


def photo(ny: int, nx: int, seed: int = 0) -> np.ndarray:
    return np.ascontiguousarray(imagery(ny, nx, seed).transpose(1, 2, 0))


def ground(input_px: int, resize_px: int | None = None) -> GroundSpec:
    return GroundSpec(format="exported", weights="g.onnx", input_px=input_px, resize_px=resize_px)


@pytest.mark.parametrize("size", [(301, 407), (90, 40), (64, 64)])
def test_stretching_is_antialiased_bilinear_like_pillow(size: tuple[int, int]) -> None:
    pixels = photo(*size)
    found = stretch(pixels, ground(56, 64)).permute(1, 2, 0).numpy()
    whole = Image.fromarray(pixels).resize((64, 64), Image.Resampling.BILINEAR)
    expected = np.asarray(whole)[4:60, 4:60]
    assert np.abs(found.astype(int) - expected.astype(int)).max() <= 1


def test_input_is_normalised_as_the_network_was_trained() -> None:
    pixels = stretch(photo(50, 70), ground(32))[None]
    found = to_input(pixels, ground(32)).numpy()
    expected = (pixels.numpy().transpose(0, 2, 3, 1) / 255 - IMAGENET_MEAN) / IMAGENET_STD
    np.testing.assert_allclose(found.transpose(0, 2, 3, 1), expected, rtol=1e-4, atol=1e-5)


def test_a_vector_does_not_depend_on_its_batch(tmp_path: Path) -> None:
    encoder = open_ground(tiny_model(tmp_path), "cpu")
    photos = [photo(60 + i, 80 - i, i) for i in range(35)]
    together = encoder.encode(photos)
    assert together.shape == (35, 5) and together.dtype == np.float32
    alone = np.concatenate([encoder.encode([p]) for p in photos[::17]])
    np.testing.assert_allclose(together[::17], alone, rtol=1e-4, atol=1e-5)
    assert together.std(axis=0).min() > 0


def test_no_photos_give_no_vectors(tmp_path: Path) -> None:
    assert open_ground(tiny_model(tmp_path), "cpu").encode([]).shape == (0, 5)
