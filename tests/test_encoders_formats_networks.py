"""Splitting, dilating and serving torchvision networks densely."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load as load_bytes

from geoloc.encoders.formats import networks
from geoloc.errors import ModelError

SMALL = ("shufflenet_v2_x0_5", "mobilenet_v3_small", "mnasnet0_5", "squeezenet1_1", "resnet18")
MORE = ("densenet121", "mobilenet_v2", "efficientnet_b0", "regnet_x_400mf", "regnet_y_400mf")


def made(arch: str, seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    return networks.build_network(arch, 7).eval()


@pytest.mark.parametrize("arch", SMALL + MORE)
def test_trunk_and_head_are_the_network(arch: str) -> None:
    network = made(arch)
    x = torch.rand(2, 3, 96, 96)
    with torch.inference_mode():
        expected = network(x)
        split = networks.split_network(network, arch)
        torch.testing.assert_close(split(x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("arch", ["shufflenet_v2_x0_5", "resnet18", "densenet121", "mobilenet_v2"])
def test_dilation_keeps_the_features_at_every_second_position(arch: str) -> None:
    x = torch.rand(1, 3, 128, 128)
    with torch.inference_mode():
        plain = networks.split_network(made(arch), arch)
        dilated = networks.split_network(made(arch), arch, stride=16)
        assert (plain.stride, dilated.stride) == (32, 16)
        coarse, fine = plain.trunk(x), dilated.trunk(x)[..., ::2, ::2]
    torch.testing.assert_close(fine[..., : coarse.shape[-2], : coarse.shape[-1]], coarse)


@pytest.mark.parametrize("arch", ["vit_b_16", "swin_t", "vgg11", "alexnet"])
def test_networks_without_a_pooled_trunk_are_refused_for_dense(arch: str) -> None:
    with pytest.raises(ModelError, match="patch"):
        networks.split_network(torch.nn.Identity(), arch)


@pytest.mark.parametrize("arch", ["googlenet", "fcn_resnet50", "nothing"])
def test_unsuitable_architectures_are_refused(arch: str) -> None:
    with pytest.raises(ModelError, match=arch):
        networks.build_network(arch, 7)


@pytest.mark.parametrize("stride", [12, 64])
def test_impossible_strides_are_refused(stride: int) -> None:
    with pytest.raises(ModelError, match="stride"):
        networks.build_dense("shufflenet_v2_x0_5", 7, stride, 96)


def test_a_stride_that_needs_dilated_pooling_is_refused() -> None:
    with pytest.raises(ModelError, match="use 16"):
        networks.build_dense("densenet121", 7, 8, 96)


@pytest.mark.parametrize("arch", ["shufflenet_v2_x0_5", "mobilenet_v3_small", "squeezenet1_1"])
def test_dense_features_are_the_dense_function_at_every_position(arch: str) -> None:
    """Far enough from the tile's edge; squeeze-and-excitation has become local."""
    torch.manual_seed(0)
    pool = 32
    net = networks.build_dense(arch, 7, 16, pool).eval()
    side = pool + 2 * net.halo_px
    x = torch.rand(1, 3, side + 48, side + 32)
    with torch.inference_mode():
        pooled = networks.dense_features(net, x, pool)
        at = net.halo_px // 16
        for row, col in ((0, 0), (3, 1), (2, 2)):
            window = x[..., row * 16 : row * 16 + side, col * 16 : col * 16 + side]
            exact = networks.dense_forward(net, window, pool)
            served = net.head(pooled[..., at + row, at + col])
            torch.testing.assert_close(served, exact, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("arch", ["shufflenet_v2_x0_5", "resnet18", "squeezenet1_1"])
def test_nothing_beyond_the_halo_reaches_a_feature(arch: str) -> None:
    torch.manual_seed(0)
    net = networks.build_dense(arch, 7, 16, 32).eval().requires_grad_(False)
    side = 2 * net.halo_px + 16 * 9
    x = torch.rand(1, 3, side, side, requires_grad=True)
    at = net.halo_px // 16 + 4
    net.trunk(x)[0, :, at, at].sum().backward()
    assert x.grad is not None
    rows = x.grad[0].abs().sum((0, 2)).nonzero()
    assert rows.min() >= at * 16 - net.halo_px
    assert rows.max() < (at + 1) * 16 + net.halo_px


def test_local_average_clips_at_the_edge() -> None:
    x = torch.rand(1, 2, 7, 9)
    found = networks.LocalAverage(5)(x)
    torch.testing.assert_close(found[0, :, 3, 4], x[0, :, 1:6, 2:7].mean((1, 2)))
    torch.testing.assert_close(found[0, :, 0, 8], x[0, :, :3, 6:].mean((1, 2)))


def test_gradients_reach_every_parameter_of_a_dense_network() -> None:
    net = networks.build_dense("mobilenet_v3_small", 7, 16, 32)
    networks.dense_forward(net, torch.rand(2, 3, 64, 64), 32).sum().backward()
    assert [name for name, p in net.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize("arch", ["shufflenet_v2_x0_5", "mnasnet0_5"])
def test_weights_come_back_also_from_half_precision(arch: str, tmp_path: Path) -> None:
    network = made(arch, 1)
    other = made(arch, 2)
    (tmp_path / "w.safetensors").write_bytes(networks.weights_bytes(network, half=True))
    networks.load_weights(other, tmp_path / "w.safetensors")
    expected = network.state_dict()
    for key, value in other.state_dict().items():
        torch.testing.assert_close(value, expected[key], rtol=1e-3, atol=1e-3)
        assert value.dtype == expected[key].dtype


def test_old_densenet_keys_are_renamed_and_loaded_strictly() -> None:
    network = made("densenet121", 1)
    old = {
        "module." + k.replace("norm1.", "norm.1.").replace("conv2.", "conv.2."): v
        for k, v in network.state_dict().items()
        if not k.endswith("num_batches_tracked")
    }
    assert any("norm.1." in key for key in old)
    other = made("densenet121", 2)
    networks.load_state(other, old, "old.pth")
    torch.testing.assert_close(other.classifier.weight, network.classifier.weight)


def test_weights_of_another_architecture_are_refused(tmp_path: Path) -> None:
    state = load_bytes(networks.weights_bytes(made("shufflenet_v2_x0_5")))
    with pytest.raises(ModelError, match="does not fit"):
        networks.load_state(made("resnet18"), state, "w.safetensors")
    (tmp_path / "w.safetensors").write_bytes(b"no safetensors")
    with pytest.raises(ModelError, match="not a safetensors file"):
        networks.load_weights(made("resnet18"), tmp_path / "w.safetensors")
