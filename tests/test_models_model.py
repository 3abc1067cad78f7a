"""Model directories: what is accepted, what is refused, and how a model is found."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from geoloc.errors import ModelError
from geoloc.models.load import load_exact, load_model
from geoloc.models.model import model_info, parse_spec, write_model
from geoloc.models.store import list_models, model_of_digest

from .encoder_models import CLASSES, spec, tiny_model

FILES: dict[str, Path | bytes] = {"ground.safetensors": b"g", "overhead.safetensors": b"o"}


def test_a_model_survives_writing_and_loading(tmp_path: Path) -> None:
    written = tiny_model(tmp_path / "m")
    model = load_model(tmp_path / "m")
    assert model.spec == written.spec
    assert model.digest == written.digest
    assert (model.name, model.classes, model.dim) == ("tiny", CLASSES, 5)
    assert model.features.metric is None and model.features.weights is None
    json.dumps(model_info(model), allow_nan=False)


def test_the_digest_follows_every_weight_and_every_setting(tmp_path: Path) -> None:
    base = write_model(tmp_path / "a", spec(), FILES).digest
    assert write_model(tmp_path / "b", spec(), FILES).digest == base
    other = {**FILES, "overhead.safetensors": b"p"}
    assert write_model(tmp_path / "c", spec(), other).digest != base
    assert write_model(tmp_path / "d", spec(preferred_gsd=1.1), FILES).digest != base


def test_altered_weights_are_refused_in_one_line(tmp_path: Path) -> None:
    write_model(tmp_path, spec(), FILES)
    (tmp_path / "overhead.safetensors").write_bytes(b"x")
    with pytest.raises(ModelError) as refused:
        load_model(tmp_path)
    text = str(refused.value)
    assert "overhead.safetensors" in text and "sha256" in text and "import" in text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"dim": 4}, "classes"),
        ({"classes": ("a",) * 5}, "twice"),
        ({"speed": 1}, "speed"),
        ({"name": "../x"}, "name"),
        ({"distance": {"weights": [1, 2]}}, "weights"),
        ({"distance": {"weights": [1, 2, 3, 4, float("inf")]}}, "weights"),
    ],
)
def test_wrong_specifications_are_refused(
    tmp_path: Path, change: dict[str, Any], word: str
) -> None:
    with pytest.raises(ModelError, match=word):
        write_model(tmp_path, {**spec(), **change}, FILES)


@pytest.mark.parametrize(
    "overhead",
    [
        {"preferred_gsd": 3.0},
        {"methods": ("dense",)},
        {"dense": {"stride": 16, "pool_px": 32}},
        {"methods": ("dense",), "dense": {"stride": 16, "pool_px": 40}},
        {"methods": ("dense",), "dense": {"stride": 16, "pool_px": 48}},
        {"mean": None},
        {"gsd": (0.5, float("inf"))},
        {"std": (1.0, float("nan"), 1.0)},
        {"weights": "overhead.pth"},
        {"format": "exported", "weights": "overhead.onnx"},
    ],
)
def test_wrong_overhead_sections_are_refused(tmp_path: Path, overhead: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match="overhead"):
        write_model(tmp_path, spec(**overhead), FILES)


@pytest.mark.parametrize("edit", ['"version": 2, ', '"ground": {"arch": 1, "arch": 2}, "x": 0, '])
def test_a_key_that_stands_twice_is_refused(edit: str) -> None:
    key = "version" if "version" in edit else "arch"
    text = f'{{{edit}"version": 1}}'.encode()
    with pytest.raises(ModelError, match=f"the key '{key}' stands twice"):
        parse_spec(text, "model.json")


def test_a_file_outside_the_directory_is_refused(tmp_path: Path) -> None:
    write_model(tmp_path, spec(), FILES)
    raw = json.loads((tmp_path / "model.json").read_text())
    raw["files"]["../secret"] = "0" * 64
    (tmp_path / "model.json").write_text(json.dumps(raw))
    with pytest.raises(ModelError, match="plain name"):
        load_model(tmp_path)


def test_a_named_file_must_be_given(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"ground\.safetensors"):
        write_model(tmp_path, spec(), {"overhead.safetensors": b"o"})


def test_models_are_found_by_name_in_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEOLOC_MODELS", str(tmp_path))
    write_model(tmp_path / "mine", spec(), FILES)
    assert load_model("mine").name == "tiny"
    assert "tiny" in [model.name for model in list_models()]
    with pytest.raises(ModelError, match="known: mine"):
        load_model("yours")


def test_the_very_model_is_found_under_any_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEOLOC_MODELS", str(tmp_path))
    mine = write_model(tmp_path / "mine", spec(), FILES)
    other = write_model(tmp_path / "other", spec(preferred_gsd=1.1), FILES)
    for name in ("mine", "other", "missing", tmp_path / "other"):
        assert load_exact(name, mine.digest).path == mine.path
    (mine.path / "ground.safetensors").write_bytes(b"x")
    assert model_of_digest(mine.digest) is None
    with pytest.raises(ModelError) as refused:
        load_exact("other", mine.digest)
    text = str(refused.value)
    assert mine.digest[:12] in text and other.digest[:12] in text and "import" in text
    with pytest.raises(ModelError, match=r"missing cannot be used \(.*known: mine, other"):
        load_exact("missing", mine.digest)


def test_the_models_own_distance(tmp_path: Path) -> None:
    metric = np.arange(25, dtype=np.float64).reshape(5, 5)
    np.save(tmp_path / "metric.npy", metric)
    raw = {**spec(), "distance": {"metric": "metric.npy", "weights": [0, 1, 2, 3, 4]}}
    files = {**FILES, "metric.npy": tmp_path / "metric.npy"}
    model = write_model(tmp_path / "m", raw, files)
    assert model.features.metric is not None and model.features.metric.dtype == np.float32
    np.testing.assert_array_equal(model.features.metric, metric)
    np.testing.assert_array_equal(model.features.weights, [0, 1, 2, 3, 4])


def test_the_code_belongs_to_the_model_where_its_range_is_known(tmp_path: Path) -> None:
    plain = write_model(tmp_path / "plain", spec(), FILES)
    assert plain.features.code is None
    assert "code_range" not in (tmp_path / "plain" / "model.json").read_text()
    model = write_model(tmp_path / "one", {**spec(), "code_range": [-10, 30]}, FILES)
    code = model.features.stored_code
    assert (code.scale, code.offset) == (0.1640625, 61 * 0.1640625)
    assert plain.digest != model.digest
    assert load_model(tmp_path / "one").features.stored_code == code


@pytest.mark.parametrize(
    "limits", [[], [1, 1], [2, 1], [0, 1e999], [0, 1, 2], 5, [-1e308, 1e308], [0, 1e-45], [0, 1e40]]
)
def test_ranges_that_hold_nothing_are_refused(tmp_path: Path, limits: object) -> None:
    with pytest.raises(ModelError, match="range"):
        write_model(tmp_path / "m", {**spec(), "code_range": limits}, FILES)


def test_an_embedding_is_read_by_a_matrix(tmp_path: Path) -> None:
    readout = np.arange(15, dtype=np.float32).reshape(5, 3)
    np.save(tmp_path / "readout.npy", readout)
    raw = {**spec(), "dim": 3, "readout": "readout.npy"}
    model = write_model(tmp_path / "m", raw, {**FILES, "readout.npy": tmp_path / "readout.npy"})
    assert (model.features.dim, model.features.names) == (3, CLASSES)
    np.testing.assert_array_equal(model.features.logits([1.0, 0.0, 2.0]), readout @ [1, 0, 2])
    raw["dim"] = 4
    other = write_model(tmp_path / "n", raw, {**FILES, "readout.npy": tmp_path / "readout.npy"})
    with pytest.raises(ModelError, match=r"readout \(5, 3\) must be 5 x 4"):
        _ = other.features


def test_a_pickled_metric_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "metric.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    files = {**FILES, "metric.npy": tmp_path / "metric.npy"}
    model = write_model(tmp_path / "m", {**spec(), "distance": {"metric": "metric.npy"}}, files)
    with pytest.raises(ModelError, match="metric"):
        _ = model.features


def test_reading_a_model_does_not_import_torch() -> None:
    code = "import sys, geoloc.models.model; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
