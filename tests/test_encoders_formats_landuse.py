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
    HALF,
    INPUT_PX,
    KINDS_SHARE,
    MEMBERS,
    PHOTO_FEATURES,
    PLACE_FEATURES,
    PLACE_VIEWS,
    PlaceLanduse,
    Trunks,
    photo_head,
    photo_views,
    shaped,
)
from geoloc.encoders.formats.lite import Edge, pretrained
from geoloc.encoders.formats.networks import build_network, load_weights, sliding_mean
from geoloc.encoders.overhead import open_overhead, open_patches
from geoloc.errors import ModelError
from geoloc.evaluation.vectors import overhead_vectors
from geoloc.models import load_model
from geoloc.training.landuse_features import place_features


@pytest.mark.parametrize(("edge", "halfway"), [("constant", False), ("reflect", True)])
def test_onnx_runtime_computes_what_torch_does_at_any_size(edge: Edge, halfway: bool) -> None:
    x = torch.randn(2, 3, INPUT_PX, 96, generator=torch.Generator().manual_seed(0))
    trunks = Trunks(edge, halfway).eval()
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        quick = trunks.maps(x)
    with torch.inference_mode():
        assert torch.allclose(quick, trunks(x), atol=1e-3)
    assert quick.shape == (2, PLACE_FEATURES if halfway else PHOTO_FEATURES, INPUT_PX // 32, 3)


def test_averages_tell_how_features_of_half_the_way_spread() -> None:
    x = torch.randn(2, 3, 96, 160, generator=torch.Generator().manual_seed(4))
    first, second = (pretrained(f"efficientnet_lite{n}", "reflect").eval() for n in (0, 2))
    with torch.inference_mode():
        means = shaped(Trunks("reflect", halfway=True).eval()(x).mean((2, 3)))
        last = torch.cat([first(x), second(x)], 1).mean((2, 3))
        first.cut()
        half = first.early(x)
    assert half.shape == (2, HALF, 6, 10)
    expected = [last.sqrt(), half.mean((2, 3)), half.std((2, 3), unbiased=False)]
    assert torch.allclose(means, torch.cat(expected, 1), atol=1e-3)


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
    features = place_features([image.transpose(1, 2, 0)]).reshape(1, -1, PLACE_FEATURES)
    network = PlaceLanduse(model.dim)
    load_weights(network, model.file("overhead.safetensors"))
    with torch.inference_mode():
        expected = network.head(torch.from_numpy(features[:, :PLACE_VIEWS]).mean(1))[0]
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
    head.set_discriminant(torch.randn(5, PHOTO_FEATURES, generator=generator), torch.arange(5.0))
    same.load_state_dict(head.state_dict())
    x = torch.rand(4, PHOTO_FEATURES, generator=generator)
    with torch.inference_mode():
        vectors = head(x)
        assert torch.equal(same(x), vectors)
    assert torch.allclose(vectors[:, :3].square().sum(1), torch.tensor(KINDS_SHARE), atol=1e-5)
    assert torch.allclose(vectors.square().sum(1), torch.tensor(1.0), atol=1e-5)
    with pytest.raises(RuntimeError, match="known"):
        photo_head(EMBEDDED + 4).load_state_dict(head.state_dict())


@pytest.mark.parametrize("arch", ["place_landuse", "place_landuse_kinds"])
def test_heads_of_an_earlier_version_are_not_taken_for_todays(arch: str) -> None:
    with pytest.raises(ModelError, match="make it again with 'geoloc models make landuse'"):
        build_network(arch, 128)


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
        head.set_discriminant(torch.zeros(2, PHOTO_FEATURES), torch.tensor([50.0, -50]))
        kinds = head(torch.zeros(1, PHOTO_FEATURES))[0, :3]
    assert torch.allclose(kinds, (KINDS_SHARE / 2) ** 0.5 * torch.tensor([1.0, 0, 1]), atol=1e-5)


def test_half_of_a_kind_is_what_the_discriminant_says() -> None:
    head = photo_head(EMBEDDED + 2).eval()
    x = torch.rand(3, PHOTO_FEATURES, generator=torch.Generator().manual_seed(5))
    weights = torch.zeros(2, PHOTO_FEATURES)
    weights[0, 7], weights[1, 5] = 3, 2
    with torch.inference_mode():
        known = torch.zeros(MEMBERS, 2, EMBEDDED // MEMBERS)  # by members either is as likely
        head.set_classes(known, torch.eye(2))
        head.set_discriminant(weights, torch.tensor([0.1, 0.3]))
        kinds = head(x)[:, :2]
    logits = torch.stack([3 * x[:, 7].sqrt() + 0.1, 2 * x[:, 5].sqrt() + 0.3], 1)
    likely = 0.25 + logits.softmax(1) / 2
    expected = KINDS_SHARE**0.5 * functional.normalize(likely, dim=1)
    assert torch.allclose(kinds, expected, atol=1e-5)


def test_views_of_a_photo_are_two_of_the_whole_and_two_corners() -> None:
    x = torch.arange(256 * 256, dtype=torch.float32).reshape(1, 1, 256, 256)
    whole, mirrored, first, last = photo_views(x)
    assert torch.allclose(mirrored, whole.flip(-1), atol=1.0)
    assert first[0, 0, 0, 0] == 0 and last[0, 0, -1, -1] == 256 * 256 - 1
