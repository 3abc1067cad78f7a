"""From raw files to an evaluated model, by the commands that a user types, in miniature."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torchvision import models

from geoloc.models.load import load_model
from tests.checkpoints import write_checkpoint
from tests.loopback import listening
from tests.published_sets import write_cvusa, write_gtcrossview, write_witw
from tests.small_place import write_place
from tests.test_cli import Done, Run, run
from tests.training_pairs import ARCH, write_teacher

__all__ = ["run"]  # the fixture

pytestmark = pytest.mark.slow

WRITERS: dict[str, Callable[[Path], object]] = {
    "cvusa": write_cvusa,
    "witw": write_witw,
    "gtcrossview": write_gtcrossview,
}
SMALL = (f"arch={ARCH}", "patch_px=64", "pool_px=32", "stride=16", "batch=2", "loop.epochs=2",
         "loop.lr=0.003")  # fmt: skip


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("GEOLOC_MODELS", str(tmp_path / "store"))


def good(run: Run, *words: object) -> Done:
    done = run(*words)
    assert done.code == 0, (words, done.err)
    return done


def shards_of(run: Run, kind: str, folder: Path) -> tuple[Path, Path]:
    """The pairs file and the shards of a set, checked."""
    (folder / "raw").mkdir(parents=True)
    WRITERS[kind](folder / "raw")
    table, shards = folder / "pairs.csv", folder / "shards"
    good(run, "pairs", "import", kind, folder / "raw", "--out", table)
    good(run, "pairs", "check", table, "--out", folder / "check")
    good(run, "pairs", "shard", table, "--out", shards, "--per-shard", 2)
    good(run, "pairs", "check", shards)
    return table, shards


def settings(*values: str) -> list[str]:
    return ["--accelerator", "cpu", *(word for value in values for word in ("--set", value))]


@pytest.mark.parametrize("kind", list(WRITERS))
def test_from_a_raw_tree_to_an_evaluated_model(kind: str, tmp_path: Path, run: Run) -> None:
    table, shards = shards_of(run, kind, tmp_path)
    model = tmp_path / "model"
    asked = ("train", shards, "--teacher", write_teacher(tmp_path / "teacher"), "--out", model,
             "--recipe", "default", *settings(*SMALL))  # fmt: skip
    tried = json.loads(good(run, *asked, "--dry-run", "--json").out)
    assert not model.exists() and tried["steps"] >= 2
    trained = json.loads(good(run, *asked, "--json").out)
    assert trained["test"]["photos"] == tried["pairs"]["test"]
    told = json.loads(good(run, "models", "info", model, "--json").out)
    assert told["training"]["pairs"]["train"] >= tried["steps"]
    by_shards, by_table = (
        json.loads(good(run, "evaluate", "--pairs", pairs, "--model", model, "--json").out)
        for pairs in (shards, table)
    )
    assert by_shards == by_table  # copies of an image in shards are one place
    assert by_shards["split"] == "test" and by_shards["n_pairs"] == trained["test"]["photos"]


def test_the_study_s_order_of_things(tmp_path: Path, run: Run) -> None:
    """Published weights teach, and begin, a network of the study's recipe; its cube answers."""
    torch.manual_seed(3)
    network = models.get_model("resnet18", weights=None, num_classes=365)
    file = write_checkpoint(tmp_path / "resnet18_places365.pth.tar", "resnet18", network)
    with listening(**{file.name: file.read_bytes()}) as server:
        good(run, "models", "fetch", "places365-resnet18", "--mirror", server.root)
    _, shards = shards_of(run, "cvusa", tmp_path / "cvusa")
    model = tmp_path / "model"
    good(run, "train", shards, "--teacher", "places365-resnet18", "--init", "places365-resnet18",
         "--out", model, "--recipe", "study",
         *settings("arch=resnet18", "batch=2", "loop.epochs=1", "gsd=[2, 4, 6]",
                   "patch_px=96"))  # fmt: skip
    assert (overhead := load_model(model).spec.overhead) and overhead.chip_px == 800
    place = write_place(tmp_path / "place", ny=3, nx=4, step=40)
    area = place.area.read_text()
    place.area.write_text(area.replace(str(place.folder / "models" / "tiny"), str(model)))
    good(run, "cube", "build", place.area, "--cluster", "inline")
    answer = tmp_path / "answer"
    done = good(run, "query", place.area, place.photos[0], "--out", answer, "--top", 3)
    query = json.loads((answer / place.photos[0].stem / "query.json").read_text())
    assert query["model"]["digest"] == load_model(model).digest, done.out
    assert load_model(model).classes == load_model("places365-resnet18").classes
