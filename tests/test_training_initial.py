"""Initial weights: of the same architecture, with another last layer or not; none is executed."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from geoloc.encoders.formats.networks import build_network
from geoloc.errors import GeolocError, ModelError, UsageError
from geoloc.training.initial import initial_file, load_initial
from tests.training_pairs import ARCH, write_teacher


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(8)
    return dict(build_network(ARCH, 365).state_dict())


def test_a_checkpoint_of_other_classes_gives_all_but_the_last_layer(
    state: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    old = {f"module.{name}": value for name, value in state.items()}
    torch.save({"arch": ARCH, "state_dict": old, "epoch": 90}, tmp_path / "a.pth.tar")
    save_file(state, tmp_path / "b.safetensors")
    for name in ("a.pth.tar", "b.safetensors"):
        for dim in (5, 365):
            network = build_network(ARCH, dim)
            own = network.fc.weight.clone()
            load_initial(network, initial_file(str(tmp_path / name)), ARCH)
            assert torch.equal(network.conv1[0].weight, state["conv1.0.weight"])
            assert torch.equal(network.fc.weight, own if dim == 5 else state["fc.weight"])


def test_the_photo_network_of_a_model_will_do(tmp_path: Path) -> None:
    teacher = write_teacher(tmp_path / "teacher")
    assert initial_file(str(teacher)) == teacher / "ground.safetensors"
    load_initial(build_network(ARCH, 5), initial_file(str(teacher)), ARCH)


class Evil:
    def __reduce__(self) -> object:
        return (Path.touch, (Path("executed"),))


def test_other_files_are_refused_in_one_line(
    state: dict[str, torch.Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": state}, tmp_path / "whole.pth")
    data = (tmp_path / "whole.pth").read_bytes()
    (tmp_path / "cut.pth").write_bytes(data[: len(data) // 2])
    (tmp_path / "page.pth").write_text("<html>Not found</html>")
    (tmp_path / "evil.pth").write_bytes(pickle.dumps(Evil()))
    (tmp_path / "cut.safetensors").write_bytes(b"\x10\0\0\0")
    torch.save({"best": 3}, tmp_path / "none.pth")
    torch.save({"state_dict": build_network("resnet18", 5).state_dict()}, tmp_path / "other.pth")
    for name in ("cut.pth", "page.pth", "evil.pth", "cut.safetensors", "none.pth", "other.pth"):
        with pytest.raises(ModelError) as error:
            load_initial(build_network(ARCH, 5), tmp_path / name, ARCH)
        assert name in str(error.value) and "\n" not in str(error.value)
    assert not (tmp_path / "executed").exists()
    with pytest.raises(UsageError, match="does not exist"):
        initial_file("gone.pth.tar")
    with pytest.raises(GeolocError):
        initial_file("no-such-model")
