"""The networks of the land-use model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional

from geoloc.domain import Grid
from geoloc.encoders.formats.landuse import (
    EMBEDDED,
    FEATURES,
    INPUT_PX,
    KINDS_SHARE,
    MEMBERS,
    PLACE_VIEWS,
    PlaceLanduse,
    Trunks,
    photo_head,
    photo_views,
)
from geoloc.encoders.formats.lite import Edge
from geoloc.encoders.formats.networks import build_network, load_weights, sliding_mean
from geoloc.encoders.overhead import open_overhead, open_patches
from geoloc.errors import ModelError
from geoloc.evaluation.vectors import overhead_vectors
from geoloc.models import load_model
from geoloc.training.landuse_features import place_features


@pytest.mark.parametrize("edge", ["constant", "reflect"])
def test_onnx_runtime_computes_what_torch_does_at_any_size(edge: Edge) -> None:
    x = torch.randn(2, 3, INPUT_PX, 96, generator=torch.Generator().manual_seed(0))
    trunks = Trunks(edge).eval()
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        quick = trunks.maps(x)
    with torch.inference_mode():
        assert torch.allclose(quick, trunks(x), atol=1e-3)
    assert quick.shape == (2, FEATURES, INPUT_PX // 32, 3)


def test_a_place_does_not_depend_on_how_it_is_turned() -> None:
    x = torch.randn(1, 3, 192, 192, generator=torch.Generator().manual_seed(1))
    network = PlaceLanduse(EMBEDDED + 2).eval()
    with torch.inference_mode():
        assert torch.allclose(network(x), network(torch.rot90(x, 1, (2, 3))), atol=1e-4)


def test_a_position_half_a_cell_aside_is_the_mean_of_its_neighbours() -> None:
    x = torch.randn(1, 3, 256, 208, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        features = PlaceLanduse(EMBEDDED + 2).eval().trunk(x)
    assert features.shape[2:] == (16, 13)  # sides need not be whole cells
    pooled = sliding_mean(features, PlaceLanduse.POOL // PlaceLanduse.STRIDE)
    between = (pooled[..., 0:-1:2, 0] + pooled[..., 2::2, 0]) / 2
    assert torch.allclose(pooled[..., 1::2, 0], between, atol=1e-5)


def test_the_shipped_model_is_dense_by_definition() -> None:
    model = load_model("landuse")
    cells = Grid("EPSG:32636", 600_000, 3_500_000, 25.0, 2, 4)
    dense, patch = open_overhead(model, 25.0), open_patches(model, 25.0)
    assert (dense.method, dense.gsd, patch.gsd) == ("dense", 1.5625, 1.5625)
    vectors = []
    for encoder in (dense, patch):
        window = encoder.window(cells)
        pixels = _land(window)
        vectors.append(encoder.encode(pixels, np.ones(window.shape, bool), window, cells))
    a, b = (v.reshape(-1, model.dim) for v in vectors)
    # cells that are half a window aside differ by far more than the methods do
    assert np.linalg.norm(a - b, axis=1).max() < 0.5 * np.linalg.norm(b[0] - b[-1])
    assert np.allclose(np.linalg.norm(a, axis=1), 1, atol=1e-2)


def test_an_image_of_a_scene_needs_no_surroundings(tmp_path: Path) -> None:
    model = load_model("landuse")
    image = _land(Grid("EPSG:32636", 600_000, 3_500_000, 1.5625, 150, 140))
    Image.fromarray(image.transpose(1, 2, 0)).save(tmp_path / "scene.png")
    [vector] = overhead_vectors(model, [tmp_path / "scene.png"]).vectors
    # the same by the training's way: features of each rotation, their mean, the head
    features = place_features([image.transpose(1, 2, 0)]).reshape(1, PLACE_VIEWS, FEATURES)
    network = PlaceLanduse(model.dim)
    load_weights(network, model.file("overhead.safetensors"))
    with torch.inference_mode():
        expected = network.head(torch.from_numpy(features).mean(1))[0]
    assert np.allclose(vector, expected, atol=5e-3)


def test_a_scene_size_changes_no_digest_where_it_is_not_given() -> None:
    given, not_given = (
        load_model(name).spec.facts()["overhead"] for name in ("landuse", "sandbox")
    )
    assert given["scene_px"] == INPUT_PX and "scene_px" not in not_given


def _land(window: Grid) -> NDArray[np.uint8]:
    """Fields in the west, which become a grid of houses towards the east; no flip looks alike."""
    x, y = np.meshgrid(window.x - 600_000, window.y - 3_500_000)
    houses = ((x % 40 < 18) & (y % 30 < 14)) * np.clip(x / 50, 0, 1)
    field = 90 + 30 * np.sin(x / 25 + y / 60)
    noise = np.random.default_rng(0).normal(0, 6, x.shape)
    bands = (field * 0.9 + 90 * houses, field * 1.1, field * 0.6 + 60 * houses)
    return np.stack([np.clip(band + noise, 0, 255) for band in bands]).astype(np.uint8)


def test_a_head_takes_as_many_classes_as_its_file_has() -> None:
    generator = torch.Generator().manual_seed(3)
    head, same = (photo_head(EMBEDDED + 3).eval() for _ in range(2))
    known = torch.randn(MEMBERS, 5, EMBEDDED // MEMBERS, generator=generator)
    head.set_classes(functional.normalize(known, dim=-1), torch.eye(5, 3))
    same.load_state_dict(head.state_dict())
    x = torch.randn(4, FEATURES, generator=generator)
    with torch.inference_mode():
        vectors = head(x)
        assert torch.equal(same(x), vectors)
    assert torch.allclose(vectors[:, :3].square().sum(1), torch.tensor(KINDS_SHARE), atol=1e-5)
    assert torch.allclose(vectors.square().sum(1), torch.tensor(1.0), atol=1e-5)
    with pytest.raises(RuntimeError, match="known"):
        photo_head(EMBEDDED + 4).load_state_dict(head.state_dict())


def test_heads_of_an_earlier_version_are_not_taken_for_todays() -> None:
    with pytest.raises(ModelError, match="make it again with 'geoloc models make landuse'"):
        build_network("place_landuse", 128)


def test_a_photo_asks_for_all_kinds_that_its_class_may_be() -> None:
    head = photo_head(EMBEDDED + 3).eval()
    part = EMBEDDED // MEMBERS
    first = functional.one_hot(torch.tensor([0]), part).float()
    with torch.inference_mode():  # every member answers the first axis
        for member in head.members:
            member[-1].weight.zero_()
            member[-1].bias.copy_(first[0])
        known = torch.stack([first[0], -first[0]]).expand(MEMBERS, 2, part)
        head.set_classes(known.clone(), torch.tensor([[1.0, 0, 1], [0, 1, 0]]))
        kinds = head(torch.zeros(1, FEATURES))[0, :3]
    assert torch.allclose(kinds, (KINDS_SHARE / 2) ** 0.5 * torch.tensor([1.0, 0, 1]), atol=1e-5)


def test_views_of_a_photo_are_two_of_the_whole_and_two_corners() -> None:
    x = torch.arange(256 * 256, dtype=torch.float32).reshape(1, 1, 256, 256)
    whole, mirrored, first, last = photo_views(x)
    assert torch.allclose(mirrored, whole.flip(-1), atol=1.0)
    assert first[0, 0, 0, 0] == 0 and last[0, 0, -1, -1] == 256 * 256 - 1
