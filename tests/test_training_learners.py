"""What a student is while it is trained is what its model is when it is served."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load

from geoloc.encoders.formats.networks import build_dense, build_network, load_state
from geoloc.errors import UsageError
from geoloc.models.spec import IMAGENET_MEAN, IMAGENET_STD
from geoloc.training.augment import NONE, Augmentation
from geoloc.training.data import ArrayChips, PairData
from geoloc.training.frozen import FrozenTrunk, frozen_body
from geoloc.training.learners import WholeNetwork
from geoloc.training.student import LossSpec
from tests.training_pairs import ARCH


def pairs(side: int, dim: int) -> PairData:
    rng = np.random.default_rng(0)
    chips = ArrayChips(rng.integers(0, 256, (4, 3, side, side), dtype=np.uint8))
    rows = tuple(np.array([i]) for i in range(4))
    return PairData(chips, rng.normal(3, 1, (4, dim)).astype(np.float32), rows, np.arange(4))


@pytest.mark.parametrize(
    ("arch", "size", "pool", "stride"),
    [(ARCH, 64, 32, 16), (ARCH, 64, None, 32), ("place_lite0_tuned", 128, 16, 8)],
)
def test_the_exported_network_gives_the_predictions(
    arch: str, size: int, pool: int | None, stride: int
) -> None:
    torch.manual_seed(0)
    learner = WholeNetwork(arch, 5, size=size, pool=pool, stride=stride, augment=NONE)
    data = pairs(size + 8, 5)
    predicted = learner.predict(data.chips)
    section, files = learner.export()
    state = load(files["overhead.safetensors"])
    assert section["methods"] == (["patch"] if pool is None else ["dense", "patch"])
    if pool is None:
        network = build_network(arch, 5)
    else:
        split = build_dense(arch, 5, stride, pool)
        network = split.network
        assert section["dense"] == {
            "stride": stride,
            "pool_px": pool,
            "halo_px": (size - pool) // 2,
        }
    load_state(network, state, "test")
    mean, std = (torch.tensor(section[name])[:, None, None] for name in ("mean", "std"))
    images = torch.from_numpy(data.chips[:])[:, :, 4:-4, 4:-4].float() / 255
    with torch.inference_mode():
        x = (images - mean) / std
        served = network(x) if pool is None or "lite0" in arch else _central(split, x, pool)
    assert np.allclose(predicted, served.numpy(), atol=1e-4)
    assert (section["mean"] == IMAGENET_MEAN) == (section["std"] == IMAGENET_STD) == (arch == ARCH)


def _central(split: torch.nn.Module, x: torch.Tensor, pool: int) -> torch.Tensor:
    from geoloc.encoders.formats.networks import dense_forward

    return dense_forward(split, x, pool)  # type: ignore[arg-type]


def test_a_tuned_trunk_is_trained_too_and_begins_near_the_mean() -> None:
    tuned = WholeNetwork(
        "place_lite0_tuned", 5, size=128, pool=16, stride=8, augment=Augmentation(), from_mean=True
    )
    data = pairs(128, 5)
    task = tuned.task(data, data, loss=LossSpec(), batch=4, seed=0)
    assert all(p.requires_grad for p in task.net.parameters())
    predicted = tuned.predict(data.chips)
    assert np.abs(predicted.mean(0) - data.targets.mean(0)).max() < 2


@pytest.mark.parametrize("method", ["dense", "patch"])
def test_a_head_on_the_frozen_early_stages_is_what_its_model_computes(
    tmp_path: Path, method: str
) -> None:
    torch.manual_seed(0)
    body = frozen_body("place_lite0", 5, hidden=8, dropout=0.0, dense=method == "dense",
                       window=(8, 16))  # fmt: skip
    learner = FrozenTrunk(
        "place_lite0", body, tmp_path, size=96, views=2, augment=Augmentation(), seed=0,
        device=torch.device("cpu"),
    )  # fmt: skip
    data = pairs(104, 5)
    task = learner.task(data, data, loss=LossSpec(), batch=4, seed=0)
    kept = sorted(tmp_path.glob("features-*.npy"))
    assert len(kept) == 2
    whole = kept[1].read_bytes()
    kept[1].write_bytes(whole[: len(whole) // 2])  # as by a full disk of old
    task = learner.task(data, data, loss=LossSpec(), batch=4, seed=0)
    assert kept[1].read_bytes() == whole
    assert {name for name, _ in task.net.named_parameters()} == {
        "layers.1.weight", "layers.1.bias", "layers.4.weight", "layers.4.bias"
    }  # fmt: skip
    predicted = learner.predict(data.chips)
    assert np.abs(predicted.mean(0) - data.targets.mean(0)).max() < 2
    section, files = learner.export()
    assert (section["methods"] == ["dense", "patch"]) == (method == "dense") == ("dense" in section)
    network = build_network("place_lite0", 5).eval()
    load_state(network, load(files["overhead.safetensors"]), "test")
    images = torch.from_numpy(data.chips[:])[:, :, 4:-4, 4:-4].float() / 255
    mean, std = (torch.tensor(section[name])[:, None, None] for name in ("mean", "std"))
    with torch.inference_mode():
        served = network((images - mean) / std).numpy()
    assert np.allclose(predicted, served, atol=1e-4)
    assert learner.trunks == ("efficientnet_lite0",)


def test_a_frozen_trunk_has_a_window_of_its_own() -> None:
    with pytest.raises(UsageError, match="needs stride 8 and pool_px 16"):
        frozen_body("place_lite0", 5, hidden=8, dropout=0.0, dense=True, window=(32, 96))
