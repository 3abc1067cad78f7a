"""CSAIL's networks, with random weights: what torchvision's own architectures compute of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torchvision import models

from geoloc.encoders import open_ground
from geoloc.encoders.formats.networks import build_network, load_weights
from geoloc.encoders.places365 import fetch_places365
from geoloc.errors import ModelError
from geoloc.models.load import load_model
from geoloc.models.model import Model
from geoloc.models.published import PLACES365_MODELS, known_digest
from geoloc.query.describing import describe_photos
from geoloc.scenes import PLACES365
from tests.checkpoints import write_checkpoint
from tests.encoder_models import imagery

MEAN, STD = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GEOLOC_MODELS", str(tmp_path / "store"))
    return tmp_path / "store"


@pytest.fixture(scope="module")
def resnet(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, nn.Module]:
    """A folder with the checkpoint, and the network that it is of."""
    folder = tmp_path_factory.mktemp("mirror")
    network = random_network("resnet18")
    write_checkpoint(folder / "resnet18_places365.pth.tar", "resnet18", network)
    return folder, network


def random_network(arch: str) -> nn.Module:
    torch.manual_seed(3)
    return models.get_model(arch, weights=None, num_classes=365).eval()


def expected(network: nn.Module, photo: np.ndarray, side: int) -> np.ndarray:
    """Stretched to a square, normalised, raw logits: written anew for the test."""
    x = torch.from_numpy(photo.copy()).permute(2, 0, 1)[None]
    x = nn.functional.interpolate(x, (side, side), mode="bilinear", antialias=True)
    x = (x.float() / 255 - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    with torch.no_grad():
        return network(x).numpy()


@pytest.mark.parametrize(
    ("name", "sides"), [("places365-alexnet-227", (227, 224)), ("places365-densenet161", (224,))]
)
@pytest.mark.usefixtures("store")
def test_the_teacher_computes_what_the_published_architecture_does(
    name: str, sides: tuple[int, ...], tmp_path: Path
) -> None:
    what = PLACES365_MODELS[name]
    network = random_network(what.arch)
    write_checkpoint(tmp_path / what.file, what.arch, network)
    model = fetch_places365(name, mirror=str(tmp_path)).model
    (tmp_path / what.file).unlink()
    assert model.classes == PLACES365 and model.spec.overhead is None
    assert model.spec.ground.input_px == sides[0]
    photo = imagery(90, 200).transpose(1, 2, 0)  # not square: its aspect is not kept
    for side in sides:
        ground = model.spec.ground.model_copy(update={"input_px": side})
        spec = model.spec.model_copy(update={"ground": ground})
        vectors = open_ground(Model(model.path, spec), "cpu").encode([photo])
        np.testing.assert_allclose(vectors, expected(network, photo, side), rtol=0, atol=1e-3)


def test_fetched_once_it_is_a_model_like_any_other(
    resnet: tuple[Path, nn.Module], store: Path, tmp_path: Path
) -> None:
    folder, network = resnet
    assert fetch_places365("places365-resnet18", mirror=str(folder)).new
    assert not fetch_places365("places365-resnet18", mirror="http://127.0.0.1:9").new
    assert sorted(p.name for p in store.glob("[!.]*")) == ["places365-resnet18"]
    assert not list(store.glob(".*.fetching")) and not list(store.glob(".*.draft"))
    model = load_model("places365-resnet18")
    assert "160 indoor, 72 natural outdoor" in model.file("card.md").read_text()
    assert model.spec.training["sha256"] == known_digest(PLACES365_MODELS["places365-resnet18"])
    from PIL import Image

    Image.fromarray(imagery(60, 80).transpose(1, 2, 0)).save(tmp_path / "a.png")
    ((_, scenes),) = describe_photos([tmp_path / "a.png"], "places365-resnet18").items()
    assert {name for name, _ in scenes} <= set(PLACES365)
    student = build_network("resnet18", len(PLACES365))
    load_weights(student, model.file(model.spec.ground.weights))
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(student(x), network(x))


@pytest.mark.usefixtures("store")
def test_a_model_of_that_name_that_is_another_stays(resnet: tuple[Path, nn.Module]) -> None:
    folder, _ = resnet
    model = fetch_places365("places365-resnet18", mirror=str(folder)).model
    text = (model.path / "model.json").read_text()
    (model.path / "model.json").write_text(text.replace("_places365.pth.tar", "_mine.pth.tar"))
    with pytest.raises(ModelError, match="--replace"):
        fetch_places365("places365-resnet18", mirror=str(folder))
    assert fetch_places365("places365-resnet18", mirror=str(folder), replace=True).new


def spoilt(kind: str, path: Path, good: Path) -> None:
    data = good.read_bytes()
    if kind == "cut":
        path.write_bytes(data[: len(data) // 2])
    elif kind == "another network":
        torch.save({"state_dict": models.resnet34(num_classes=365).state_dict()}, path)
    elif kind == "other classes":
        torch.save(models.resnet18(num_classes=1000).state_dict(), path)
    elif kind == "not a number":
        network = random_network("resnet18")
        with torch.no_grad():
            network.fc.bias[7] = float("nan")
        write_checkpoint(path, "resnet18", network, legacy=False)
    elif kind == "code":
        torch.save(models.resnet18(num_classes=365), path)  # a pickled class
    else:
        path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        ("cut", "cut short"),
        ("another network", r"resnet18\) does not fit the architecture: .*Unexpected key"),
        ("other classes", "size mismatch for fc.weight"),
        ("not a number", "not finite"),
        ("code", "no plain tensors"),
        ("text", "only names a file of Git LFS"),
    ],
)
def test_what_is_no_such_checkpoint_leaves_nothing(
    resnet: tuple[Path, nn.Module], store: Path, tmp_path: Path, kind: str, word: str
) -> None:
    folder, _ = resnet
    what = PLACES365_MODELS["places365-resnet18"]
    spoilt(kind, tmp_path / what.file, folder / what.file)
    with pytest.raises(ModelError, match=word) as told:
        fetch_places365(what.name, mirror=str(tmp_path))
    assert "\n" not in str(told.value)
    assert known_digest(what) is None and not list(store.glob("[!.]*"))
    if kind == "cut":  # the next attempt starts anew
        assert fetch_places365(what.name, mirror=str(folder)).new
