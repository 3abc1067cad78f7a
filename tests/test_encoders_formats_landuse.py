"""The networks of the land-use model."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from geoloc.encoders.formats.landuse import PlaceLanduse, Trunks, photo_views
from geoloc.encoders.formats.networks import build_dense, dense_features, load_weights
from geoloc.models import load_model


def test_onnx_runtime_computes_what_torch_does() -> None:
    x = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    trunks = Trunks().eval()
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        quick = trunks.at_speed(x)
    with torch.inference_mode():
        assert torch.allclose(quick, trunks(x), atol=1e-3)
    assert quick.shape == (2, 2560, 2, 3)


def test_a_place_does_not_depend_on_how_it_is_turned() -> None:
    x = torch.randn(1, 3, 192, 192, generator=torch.Generator().manual_seed(1))
    network = PlaceLanduse(8).eval()
    with torch.inference_mode():
        assert torch.allclose(network(x), network(torch.rot90(x, 1, (2, 3))), atol=1e-4)


def test_the_dense_function_pools_a_window_at_every_stride() -> None:
    x = torch.randn(1, 3, 256, 224, generator=torch.Generator().manual_seed(2))
    split = build_dense("place_landuse", 8, 32, 192)
    split.eval()
    with torch.inference_mode():
        pooled = dense_features(split, x, 192)
        maps = split.trunk(x)
    assert pooled.shape == (1, 256, 3, 2)
    assert torch.allclose(pooled[0, :, 2, 1], maps[0, :, 2:8, 1:7].mean((1, 2)), atol=1e-4)


@pytest.mark.slow
def test_what_lies_beyond_the_halo_matters_less_than_a_shift_by_2_px() -> None:
    pool, halo, far = PlaceLanduse.POOL, PlaceLanduse.HALO, 384
    coarse = torch.rand(1, 3, 72, 72, generator=torch.Generator().manual_seed(3))
    side = pool + 2 * far
    x = functional.interpolate(coarse, (side, side), mode="bicubic") * 4 - 2
    model = load_model("landuse")
    split = build_dense("place_landuse", model.dim, 32, pool)
    assert model.spec.overhead is not None
    load_weights(split.network, model.file(model.spec.overhead.weights))
    split.eval()

    def seen(reach: int, shift: int = 0) -> torch.Tensor:
        first = far - reach
        part = x[..., first : side - first, first + shift : side - first + shift]
        at = reach // 32
        with torch.inference_mode():
            return split.head(dense_features(split, part, pool)[:, :, at, at])

    known = seen(halo)
    assert torch.dist(seen(far), known) < torch.dist(seen(halo, 2), known)
    assert torch.dist(seen(96), known) > torch.dist(seen(halo, 2), known)  # which is too little


def test_views_of_a_photo_are_two_of_the_whole_and_two_corners() -> None:
    x = torch.arange(256 * 256, dtype=torch.float32).reshape(1, 1, 256, 256)
    whole, mirrored, first, last = photo_views(x)
    assert torch.allclose(mirrored, whole.flip(-1), atol=1.0)
    assert first[0, 0, 0, 0] == 0 and last[0, 0, -1, -1] == 256 * 256 - 1
