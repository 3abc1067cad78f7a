"""Pairs files: ranks, score files, what is left out."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from geoloc.errors import OutputError, UsageError
from geoloc.evaluation.files import write_evaluation
from geoloc.evaluation.paired import class_match_ranks, evaluate_pairs
from geoloc.evaluation.plots import recall_plot
from geoloc.evaluation.vectors import ground_vectors, overhead_vectors
from geoloc.models import FeatureSpace, Model
from tests.encoder_models import imagery, tiny_model
from tests.full_disk import file_limit


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Model:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tiny_model(tmp_path / "models" / "tiny")


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Six photos of four places; the last two are of one place."""
    rows = ["photo,overhead,split"]
    for number in range(6):
        pixels = np.moveaxis(imagery(40, 50, number), 0, -1)
        Image.fromarray(pixels).save(tmp_path / f"p{number}.png")
        Image.fromarray(pixels[::-1]).save(tmp_path / f"o{number}.png")
        rows.append(f"p{number}.png,o{min(number, 4)}.png,{'test' if number else 'train'}")
    path = tmp_path / "pairs.csv"
    path.write_text("\n".join(rows) + "\n")
    return path


def test_the_places_of_the_test_split_are_ranked(pairs: Path, model: Model, tmp_path: Path) -> None:
    found = evaluate_pairs(pairs, model)
    told = found.to_json()
    assert (told["split"], told["n_pairs"], told["n_places"]) == ("test", 5, 4)
    below = ground_vectors(model, [tmp_path / f"p{n}.png" for n in range(1, 6)]).vectors
    above = overhead_vectors(model, [tmp_path / f"o{n}.png" for n in range(1, 5)]).vectors
    space = model.features.distance()
    for row, (photo, own) in enumerate(zip(below, (0, 1, 2, 3, 3), strict=True)):
        distances = np.array([space.between(photo, place) for place in above])
        assert found.distances[row] == pytest.approx(distances[own], rel=1e-5)
        assert found.ranks.rank[row] == (distances <= distances[own] * (1 + 1e-9)).sum()
    assert told["methods"]["class_match"]["mean_rank"]["chance"] == 2.5
    assert told["top5"] == 100 and told["mean_rank"] == pytest.approx(found.ranks.rank.mean())
    out = tmp_path / "out"
    plots = {"recall.png": recall_plot({"distance": found.ranks})}
    write_evaluation(found, out, kind="pairs", title="p | q", plots=plots)
    with (out / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["rank"]) for row in rows] == found.ranks.rank.tolist()
    assert json.loads((out / "evaluation.json").read_text())["items"][0]["group"].endswith("o1.png")
    assert "p \\| q" in (out / "evaluation.md").read_text()
    assert (out / "recall.png").read_bytes().startswith(b"\x89PNG")
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    other = replace(found, distances=found.distances + 1)
    with file_limit(len(before["recall.png"]) - 1), pytest.raises(OutputError, match="too large"):
        write_evaluation(other, out, kind="pairs", title="other", plots=plots)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_what_cannot_be_read_is_left_out(pairs: Path, model: Model, tmp_path: Path) -> None:
    (tmp_path / "p2.png").write_bytes(b"broken")
    found = evaluate_pairs(pairs, model, split="all")
    assert len(found.photos) == 5 and len(found.skipped) == 1
    with pytest.raises(UsageError, match="it has test, train"):
        evaluate_pairs(pairs, model, split="valid")
    for number in range(1, 6):
        (tmp_path / f"p{number}.png").write_bytes(b"broken")
    with pytest.raises(UsageError, match="no pair of the split 'test'"):
        evaluate_pairs(pairs, model)
    pairs.write_text("photo,lon,lat\np0.png,30,50\n")
    with pytest.raises(UsageError, match="evaluate a cube"):
        evaluate_pairs(pairs, model)


def test_the_class_match_ranks_places_by_the_first_scene_alone() -> None:
    rng = np.random.default_rng(0)
    photos, places = (rng.integers(-2, 3, (n, 4)).astype(np.float32) for n in (9, 14))
    own = rng.integers(0, 14, 9)
    space = FeatureSpace(tuple("abcd"))
    found = class_match_ranks(space, photos, places, own)
    p = np.exp(places.astype(np.float64))
    p /= p.sum(axis=1, keepdims=True)
    for photo, mine, rank in zip(photos, own, found.rank, strict=True):
        column = p[:, photo.argmax()]
        assert rank == (column >= column[mine] * (1 - 1e-12)).sum()
