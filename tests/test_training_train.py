"""``train_student`` in miniature: images to a model directory that can be served."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from geoloc.domain import Grid
from geoloc.encoders.figures import read_figures
from geoloc.encoders.ground import open_ground
from geoloc.encoders.overhead import open_overhead
from geoloc.errors import SpecMismatchError, UsageError
from geoloc.models.load import load_model
from geoloc.pairs import read_pairs, write_pairs
from geoloc.training import preparing, train_student
from geoloc.training.logs import METRICS
from geoloc.training.loop import LAST
from geoloc.training.machine import Machine
from tests.dying import ROOT
from tests.training_pairs import class_pairs, place_pairs, spec_of, write_teacher

LOOP = {"epochs": 3, "lr": 1e-3, "schedule": "cosine", "warmup": 0.2, "ema": 0.9}
TWO = Machine(accelerator="cpu", devices=2)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return place_pairs(tmp_path_factory.mktemp("places"))


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_teacher(tmp_path_factory.mktemp("teachers") / "teacher")


def losses(out: Path) -> list[float]:
    lines = (out.with_name(out.name + ".run") / METRICS).read_text().splitlines()
    return [json.loads(line)["loss"] for line in lines]


def figures(out: Path) -> list[dict[str, float]]:
    lines = (out.with_name(out.name + ".run") / METRICS).read_text().splitlines()
    return [json.loads(line)["figures"] for line in lines]


def test_a_whole_network_is_trained_and_served_dense(teacher: Path, tmp_path: Path) -> None:
    seen: list[int] = []
    spec = spec_of(class_pairs(tmp_path, 16), teacher, tmp_path / "student")
    trained = train_student(spec, lambda epoch: seen.append(epoch.number))
    assert seen == [1, 2, 3, 4, 5, 6]
    assert trained.figures is not None
    found = trained.figures.to_json()
    assert found["mean_average_precision"] > found["chance"] + 0.15
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
    changes = {
        "arch": "efficientnet_lite0",
        "views": 2,
        "hidden": 32,
        "metric": "within-group",
        "loss": {"photos": 4},
        "loop": {"epochs": 60, "lr": 3e-3},
    }
    spec = spec_of(class_pairs(tmp_path, 40), teacher, tmp_path / "student", **changes)
    trained = train_student(spec)
    assert trained.figures is not None
    # as ties count against, vectors that hardly differ would be below chance; more cannot be asked
    # of features of noise
    found = trained.figures.to_json()
    assert found["mean_average_precision"] > found["chance"]
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


def test_two_processes_learn_what_one_learns(pairs: Path, teacher: Path, tmp_path: Path) -> None:
    one, two, loop = tmp_path / "one", tmp_path / "two", LOOP | {"lr": 1e-4}
    train_student(spec_of(pairs, teacher, one, loop=loop))
    shared = train_student(spec_of(pairs, teacher, two, loop=loop), machine=TWO)
    # random weights on noise amplify the last digits; an error of sharing is far larger
    assert np.allclose(losses(one), losses(two), rtol=5e-3)
    assert np.allclose(
        [f["loss"] for f in figures(one)], [f["loss"] for f in figures(two)], rtol=2e-2
    )
    assert shared.figures is not None
    model = load_model(two)
    figures_of_pairs = read_figures(model)
    assert figures_of_pairs is not None and figures_of_pairs.pairs == 6
    assert model.spec.code_range is not None
    assert "recipe of its own" in (two / "card.md").read_text()


def start(spec: Any, every: float) -> subprocess.Popen[bytes]:
    code = (
        "import sys\n"
        "from geoloc.training import TrainSpec, train_student\n"
        "from geoloc.training.machine import Machine\n"
        "train_student(TrainSpec.model_validate_json(sys.argv[1]),\n"
        f"    machine=Machine(accelerator='cpu', checkpoint_minutes={every}))\n"
    )
    command = [sys.executable, "-c", code, spec.model_dump_json()]
    return subprocess.Popen(command, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"})


def test_killed_in_the_middle_of_an_epoch_it_ends_where_a_whole_run_does(
    pairs: Path, teacher: Path, tmp_path: Path
) -> None:
    """Twelve batches of one pair an epoch, a checkpoint after each.

    Each run is a process of its own with one thread: random weights amplify the last digits, which
    depend on how a process computes.
    """
    loop = {"epochs": 2, "lr": 1e-3, "ema": 0.9, "schedule": "cosine"}
    settings: dict[str, Any] = {"loop": loop, "batch": 2, "hard": 0.5}
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert start(spec_of(pairs, teacher, whole, **settings), 60.0).wait() == 0
    spec = spec_of(pairs, teacher, killed, **settings)
    process = start(spec, 0.0)
    last = tmp_path / "killed.run" / LAST
    while process.poll() is None and not _in_the_middle(last):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert _in_the_middle(last), "it ended before it could be killed"
    assert start(spec, 0.0).wait() == 0
    assert losses(killed) == losses(whole)
    assert figures(killed) == figures(whole)
    assert load_model(killed).digest == load_model(whole).digest


def _in_the_middle(last: Path) -> bool:
    try:
        place = torch.load(last, weights_only=True)["place"]
    except OSError:
        return False
    return bool(0 < place["step"] < 6)


def test_a_run_goes_on_only_with_its_own_data_and_specification(
    pairs: Path, teacher: Path, tmp_path: Path
) -> None:
    spec = spec_of(pairs, teacher, tmp_path / "student", loop=LOOP | {"epochs": 1})
    train_student(spec)
    for changes, differs in (
        ({"loop": LOOP | {"epochs": 1, "lr": 0.5}}, r"loop\.lr"),
        ({"hard": 0.5}, r"specification\.hard"),
    ):
        other = spec_of(pairs, teacher, spec.out, **({"loop": spec.loop} | changes))
        with pytest.raises(SpecMismatchError, match=differs):
            train_student(other)
    fewer = write_pairs(read_pairs(pairs)[1:], pairs.with_name("fewer.csv"))
    with pytest.raises(SpecMismatchError, match=r"differs in data\)"):
        train_student(spec_of(fewer, teacher, spec.out, loop=spec.loop))
    model = load_model(spec.out)
    train_student(spec.model_copy(update={"gsd": (2.0, 2.5, 3.0), "name": "renamed"}))
    assert load_model(spec.out).digest != model.digest  # what is only written may be changed


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"chip_px": 48}, "chip_px 48 is below patch_px 64"),
        ({"augment": {"kind": "study"}}, "chip_px 64 must be resize 800"),
        ({"arch": "efficientnet_lite0", "init": "x.pth"}, "init x.pth does not exist"),
        ({"loop": {"precision": "16-mixed"}}, "16-mixed needs a GPU"),
    ],
)
def test_fields_that_do_not_go_together_are_refused(
    pairs: Path, teacher: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        train_student(
            spec_of(pairs, teacher, tmp_path / "student", **changes),
            machine=Machine(accelerator="cpu"),
        )
    assert not (tmp_path / "student").exists()


class Killed(BaseException):
    """Nothing catches it."""


def test_a_training_begins_alike_whether_the_teacher_was_asked_before(
    pairs: Path, teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after its vectors were kept and before the first checkpoint, it is the same one."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    states = []

    def begin(*_: Any) -> None:
        states.append(torch.get_rng_state())
        raise Killed

    monkeypatch.setattr(preparing, "learner_of", begin)
    for _ in range(2):
        with pytest.raises(Killed):
            train_student(spec_of(pairs, teacher, tmp_path / "student"))
        assert list((tmp_path / "cache").rglob("*-ground.sqlite"))
    assert torch.equal(*states)
    assert os.environ["XDG_CACHE_HOME"].startswith(str(tmp_path))
