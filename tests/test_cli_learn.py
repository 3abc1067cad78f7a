"""``geoloc train``: options become a training; what is wrong is one line before any work."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from geoloc.models.load import load_model
from tests.test_cli import Run, run
from tests.training_pairs import ARCH, place_pairs, write_teacher

__all__ = ["run"]  # the fixture

SMALL = (f"arch={ARCH}", "patch_px=64", "pool_px=32", "stride=16", "batch=4", "loop.epochs=2",
         "metric=none")  # fmt: skip


def train(pairs: Path, teacher: Path, out: Path, *more: str) -> list[str]:
    settings = [part for setting in SMALL for part in ("--set", setting)]
    return ["train", str(pairs), "--teacher", str(teacher), "--out", str(out), *settings, *more]


def test_it_is_tried_then_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    pairs, teacher = place_pairs(tmp_path / "p", 8, 4), write_teacher(tmp_path / "teacher")
    asked = train(pairs, teacher, tmp_path / "out", "--accelerator", "cpu", "--json")
    tried = run(*asked, "--dry-run")
    assert tried.code == 0, tried.err
    found = json.loads(tried.out)
    assert found["steps"] == 4 and found["pairs"] == {"train": 8, "test": 4, "valid": 4}
    assert not (tmp_path / "out").exists() and not (tmp_path / "out.run").exists()
    done = run(*asked)
    assert done.code == 0, done.err
    told = json.loads(done.out)
    assert told["test"]["photos"] == 4
    model = load_model(told["model"])
    assert model.spec.training["specification"]["recipe"] == "head"
    assert model.spec.training["specification"]["loop"]["lr"] == 1e-3  # the recipe's own stays


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--recipe", "best"), "recipe 'best' is not known"),
        (("--devices", "some"), "devices"),
        (("--precision", "8"), "loop.precision"),
        (("--set", "loop.lr=fast"), "loop.lr"),
        (("--set", "batch: 3"), "write KEY=VALUE"),
        (("--set", "loop=[1"), "is no value"),
        (("--set", "colour=3"), "colour"),
    ],
)
def test_what_is_wrong_is_one_line(
    tmp_path: Path, options: tuple[str, ...], message: str, run: Run
) -> None:
    asked = train(tmp_path / "gone.csv", tmp_path / "teacher", tmp_path / "out", *options)
    done = run(*asked)
    assert done.code == 2
    assert message in done.err and "Traceback" not in done.err
    assert not (tmp_path / "out.run").exists()
