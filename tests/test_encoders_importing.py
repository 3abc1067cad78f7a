"""Somebody's own files become a model; what does not fit is refused before it is stored."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from geoloc.domain import Grid
from geoloc.encoders.formats.networks import build_network
from geoloc.encoders.ground import open_ground
from geoloc.encoders.importing import (
    ImportSpec,
    import_model,
    read_classes,
    read_import_spec,
    read_state_dict,
)
from geoloc.encoders.overhead import open_overhead
from geoloc.errors import ModelError, UsageError
from geoloc.models.load import load_model

from .encoder_models import CLASSES, imagery

SHARED = Path(os.environ.get("GEOLOC_SHARED", Path(__file__).parents[2] / "shared"))
REAL = SHARED / "models"


def mean_onnx(path: Path, outputs: int = 5, batch: int | str = "n") -> Path:
    """A network that answers mixtures of the mean colours."""
    mix = np.random.default_rng(0).normal(size=(3, outputs)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["x", "axes"], ["m"], keepdims=0),
            helper.make_node("MatMul", ["m", "mix"], ["y"]),
        ],
        "mean",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 3, 32, 32])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, outputs])],
        [
            helper.make_tensor("axes", TensorProto.INT64, [2], [2, 3]),
            helper.make_tensor("mix", TensorProto.FLOAT, mix.shape, mix.ravel()),
        ],
    )
    opset = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)
    return path


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two networks, a list of classes and a description of them."""
    monkeypatch.setenv("GEOLOC_MODELS", str(tmp_path / "store"))
    mean_onnx(tmp_path / "g.onnx")
    mean_onnx(tmp_path / "o.onnx")
    (tmp_path / "classes.txt").write_text("\n".join(CLASSES) + "\n")
    (tmp_path / "import.toml").write_text(
        'name = "mine"\nclasses = "classes.txt"\n'
        '[ground]\nfile = "g.onnx"\nnormalisation = "inside"\ninput_px = 32\nresize_px = 40\n'
        '[overhead]\nfile = "o.onnx"\npatch_px = 32\ngsd = [1, 4]\n'
    )
    return tmp_path


def described(sources: Path, **changes: Any) -> ImportSpec:
    return read_import_spec(sources / "import.toml").model_copy(update=changes)


def test_an_imported_model_is_found_by_name_and_computes(sources: Path) -> None:
    imported = import_model(read_import_spec(sources / "import.toml"))
    model = load_model("mine")
    assert model.digest == imported.digest
    assert model.spec.overhead is not None
    assert model.spec.overhead.preferred_gsd == 2.0
    assert model.spec.ground.mean is None and model.spec.overhead.mean is not None
    photo = np.ascontiguousarray(imagery(50, 60).transpose(1, 2, 0))
    assert open_ground(model, "cpu").encode([photo]).shape == (1, 5)
    encoder = open_overhead(model, 10.0, device="cpu")
    assert encoder.method == "patch" and encoder.describe()["precision"] == "float32"


def test_json_says_the_same(sources: Path) -> None:
    spec = read_import_spec(sources / "import.toml")
    (sources / "import.json").write_text(spec.model_dump_json())
    assert read_import_spec(sources / "import.json") == spec


def test_torchvision_checkpoints_become_safetensors(sources: Path) -> None:
    torch.manual_seed(0)
    state = build_network("shufflenet_v2_x0_5", 5).state_dict()
    state = {f"module.{key}": value for key, value in state.items()}
    torch.save({"epoch": 7, "state_dict": state}, sources / "g.pth.tar")
    spec = described(sources)
    ground = spec.ground.model_copy(
        update={"file": sources / "g.pth.tar", "arch": "shufflenet_v2_x0_5"}
    )
    model = import_model(spec.model_copy(update={"ground": ground}))
    assert model.spec.ground.weights == "ground.safetensors"
    assert model.spec.ground.format == "torchvision"


def test_a_taken_name_is_kept_unless_replaced(sources: Path) -> None:
    first = import_model(described(sources))
    with pytest.raises(UsageError, match="exists"):
        import_model(described(sources))
    again = import_model(described(sources, provenance={"by": "test"}), replace=True)
    assert again.digest != first.digest
    assert [path.name for path in again.path.parent.iterdir()] == [again.path.name]


