"""The networks of the land-use model."""

from __future__ import annotations

import pytest
import torch

from geoloc.encoders.formats.landuse import (
    FEATURES,
    INPUT_PX,
    PlaceLanduse,
    Trunks,
    photo_views,
)
from geoloc.encoders.overhead import open_overhead
from geoloc.errors import ModelError
from geoloc.models import load_model


def test_onnx_runtime_computes_what_torch_does() -> None:
    x = torch.randn(2, 3, INPUT_PX, INPUT_PX, generator=torch.Generator().manual_seed(0))
    trunks = Trunks().eval()
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        quick = trunks.seen(x)
    with torch.inference_mode():
        assert torch.allclose(quick, trunks(x).mean((2, 3)), atol=1e-3)
    assert quick.shape == (2, FEATURES)


def test_a_place_does_not_depend_on_how_it_is_turned() -> None:
    x = torch.randn(1, 3, 192, 192, generator=torch.Generator().manual_seed(1))
    network = PlaceLanduse(8).eval()
    with torch.inference_mode():
        assert torch.allclose(network(x), network(torch.rot90(x, 1, (2, 3))), atol=1e-4)


def test_the_shipped_model_refuses_to_be_another_function() -> None:
    with pytest.raises(ModelError, match="run densely its network is a different function"):
        open_overhead(load_model("landuse"), 50.0, "dense")


def test_views_of_a_photo_are_two_of_the_whole_and_two_corners() -> None:
    x = torch.arange(256 * 256, dtype=torch.float32).reshape(1, 1, 256, 256)
    whole, mirrored, first, last = photo_views(x)
    assert torch.allclose(mirrored, whole.flip(-1), atol=1.0)
    assert first[0, 0, 0, 0] == 0 and last[0, 0, -1, -1] == 256 * 256 - 1
