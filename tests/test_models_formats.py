"""A new format of networks is a file and a line: a model of it builds a cube and answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from geoloc.area import load_area
from geoloc.encoders.runtime import Engine
from geoloc.jobs.build import build_cube
from geoloc.models.formats import FORMATS, Format
from geoloc.models.model import write_model
from geoloc.models.spec import NetworkSpec
from geoloc.query import answer_photos
from tests.encoder_models import CLASSES, spec
from tests.small_place import write_place

MATRIX = np.random.default_rng(6).normal(0, 30, (len(CLASSES), 3))


def open_means(
    spec: NetworkSpec, path: Path, dim: int, engine: Engine
) -> Callable[[Tensor], Tensor]:
    """A network that is a matrix times an image's mean colour."""
    matrix = torch.tensor(json.loads(path.read_text()), dtype=torch.float32, device=engine.device)
    assert (spec.format, matrix.shape) == ("means", (dim, 3))
    return lambda x: x.mean((2, 3)) @ matrix.T


@pytest.fixture
def means(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FORMATS, "means", Format(f"{__name__}:open_means", (".means",)))


@pytest.mark.usefixtures("means")
def test_a_model_of_a_new_format_builds_a_cube_and_answers(tmp_path: Path) -> None:
    place = write_place(tmp_path, ny=12, nx=17)
    network = {"format": "means", "weights": "matrix.means", "arch": None}
    raw = spec(gsd=(1.0, 5.0), preferred_gsd=4.0, **network)
    raw["ground"] |= network
    content = json.dumps(MATRIX.tolist()).encode()
    model = write_model(tmp_path / "models" / "means", raw, {"matrix.means": content})
    text = place.area.read_text().replace(str(tmp_path / "models" / "tiny"), str(model.path))
    place.area.write_text(text)
    build_cube(load_area(place.area), cluster="inline").raise_if_incomplete()
    answers = answer_photos(place.area, place.photos, top=2)
    assert not answers.failures
    for answer in answers.results:
        assert len(answer.candidates) == 2 and np.isfinite(answer.heatmap[4:-4, 4:-4]).all()
        assert answer.model["digest"] == model.digest


def test_a_format_that_nobody_knows_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValidationError, match=r"'means'.*torchvision, exported"):
        NetworkSpec(format="means", weights="matrix.means")
