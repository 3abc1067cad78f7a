"""A model directory is the old one or the new one, with its card and figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from geoloc.encoders.figures import PairFigures, read_figures
from geoloc.models.load import load_model
from geoloc.training import writing
from geoloc.training.data import ArrayChips
from geoloc.training.writing import put_model, some
from tests.training_pairs import write_teacher


class Killed(BaseException):
    """Nothing catches it."""


def kill_at(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> None:
    """The next call of this function does not come back."""

    def dead(*_: Any, **__: Any) -> None:
        raise Killed

    monkeypatch.setattr(owner, name, dead)


def test_a_model_that_is_trained_anew_is_the_old_or_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, old = tmp_path / "student", load_model(write_teacher(tmp_path / "teacher"))
    spec = old.spec.model_dump(mode="json") | {"name": "student"}
    files: dict[str, Path | bytes] = {"ground.safetensors": old.file("ground.safetensors")}
    extras: dict[str, PairFigures | str] = {
        "card.md": "# student\n", "figures": PairFigures.of(np.arange(3.0), "three"),
    }  # fmt: skip
    first = put_model(out, spec, files, extras)
    assert (out / "card.md").read_text() == "# student\n"
    figures = read_figures(first)
    assert figures is not None and figures.pairs == 3
    (out / "notes.txt").write_text("mine")
    put_model(out, spec, files, extras)  # the same: nothing is touched
    assert (out / "notes.txt").exists()
    for owner, name in ((Path, "replace"), (writing, "publish")):
        with monkeypatch.context() as patch, pytest.raises(Killed):
            kill_at(patch, owner, name)
            put_model(out, spec | {"name": "other"}, files, extras)
        assert load_model(out).digest == first.digest
    put_model(out, spec | {"name": "other"}, files, extras)
    assert load_model(out).name == "other"
    assert [path.name for path in tmp_path.glob("*student*")] == ["student"]
    assert not (out / "notes.txt").exists()


def test_the_code_range_is_that_of_some_chips() -> None:
    pixels = np.arange(3000, dtype=np.uint8)[:, None, None, None]
    chosen = some(ArrayChips(pixels))
    assert len(chosen) == 2048
    assert len(some(ArrayChips(pixels[:5]))) == 5