def test_a_folder_that_is_no_model_is_never_replaced(sources: Path) -> None:
    model = import_model(described(sources))
    (model.path / "model.json").unlink()
    with pytest.raises(ModelError, match="is not a model"):
        import_model(described(sources), replace=True)
    assert (model.path / "overhead.onnx").is_file()


@pytest.mark.parametrize(
    ("outputs", "batch", "word"), [(4, "n", "expected"), (5, 1, "dynamic batch")]
)
def test_networks_that_do_not_fit_are_not_stored(
    sources: Path, outputs: int, batch: int | str, word: str
) -> None:
    mean_onnx(sources / "o.onnx", outputs, batch)
    with pytest.raises(ModelError, match=word) as refused:
        import_model(described(sources))
    assert "\n" not in str(refused.value)
    assert not any((sources / "store").iterdir())


@pytest.mark.parametrize(
    ("line", "word"),
    [('name = "m"\nspeed = 3', "speed"), ("name = 3", "name"), ("name = ", "TOML")],
)
def test_wrong_descriptions_are_refused(sources: Path, line: str, word: str) -> None:
    text = (sources / "import.toml").read_text()
    (sources / "import.toml").write_text(text.replace('name = "mine"', line))
    with pytest.raises(UsageError, match=word):
        read_import_spec(sources / "import.toml")


def test_places_lists_and_plain_lists_are_read(tmp_path: Path) -> None:
    path = tmp_path / "c.txt"
    path.write_text("/a/abbey 0\n/a/apartment_building/outdoor 1\n\n")
    assert read_classes(path) == ("abbey", "apartment_building/outdoor")
    path.write_text("soccer field\nharbor\n")
    assert read_classes(path) == ("soccer field", "harbor")
    path.write_text("\n")
    with pytest.raises(ModelError, match="no class names"):
        read_classes(path)


class Bomb:
    """Unpickling it runs code."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("ran"),)


def test_two_spellings_of_one_class_are_refused(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("/g/gymnasium/indoor 0\nabbey\ngymnasium-indoor\n")
    with pytest.raises(ModelError, match="'gymnasium/indoor' and 'gymnasium-indoor' are the same"):
        read_classes(tmp_path / "classes.txt")


def test_checkpoints_are_not_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": Bomb()}, tmp_path / "w.pth")
    with pytest.raises(ModelError, match="plain tensors") as refused:
        read_state_dict(tmp_path / "w.pth")
    assert "\n" not in str(refused.value) and not (tmp_path / "ran").exists()


@pytest.mark.skipif(not REAL.is_dir(), reason=f"no real encoders in {REAL}")
@pytest.mark.parametrize("suffix", ["onnx", "pt2"])
def test_the_real_encoders_become_a_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    monkeypatch.setenv("GEOLOC_MODELS", str(tmp_path))
    places = REAL / "squeezenet_places365"
    raw = {
        "name": "real",
        "classes": str(places / "categories_places365.txt"),
        "ground": {
            "file": str(places / f"squeezenet_places365.{suffix}"),
            "normalisation": "inside",
            "resize_px": 256,
        },
        "overhead": {
            "file": str(REAL / "landuse_student" / f"landuse_student.{suffix}"),
            "normalisation": "inside",
            "patch_px": 160,
            "gsd": [1, 4],
            "preferred_gsd": 1.6,
        },
    }
    (tmp_path / "real.json").write_text(json.dumps(raw))
    model = import_model(read_import_spec(tmp_path / "real.json"))
    assert model.dim == 365
    _names_a_pagoda(model)
    encoder = open_overhead(model, 10.0, device="cpu")
    assert encoder.gsd == pytest.approx(10 / 6)
    cells = Grid("EPSG:32636", 0.0, 0.0, 10.0, 2, 2)
    window = encoder.window(cells)
    valid = np.ones(window.shape, dtype=np.bool_)
    vectors = encoder.encode(imagery(*window.shape), valid, window, cells)
    assert vectors.shape == (2, 2, 365) and np.isfinite(vectors).all()


def _names_a_pagoda(model: Any) -> None:
    from PIL import Image

    path = SHARED / "data" / "photos" / "sklearn_china.jpg"
    if not path.exists():
        pytest.skip(f"no photo {path}")
    photo = np.asarray(Image.open(path).convert("RGB"))
    vector = open_ground(model, "cpu").encode([photo])[0]
    assert model.classes[int(vector.argmax())] == "pagoda"
