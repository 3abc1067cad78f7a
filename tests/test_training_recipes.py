"""Recipes are trainings that are valid; the study's is the study's, and it runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from geoloc.cli.learn import recipe_spec
from geoloc.errors import UsageError
from geoloc.training import TrainSpec, train_student
from geoloc.training.logs import METRICS
from geoloc.training.machine import Machine
from geoloc.training.recipes import RECIPES
from geoloc.training.study import HIGH, LOW
from tests.training_pairs import place_pairs, write_teacher


def made(recipe: str, *settings: str) -> TrainSpec:
    spec = recipe_spec(
        recipe, {"pairs": Path("p"), "teacher": "t", "out": Path("o")}, list(settings)
    )
    assert isinstance(spec, TrainSpec)
    return spec


def test_every_recipe_is_valid_and_each_of_its_fields_can_be_set() -> None:
    for recipe in RECIPES:
        assert made(recipe).recipe == recipe
        spec = made(recipe, "loop.epochs=3", "augment.flip=false", "gsd=[1, 2, 3]")
        assert (spec.loop.epochs, spec.augment.flip, spec.gsd) == (3, False, (1, 2, 3))
        assert spec.loop.lr == made(recipe).loop.lr
    with pytest.raises(UsageError, match="use default, head, head-dense, study, study-low"):
        made("best")
    with pytest.raises(UsageError, match="arch has no fields"):
        made("study", "arch.depth=3")


def test_the_study_s_recipe_is_the_study_s() -> None:
    spec = made("study")
    assert (spec.arch, spec.method, spec.patch_px, spec.chip_px) == (
        "densenet161",
        "patch",
        224,
        800,
    )
    assert spec.augment == HIGH and made("study-low").augment == LOW
    assert spec.loss.kind == "l2" and spec.loss.photos == 1 and spec.loss.summed
    loop = spec.loop
    assert (loop.lr, loop.schedule, loop.weight_decay, loop.clip) == (1e-4, "constant", 0, None)
    assert (loop.warmup, loop.ema, spec.hard, spec.photo_views.count) == (0, 0, 0, 1)
    assert spec.select == "loss" and spec.metric == "none" and not spec.from_mean


@pytest.mark.slow
def test_the_study_s_recipe_learns(tmp_path: Path) -> None:
    fields = {
        "pairs": place_pairs(tmp_path / "places", 6, 2),
        "teacher": str(write_teacher(tmp_path / "teacher")), "out": tmp_path / "student",
    }  # fmt: skip
    spec = recipe_spec("study", fields, ["batch=2", "loop.epochs=2", "patch_px=96"])
    train_student(spec, machine=Machine(accelerator="cpu"))
    lines = (tmp_path / "student.run" / METRICS).read_text().splitlines()
    losses = [json.loads(line)["loss"] for line in lines]
    assert len(losses) == 2 and losses[1] < losses[0]


@pytest.mark.parametrize(
    ("pairs", "expected"), [(100_000, 128), (2048, 128), (420, 24), (100, 6), (40, 2), (3, 2)]
)
def test_of_few_pairs_batches_are_smaller(pairs: int, expected: int) -> None:
    assert made("default").batch_of(pairs) == expected
    assert made("study").batch_of(pairs) == 64
    parts = made("default", "loop.accumulate=4").batch_of(pairs)
    assert parts % 4 == 0 and (parts <= expected or parts == 4)
