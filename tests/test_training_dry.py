"""A dry run finds what a training would find, and leaves nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from geoloc.errors import GeolocError, OutputError
from geoloc.training import dry
from geoloc.training.dry import dry_run
from geoloc.training.machine import Machine
from tests.training_pairs import place_pairs, spec_of, write_teacher

CPU = Machine(accelerator="cpu")


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_teacher(tmp_path_factory.mktemp("teachers") / "teacher")


def files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


def test_everything_is_tried_and_nothing_stays(
    teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    pairs = place_pairs(tmp_path / "places", 20, 10)
    spec = spec_of(pairs, teacher, tmp_path / "new" / "student", loop={"epochs": 7})
    before = files(tmp_path)
    found = dry_run(spec, CPU)
    assert files(tmp_path) == before
    assert found.pairs == {"train": 20, "test": 10, "valid": 10}
    assert found.photos == 40
    assert found.input == (12, 3, 64, 64) and found.dim == 5
    assert found.steps == 7  # of one batch of 12 each
    assert found.step_seconds > 0 and found.validation_seconds > 0 and found.hours > 0
    assert found.disk_bytes > 4 * 5 * found.parameters  # checkpoints: weights, moments
    assert "20 train" in str(found)


@pytest.mark.parametrize("damage", ["photo", "chip"])
def test_broken_images_are_found(teacher: Path, tmp_path: Path, damage: str) -> None:
    pairs = place_pairs(tmp_path / "places", 4, 2)
    (tmp_path / "places" / f"{damage}-005.png").write_bytes(b"")
    with pytest.raises(GeolocError, match=f"{damage}-005"):
        dry_run(spec_of(pairs, teacher, tmp_path / "student", batch=4), CPU)


def test_too_small_a_disk_is_found(
    teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dry, "_disk", lambda *_: 1 << 60)
    pairs = place_pairs(tmp_path / "places", 4, 2)
    with pytest.raises(OutputError, match="free some or name another --out"):
        dry_run(spec_of(pairs, teacher, tmp_path / "student", batch=4), CPU)
